"""Settings that every service has. A service's own `config.py` adds what it alone needs.

Each setting is read from the environment variable `ROADVAULT_<NAME>`, or, if it is secret, from the file that
`ROADVAULT_<NAME>_FILE` names; `architecture/settings.md` lists them all.
"""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from roadvault_common.redis_pool import make_pool
from roadvault_common.settings.secret_files import SecretFiles, with_password
from roadvault_common.stores import MAIN, NAME

PREFIX = "ROADVAULT_"
_COLLECTOR = re.compile(r"https?://[\w.:\[\]-]+(?!.*/v1/traces)(?:/[\w./-]*)?", re.ASCII)
_REDIS = "redis://host:port/number, or redis+sentinel://host:port,host:port/name/number"
_HOST_NAME = re.compile(r"(?:\*\.)?[\w-]+(?:\.[\w-]+)*", re.ASCII)


def explain(error: ValidationError) -> str:
    """Return which variables are wrong and why, without their values: some are secrets."""
    reasons = []
    for detail in error.errors(include_input=False, include_context=False, include_url=False):
        name = PREFIX + "_".join(str(part) for part in detail["loc"]).upper() if detail["loc"] else "settings"
        reasons.append(f"{name}: {detail['msg'].removeprefix('Value error, ')}")
    return "; ".join(reasons)


def check_redis_url(url: SecretStr | None) -> SecretStr | None:
    """Return a Redis URL that the client can read.

    Raises:
        ValueError: It can't; the client's own message would show a piece of a password that has a slash in it.
    """
    if url is not None:
        try:
            make_pool(url.get_secret_value())
        except OSError as error:
            raise ValueError(f"a file that it names can't be used: {error.strerror or type(error).__name__}") from None
        except ValueError:
            raise ValueError(f"must look like {_REDIS}, and what is special in a URL as %XX") from None
    return url


class EnvironmentSettings(BaseSettings):
    """Settings of the environment, and secrets of files that it names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=None, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say where settings come from, the first that has one first."""
        return init_settings, env_settings, SecretFiles(settings_cls)


class DatabaseSettings(EnvironmentSettings):
    """Where the database is; all that `roadvault` needs for migrations."""

    database_url: SecretStr = Field(
        title="Database",
        description="mysql://user:password@host:port/name of a MariaDB or MySQL database; host:port,host:port,…"
        " for the nodes of a Galera cluster, of which the first that is well is written to; with ?ssl_ca=FILE over TLS,"
        " to a server that has a certificate of this authority for its name",
    )
    database_password: SecretStr | None = Field(
        None, title="Database password", description="any text; for a URL without one"
    )

    @model_validator(mode="after")
    def _with_passwords(self) -> Self:
        for server in ("database", "redis"):
            url, password = getattr(self, f"{server}_url", None), getattr(self, f"{server}_password", None)
            if password is not None:
                if url is None:
                    raise ValueError(f"{PREFIX}{server.upper()}_PASSWORD is set, and no URL that it belongs to")
                try:
                    setattr(self, f"{server}_url", with_password(url, password))
                except ValueError as error:
                    raise ValueError(f"{PREFIX}{server.upper()}_URL {error}") from None
        return self


