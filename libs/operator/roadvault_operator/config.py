"""The command line's settings: the services' own, and none but the database is needed by every command."""

from pathlib import Path

from pydantic import Field, SecretStr

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
