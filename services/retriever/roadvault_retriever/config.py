"""The retriever's settings."""

from pydantic import Field

from roadvault_common.settings.archives import ExtractionSettings, IpfsSettings, KeySettings
from roadvault_common.settings.config import MarginSettings, SweepSettings
from roadvault_common.web.links import ViewSettings


class RetrieverSettings(SweepSettings, MarginSettings, KeySettings, IpfsSettings, ExtractionSettings, ViewSettings):
    """Reads `received/` and `archives/`, writes `downloads/`, unwraps archive keys, reads from Kubo's gateway."""

    ipfs_gateway_url: str = Field(
        "http://127.0.0.1:8080", title="Kubo gateway", description="base URL of Kubo's gateway, for byte ranges"
    )
    stream_host: str = Field(
        "127.0.0.1", title="Stream address", description="address at which the door asks for videos; nobody else should"
    )
    stream_port: int = Field(
        0, ge=0, le=65535, title="Stream port", description="port of the same; 0: no video is played"
    )
    stream_cache_bytes: int = Field(
        64 << 20,
        ge=1 << 20,
        title="Stream cache",
        description="bytes of videos that are kept in memory, for all who watch together",
    )
