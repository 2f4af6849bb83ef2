"""The command line's settings: the services' own, and none but the database is needed by every command."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from roadvault_common.access.callback_keys import CallbackKeySettings
from roadvault_common.settings.archives import ProofSettings
from roadvault_common.settings.config import DatabaseSettings, check_redis_url


class OperatorSettings(DatabaseSettings, ProofSettings, CallbackKeySettings):
    """What `roadvault` reads; master keys only where something is decrypted."""

    redis_url: SecretStr | None = Field(
        None, title="Redis", description="for `status` and `dead-letters`, and to wake packer after `seal`"
    )
    redis_password: SecretStr | None = Field(
        None, title="Redis password", description="any text; for a URL without one"
    )
    data_dir: Path | None = Field(
        None,
        title="Data directory",
        description="for `status`, `pack-again`, `identity`, `quarantine`, and `verify` of local copies",
    )
    ipfs_gateway_url: str = Field(
        "http://127.0.0.1:8080",
        title="Kubo gateway",
        description="for `verify --from network` without a witness or proof gateway: reads what our node holds",
    )

    pinning_url: str | None = Field(
        None, title="Pinning service", description="for `recover --pinning-service`, as crust-orderer has it"
    )
    pinning_token: SecretStr | None = Field(None, title="Pinning token", description="likewise")
    crust_seed: SecretStr | None = Field(
        None,
        title="Account",
        description="likewise: for a token of Crust's W3Auth, where no other is set; and for `recover --chain`",
    )
    crust_url: str = Field(
        "ws://127.0.0.1:9944", title="Crust nodes", description="for `recover --chain`, as crust-orderer has it"
    )

    _check_redis_url = field_validator("redis_url")(check_redis_url)
