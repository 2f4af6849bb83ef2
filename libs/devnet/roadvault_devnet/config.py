"""Settings of the devnet; each is read from the environment variable `ROADVAULT_DEVNET_<NAME>`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from roadvault_devnet import accounts
from roadvault_devnet.rules import Generation, Rules

_U32 = 2**32 - 1
_U128 = 2**128 - 1
_ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
_RICH = 10**18


class DevnetSettings(BaseSettings):
    """Where the devnet listens and keeps its chain, and how it behaves from the start."""

    model_config = SettingsConfigDict(env_prefix="ROADVAULT_DEVNET_", extra="ignore")

    host: str = Field("127.0.0.1", title="Host", description="address to listen on; who reaches it can do anything")
    port: int = Field(7030, ge=0, le=65535, title="Port", description="TCP port; 0 takes any free one")
    data_dir: Path = Field(Path(".roadvault/devnet"), title="Data directory", description="holds the chain")
    kubo_rpc_url: str | None = Field(
        None,
        title="Kubo RPC URL",
        description="the network's own Kubo node, which pulls what is ordered; none: replicas come without any pull",
    )
    block_seconds: float = Field(6, gt=0, title="Block time", description="seconds between two blocks")
    finality_lag: int = Field(2, ge=0, title="Finality lag", description="blocks by which finality follows the head")
    file_duration_blocks: int = Field(
        2_592_000, ge=1, le=_U32, title="File duration", description="blocks that one order lasts; 180 days of 6 s"
    )
    replicas_per_block: int = Field(1, ge=0, title="Replica growth", description="replicas reported more at each block")
    max_replicas: int = Field(60, ge=0, title="Most replicas", description="replicas at which a file stops growing")
    generation: Generation = Field(
        Generation.V2,
        title="Generation",
        description="which of Crust's runtimes to be like: v1 (Rocky) or v2 (today's)",
    )
    memo: bool = Field(default=True, title="Memo", description="whether an order has the argument `_memo`")
    lacks: str = Field(
        "", title="Missing item", description="an item that the market's storage does not have, as on another runtime"
    )
    genesis_accounts: Annotated[dict[str, int], NoDecode] = Field(
        {_ALICE: _RICH},
        title="Genesis accounts",
        description="planck of each account in a new chain: address=planck, comma separated; default: //Alice is rich",
    )

    @field_validator("genesis_accounts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (pair.partition("=") for pair in value.split(",") if pair.strip())
        return {address.strip(): planck.strip() for address, _, planck in pairs}

    @field_validator("genesis_accounts")
    @classmethod
    def _are_accounts(cls, value: dict[str, int]) -> dict[str, int]:
        for address, planck in value.items():
            accounts.public_key_of(address)
            if not 0 <= planck <= _U128:
                raise ValueError(f"{planck} is no amount of planck")
        return value

    def endowed(self) -> dict[bytes, int]:
        """Return the genesis accounts by public key, in planck."""
        return {accounts.public_key_of(address): planck for address, planck in self.genesis_accounts.items()}

    def rules(self) -> Rules:
        """Return what the chain goes by, until the control door turns it."""
        return Rules(
            generation=self.generation,
            memo=self.memo,
            file_duration_blocks=self.file_duration_blocks,
            block_seconds=self.block_seconds,
            finality_lag=self.finality_lag,
            replicas_per_block=self.replicas_per_block,
            max_replicas=self.max_replicas,
            lacks=self.lacks,
        )
