"""The packer's settings."""

from pydantic import Field

from roadvault_common.config import KeySettings, VaultSettings


class PackerSettings(VaultSettings, KeySettings):
    """Reads `received/`, writes `archives/`, wraps archive keys."""

    concurrency: int = Field(1, ge=1, title="Concurrency", description="folders packed at once")
    orphan_hours: float = Field(
        6, gt=0, title="Orphans", description="hours after which a file that no row names is removed"
    )
