"""Ingest's settings."""

import re
import socket
from functools import cached_property
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from roadvault_common.settings.archives import EndSettings
from roadvault_common.settings.config import MarginSettings, SweepSettings
from roadvault_common.web.cors import origins
from roadvault_common.web.links import ViewSettings
from roadvault_common.web.reach import CallbackSettings
from roadvault_ingest.access.config import AccessSettings
from roadvault_ingest.clients import Network, networks

_ORIGIN = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+")
CRUST_LIMIT_BYTES = 8 << 30
"""Crust takes files under 8 GiB (MaximumFileSize of its market pallet)."""
_COPY_SECRET_LENGTH = 16
CONTAINER_BYTES = 64 << 20
"""More than a 7z header, a manifest of 20 000 files and the DAG's inner nodes add to a folder's bytes."""


class IngestSettings(SweepSettings, MarginSettings, CallbackSettings, EndSettings, AccessSettings, ViewSettings):
    """Takes uploads and requests, serves the back-office."""

    http_port: int = Field(7001, ge=0, le=65535, title="Intranet port", description="API, back-office and health")
    database_connections: int = Field(
        32, ge=4, title="Database connections", description="connections of the process to the database, at the most"
    )
    ingest_worker: str = Field(
        "", max_length=100, title="Worker", description="name of this process's open folder; default host:port"
    )
    folder_bytes: int = Field(5_000_000_000, gt=0, title="Folder size", description="bytes that a folder never passes")
    folder_files: int = Field(20_000, gt=0, title="Folder count", description="files that a folder never passes")
    folder_age_seconds: float = Field(
        86_400, gt=0, title="Folder age", description="seconds after its first file at which a folder closes"
    )
    upload_copies: int = Field(
        1,
        ge=1,
        le=2,
        title="Copies of uploads",
        description="stores that have an upload's bytes durably before it is acknowledged; with 2 a store that is lost"
        " loses nothing",
    )
    copy_secret: SecretStr | None = Field(
        None,
        title="Copy secret",
        description="any text of 16 characters or more, the same at all stores, by which"
        " they know each other when they take copies of uploads",
    )
    copy_host: str = Field("127.0.0.1", title="Copy address", description="address at which other stores ask for that")
    copy_port: int = Field(0, ge=0, le=65535, title="Copy port", description="port of the same; 0: no copies are taken")
    store_copy_url: str | None = Field(
        None, title="Store's copies", description="base URL at which other stores reach that address"
    )
    upload_max_bytes: int | None = Field(
        None, gt=0, title="Largest upload", description="bytes; default: the size of a folder"
    )
    uploads_at_once: int = Field(
        256, ge=1, title="Uploads at once", description="uploads under way; more are told to try again (503)"
    )
    uploads_per_peer: int = Field(
        64,
        ge=1,
        title="Uploads of a client",
        description="uploads under way from one address; more are told to try again (503). All clients behind a proxy"
        " have its address, unless ROADVAULT_PROXIES names it",
    )
    direct_uploads: bool = Field(
        default=True,
        title="Direct uploads",
        description="long uploads go to disk past the page cache; for file systems that are slow at that, false",
    )
    upload_stall_seconds: float = Field(
        60,
        gt=0,
        title="Slow client",
        description="seconds without a byte after which an upload is given up",
    )
    upload_bytes_per_second: float = Field(
        10_000,
        gt=0,
        title="Slow upload",
        description="bytes a second that an upload has to bring on the average, besides one such time; or is given up",
    )
    proxies: str = Field(
        "",
        title="Proxies",
        description="addresses and networks, separated by commas, of the proxies before ingest that write last into"
        " X-Forwarded-For from whom they took a request: limits for each client go by that then. Of nobody else is that"
        " header read, so no client may have one of these addresses",
    )
    store_upload_url: str | None = Field(
        None,
        title="Store's uploads",
        description="http(s)://host[:port] at which clients reach this store's ingest: a resumable upload goes on"
        " there, whichever store's ingest a balancer would choose; default: where it was begun",
    )
    upload_origins: str = Field(
        "",
        title="Upload origins",
        description="origins such as https://portal.example whose pages may upload with scripts (CORS), separated by"
        " commas; default: none",
    )
    upload_expires_hours: float = Field(
        24,
        gt=0,
        title="Resumable upload",
        description="hours after which a resumable upload that nobody goes on with is removed",
    )
    upload_hold_seconds: float = Field(
        900,
        ge=60,
        title="Held room",
        description="seconds for which the disk's room for all of a resumable upload is kept while nothing comes of it",
    )
    open_uploads: int = Field(
        10_000, ge=1, title="Open uploads", description="resumable uploads that may be open; one more gets 503"
    )
    open_uploads_per_peer: int = Field(
        1000,
        ge=1,
        title="Open uploads of a client",
        description="resumable uploads of one address that may be open; one more gets 429. Behind a proxy all have its,"
        " unless ROADVAULT_PROXIES names it",
    )
    upload_key_hours: float = Field(
        48, gt=0, title="Idempotency keys", description="hours for which an Idempotency-Key leads to the same file"
    )
    same_upload_seconds: float = Field(
        0,
        ge=0,
        title="Same upload",
        description="seconds within which an upload with the same name, bytes and camera is the same file; 0: never",
    )
    requests_per_file: int = Field(
        50, ge=1, title="Requests for a file", description="requests for one file that may be open; more get 429"
    )
    requests_per_peer: int = Field(
        1000,
        ge=1,
        title="Requests of a peer",
        description="requests from one address that may be open; more get 429. Behind a proxy all come from one,"
        " unless ROADVAULT_PROXIES names it",
    )
    batch_files: int = Field(
        10_000,
        ge=1,
        le=100_000,
        title="Files of a batch",
        description="that may be asked for at once; more get 400",
    )
    batches_per_peer: int = Field(
        10,
        ge=1,
        title="Batches of a peer",
        description="batches from one address that may be open; more get 429. A batch's requests do not count"
        " among those of the peer",
    )
    clip_seconds: float = Field(
        3600, gt=0, title="Clips", description="seconds that a clip may have; who asks for a longer one gets 400"
    )
    waiting_days: float = Field(
        3, gt=0, title="Waiting", description="days after which the back-office lists an archive that is not yet proven"
    )
    door_url: str | None = Field(
        None,
        title="Door's health",
        description="http://host:port of the door's own listener (/readyz): the door writes nothing, so ingest looks"
        " whether it lives; default: nobody looks",
    )
    event_log_days: float = Field(
        90, gt=0, title="Events kept", description="days for which pages show how attempts on files and archives ended"
    )

    link_secret: SecretStr | None = Field(
        None, title="Link secret", description="as the notifier has it: pages show links of requests. Without it none"
    )
    public_url: str | None = Field(
        None, title="Public URL", description="base of what plays videos, as people's browsers reach the door"
    )
    view_seconds: float = Field(
        6 * 3600, gt=0, title="View life", description="seconds that a page's video plays for, from when it was opened"
    )

    @model_validator(mode="after")
    def _know_each_other(self) -> Self:
        if (self.upload_copies > 1 or self.copy_port) and len(self._copy_words()) < _COPY_SECRET_LENGTH:
            raise ValueError("ROADVAULT_COPY_SECRET has to be set, of 16 characters or more, where copies are made")
        return self

    def _copy_words(self) -> str:
        return "" if self.copy_secret is None else self.copy_secret.get_secret_value()

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        try:
            everybody = any(network.prefixlen == 0 for network in networks(value))
        except ValueError:
            everybody = True
        if everybody:  # then any client could choose its address
            raise ValueError("must be addresses and networks separated by commas, such as 10.0.0.7,10.1.0.0/24")
        return value

    @field_validator("store_upload_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is not None and not _ORIGIN.fullmatch(value):
            raise ValueError("must look like https://north.example:8443, without a path")
        return value

    @field_validator("upload_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        origins(value)
        return value

    @cached_property
    def proxy_networks(self) -> list[Network]:
        """The proxies that are believed."""
        return networks(self.proxies)

    @property
    def largest_upload(self) -> int:
        """The longest file that is taken, in bytes."""
        return self.upload_max_bytes or self.folder_bytes

    @property
    def worker(self) -> str:
        """The name of this process's open folder."""
        return self.ingest_worker or f"{socket.gethostname()}:{self.http_port}"[:100]

    @model_validator(mode="after")
    def _fit(self) -> "IngestSettings":
        if self.folder_bytes > CRUST_LIMIT_BYTES - CONTAINER_BYTES:
            raise ValueError("ROADVAULT_FOLDER_BYTES: an archive must stay under Crust's 8 GiB")
        if self.largest_upload > self.folder_bytes:
            raise ValueError("ROADVAULT_UPLOAD_MAX_BYTES must not be larger than ROADVAULT_FOLDER_BYTES")
        return self
