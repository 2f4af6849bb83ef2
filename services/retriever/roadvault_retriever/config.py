"""The retriever's settings."""

from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from roadvault_common.settings.archives import ExtractionSettings, IpfsSettings, KeySettings
from roadvault_common.settings.config import MarginSettings, SweepSettings
from roadvault_common.web.links import ViewSettings


class RetrieverSettings(SweepSettings, MarginSettings, KeySettings, IpfsSettings, ExtractionSettings, ViewSettings):
    """Reads `received/` and `archives/`, writes `downloads/` and `posters/`, unwraps archive keys, reads from Kubo."""

    ipfs_gateway_url: str = Field(
        "http://127.0.0.1:8080", title="Kubo gateway", description="base URL of Kubo's gateway, for byte ranges"
    )
    store_link_url: str | None = Field(
        None,
        title="Store's links",
        description="base of links to files of this store, as clients reach its door; without it ROADVAULT_PUBLIC_URL"
        " is, whose door then has to be this store's",
    )
    store_stream_url: str | None = Field(
        None,
        title="Store's streams",
        description="base URL at which the doors of other stores reach this retriever's stream address",
    )
    store_away_seconds: float = Field(
        300,
        gt=0,
        title="Store away",
        description="seconds without a word of a store's retriever after which others take over its requests, for what"
        " the network has",
    )
    looks_at_once: int = Field(
        1,
        ge=0,
        title="Looks",
        description="videos that are looked at together, for facts and pictures, each in a process of the lowest"
        " priority; 0: none",
    )
    look_after_seconds: float = Field(
        60,
        ge=0,
        title="Looks after",
        description="seconds after which a file that came is found, to be looked at: what is recorded more than so"
        " many seconds later than what has a higher number is missed",
    )
    look_seconds: float = Field(
        30, gt=0, title="Look", description="seconds of processor time that such a process may take"
    )
    look_memory_bytes: int = Field(
        512 << 20, ge=64 << 20, title="Look's memory", description="bytes of memory that it may take"
    )
    poster_bytes: int = Field(
        5_000_000_000,
        ge=0,
        title="Pictures",
        description="bytes of pictures of videos that are kept: those go that nobody has seen for the longest time",
    )
    camera_zone: str = Field(
        "UTC",
        title="Cameras' time",
        description="time zone of times in names of files, such as Asia/Shanghai: no name says it",
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
    clip_bytes: int = Field(
        4 << 30, ge=1 << 20, title="Clips", description="bytes that a clip may have; a request for a longer one fails"
    )

    @field_validator("camera_zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ValueError, OSError, KeyError):
            raise ValueError("must be a time zone such as Asia/Shanghai") from None
        return zone
