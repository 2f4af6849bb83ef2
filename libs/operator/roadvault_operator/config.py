"""The command line's settings: the services' own, and none but the database is needed by every command."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from redis.asyncio.connection import parse_url

from roadvault_common.config import DatabaseSettings


class OperatorSettings(DatabaseSettings):
    """What `roadvault` reads; master keys only where something is decrypted."""

    redis_url: SecretStr | None = Field(
        None, title="Redis", description="for `status` and `dead-letters`, and to wake packer after `seal`"
    )
    data_dir: Path | None = Field(
        None, title="Data directory", description="for `status`, and for `verify` of local copies"
    )
    ipfs_gateway_url: str = Field(
        "http://127.0.0.1:8080", title="Kubo gateway", description="for `verify --from network`"
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        """Refuse what is no Redis URL before a command changes anything; the message says nothing of its password."""
        if url is not None:
            try:
                parse_url(url.get_secret_value())
            except ValueError:
                raise ValueError("must look like redis://host:port/number") from None
        return url
