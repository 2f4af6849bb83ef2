"""The door's settings."""

from pydantic import Field, field_validator

from roadvault_common.settings.config import DataSettings, ServiceSettings
from roadvault_common.urls import has_host
from roadvault_common.web.cors import origins
from roadvault_common.web.links import LinkSettings


class DoorSettings(ServiceSettings, DataSettings, LinkSettings):
    """Serves signed links to the outside."""

    public_host: str = Field("127.0.0.1", title="Public address", description="address that serves signed links")
    public_port: int = Field(7002, ge=0, le=65535, title="Public port", description="port of the same")
    public_header_seconds: float = Field(
        10,
        gt=0,
        title="Public header",
        description="seconds in which a request's header has to arrive",
    )
    public_idle_seconds: float = Field(
        20, gt=0, title="Public idle", description="seconds after which a connection on which nobody asks is closed"
    )
    public_connections: int = Field(
        400,
        ge=1,
        title="Public connections",
        description="connections at once; over it the oldest that waits for its client gives way, or the new one is"
        " answered 503",
    )
    public_peer_connections: int = Field(
        100,
        ge=0,
        title="Connections of one address",
        description="the same for each IPv4 address or IPv6 /64; 0 for no bound: behind a proxy, where all clients have"
        " its address, and it has to bound them",
    )
    download_grace_seconds: float = Field(
        60, gt=0, title="Grace", description="seconds that a download may be late against the next setting"
    )
    download_bytes_per_second: float = Field(
        100_000,
        gt=0,
        title="Slow download",
        description="bytes a second that a link's client has to take on the average, or is cut off",
    )
    stream_url: str = Field(
        "", title="Streams", description="base URL of the retriever's stream address; without it no video is played"
    )
    watchers: int = Field(
        100, ge=1, title="Watchers", description="parts of videos that are being sent at once; one more gets 503"
    )
    peer_watchers: int = Field(
        50,
        ge=0,
        title="Watchers of one address",
        description="the same for each IPv4 address or IPv6 /64; 0 for no bound, as behind a proxy",
    )
    link_origins: str = Field(
        "",
        title="Link origins",
        description="origins such as https://portal.example whose pages may read links with scripts (CORS), separated"
        " by commas; * for all; default: none",
    )

    @field_validator("stream_url")
    @classmethod
    def _has_host(cls, value: str) -> str:
        if value and not has_host(value):
            raise ValueError("must be http://host or http://host:port")
        return value

    @property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may read links."""
        return origins(self.link_origins, all_may=True)

    @field_validator("link_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        origins(value, all_may=True)
        return value
