"""The retriever's settings."""

from pydantic import Field

from roadvault_common.settings.archives import IpfsSettings, KeySettings
from roadvault_common.settings.config import MarginSettings, SweepSettings


class RetrieverSettings(SweepSettings, MarginSettings, KeySettings, IpfsSettings):
    """Reads `received/` and `archives/`, writes `downloads/`, unwraps archive keys, reads from Kubo's gateway."""

    ipfs_gateway_url: str = Field(
        "http://127.0.0.1:8080", title="Kubo gateway", description="base URL of Kubo's gateway, for byte ranges"
    )
    extraction_seconds: float = Field(
        7 * 86_400,
        gt=0,
        title="Extraction kept",
        description="seconds that an extracted file is kept when its callback is never taken; a link that is out keeps"
        " it for as long as it lives",
    )