class ServiceSettings(DatabaseSettings):
    """What every service needs."""

    database_connections: int = Field(
        10, ge=4, title="Database connections", description="connections of the process to the database, at the most"
    )
    log_format: Literal["json", "console"] = Field("json", title="Log format", description="json or console")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", title="Log level", description="debug, info, warning or error"
    )
    otlp_url: str | None = Field(
        None,
        title="Traces",
        description="http://host:4318 of an OpenTelemetry collector (OTLP over HTTP); without it there are none",
    )
    http_host: str = Field(
        "127.0.0.1", title="Service address", description="address of /metrics, /healthz and /readyz"
    )
    http_port: int = Field(0, ge=0, le=65535, title="Service port", description="port of the same; 0 picks a free one")
    hosts: str = Field(
        "",
        title="Our names",
        description="names with a dot under which the intranet's listeners are called, separated by commas;"
        " *.example.org stands for all that end so. Addresses and names without a dot are always right",
    )
    http_header_seconds: float = Field(
        30, gt=0, title="Header", description="seconds in which a request's header has to arrive there"
    )
    http_idle_seconds: float = Field(
        75, gt=0, title="Idle", description="seconds after which a connection there on which nobody asks is closed"
    )
    http_connections: int = Field(
        500,
        ge=1,
        title="Connections",
        description="connections there at once; over it the oldest that waits for its client gives way",
    )
    drain_seconds: float = Field(
        30, ge=0, title="Drain", description="seconds that work in hand gets when the service is told to stop"
    )
    notice_seconds: float = Field(
        0,
        ge=0,
        title="Notice",
        description="seconds that a service which is told to stop goes on taking requests while /readyz says no: more"
        " than a load balancer takes to see it",
    )

    @field_validator("hosts")
    @classmethod
    def _check_hosts(cls, hosts: str) -> str:
        for name in _names(hosts):
            if not _HOST_NAME.fullmatch(name):
                raise ValueError("must be names such as vault.example.org or *.example.org, without scheme and port")
        return hosts

    @field_validator("otlp_url")
    @classmethod
    def _check_collector(cls, url: str | None) -> str | None:
        if url is None or not url.strip():
            return None
        if not _COLLECTOR.fullmatch(url):
            raise ValueError("must look like http://host:4318: without user, password, query and /v1/traces")
        return url

    @property
    def host_names(self) -> frozenset[str]:
        """Our names besides addresses and names without a dot."""
        return frozenset(_names(self.hosts))


class Settings(ServiceSettings):
    """What a service needs that works on rows and hears of them by events: every one but the door."""

    redis_url: SecretStr = Field(
        title="Redis",
        description="redis://host:port/number of the event streams, rediss:// over TLS, unix:///path, or"
        " redis+sentinel://host:port,host:port/name/number ([deployment](deployment.md#redis-elsewhere))",
    )
    redis_password: SecretStr | None = Field(
        None, title="Redis password", description="any text; for a URL without one"
    )
    sweep_seconds: float = Field(
        30, gt=0, title="Sweep interval", description="seconds between two looks for rows that are due"
    )
    lease_seconds: float = Field(
        120,
        gt=0,
        title="Lease",
        description="seconds without progress after which another worker may take a row",
    )
    concurrency: int = Field(4, ge=1, title="Concurrency", description="rows worked on at once in each stage")
    event_reclaim_seconds: float = Field(
        60,
        gt=0,
        title="Reclaim",
        description="seconds after which an event that another process took and did not finish is taken over",
    )
    event_concurrency: int = Field(16, ge=1, title="Events", description="events in hand at once")

    _check_redis_url = field_validator("redis_url")(check_redis_url)


def _names(hosts: str) -> list[str]:
    return [name.strip().lower().removesuffix(".") for name in hosts.split(",") if name.strip()]


class DataSettings(EnvironmentSettings):
    """Where files are on disk."""

    data_dir: Path = Field(
        title="Data directory",
        description="holds received/, archives/, downloads/, posters/, quarantine/; one POSIX file system for all",
    )
    store: str = Field(
        MAIN,
        pattern=f"^{NAME.pattern}$",
        title="Store",
        description="the name of this data directory with the Kubo node beside it, where there are several: lower-case"
        " letters, digits and hyphens; the same for all services that share it",
    )


class VaultSettings(Settings, DataSettings):
    """For services that write files to disk."""


class MarginSettings(VaultSettings):
    """For services that take room on the disk which the way out of a full one must not miss."""

    disk_margin_bytes: int = Field(
        1 << 30,
        ge=0,
        title="Disk margin",
        description="bytes that stay free besides what is reserved and what packing needs; the same for all services",
    )


class SweepSettings(VaultSettings):
    """For services that sweep a directory of files that no row names."""

    orphan_hours: float = Field(
        6, gt=0, title="Orphans", description="hours after which a file that no row names goes to quarantine"
    )
    quarantine_days: float = Field(
        7, gt=0, title="Quarantine", description="days after which a file in quarantine is removed for good"
    )
    sweep_files: int = Field(
        300,
        ge=1,
        title="Usual sweep",
        description="files that a sweep moves to quarantine without asking; ten times as many are never moved unasked",
    )
    sweep_share: float = Field(
        0.2,
        gt=0,
        le=1,
        title="Usual share",
        description="share of all files of its directory that a sweep moves without asking, if they are more than that",
    )
