"""The retriever's settings."""

from pydantic import Field

from roadvault_common.settings.archives import ExtractionSettings, IpfsSettings, KeySettings
from roadvault_common.settings.config import MarginSettings, SweepSettings


class RetrieverSettings(SweepSettings, MarginSettings, KeySettings, IpfsSettings, ExtractionSettings):
    """Reads `received/` and `archives/`, writes `downloads/`, unwraps archive keys, reads from Kubo's gateway."""

    ipfs_gateway_url: str = Field(
        "http://127.0.0.1:8080", title="Kubo gateway", description="base URL of Kubo's gateway, for byte ranges"
    )
