"""The packer's settings."""

from pydantic import Field

from roadvault_common.settings.archives import RetentionSettings
from roadvault_common.settings.config import SweepSettings


class PackerSettings(SweepSettings, RetentionSettings):
    """Reads `received/`, writes `archives/`, wraps archive keys, keeps the keyring."""

    concurrency: int = Field(1, ge=1, title="Concurrency", description="folders packed at once")
    sweep_files: int = Field(
        10,
        ge=1,
        title="Usual sweep",
        description="files of archives (their labels are files, too) that a sweep moves to quarantine without asking;"
        " ten times as many never unasked",
    )
