"""The orderer's settings."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from roadvault_common.settings.archives import AuditSettings, KeySettings, ProofSettings
from roadvault_common.settings.config import Settings
from roadvault_common.urls import has_host
from roadvault_crust_orderer.buying.planner import RenewalPolicy


class OrdererSettings(Settings, KeySettings, ProofSettings, AuditSettings):
    """Talks to a Crust node, spends an account's money, and proves that the network holds what was bought."""

    market: Literal["chain", "pinning"] = Field(
        "chain", title="Market", description="chain: Crust's market pallet; pinning: an IPFS Pinning Service API"
    )
    pinning_url: str | None = Field(
        None, title="Pinning service", description="base URL of the service, such as https://pin.example/psa"
    )
    pinning_token: SecretStr | None = Field(
        None,
        title="Pinning token",
        description="bearer token of the service; without it Crust's W3Auth token is made from the account's seed",
    )
    pinning_origins: str = Field(
        "", title="Our addresses", description="multiaddrs of our IPFS node, separated by commas, told to the service"
    )
    crust_url: str = Field(
        "ws://127.0.0.1:9944",
        title="Crust nodes",
        description="WebSocket or HTTP URL of a node's RPC; several, separated by commas, stand in for each other",
    )
    crust_seed: SecretStr | None = Field(
        None, title="Account", description="seed phrase, hex seed or //Derivation of the account that pays"
    )
    replica_threshold: int = Field(
        50, ge=0, title="Replicas", description="local copies may go when the network holds more than this"
    )
    replica_floor: int = Field(
        10,
        ge=0,
        title="Replica floor",
        description="an archive whose local copies went and that has fewer is fetched back, pinned and ordered again",
    )
    crust_reorder_days: float | None = Field(
        None,
        gt=0,
        title="Re-order",
        description="days after its first order at which an archive that is still under the threshold is ordered once"
        " more: one time, and not if it was renewed meanwhile; default never",
    )
    crust_tip_cru: float = Field(0, ge=0, title="Tip", description="CRU added to each order, for faster replication")
    crust_check_seconds: float = Field(
        300, gt=0, title="Check", description="seconds between looks at an archive that is not yet replicated"
    )
    crust_watch_seconds: float = Field(
        6 * 3600, gt=0, title="Watch", description="seconds between looks at an archive that is replicated"
    )
    crust_poll_seconds: float = Field(
        6, gt=0, title="Poll", description="seconds between looks for a purchase that is under way; a block is 6 s"
    )
    crust_block_seconds: float = Field(
        6, gt=0, title="Block time", description="seconds between blocks; turns expiry blocks into dates"
    )
    crust_stand_in_seconds: float = Field(
        3600,
        gt=0,
        title="Stand-in",
        description="seconds for which an account's orderer was not heard, and its archives were due, after which"
        " another account buys for them",
    )
    crust_renew_days: float = Field(
        7, gt=0, title="Renewal", description="days before its expiry at which an order is renewed"
    )
    crust_renew_spread_days: float = Field(
        1, ge=0, title="Renewal spread", description="days, earlier or later, over which renewals are spread"
    )
    crust_renew_floor_days: float = Field(
        5,
        ge=0,
        title="Renewal floor",
        description="days before expiry at which a renewal beats every limit; longer than an outage lasts, since one"
        " may begin just then",
    )
    crust_daily_limit_cru: float | None = Field(
        None, gt=0, title="Daily limit", description="CRU spent in a day (UTC) at most; renewals pass it, loudly"
    )
    crust_most_per_gib_cru: float | None = Field(
        None,
        gt=0,
        title="Highest price",
        description="CRU for each GiB and term at most; over it the orderer waits. An archive"
        " of less than 1 GiB may cost as much as one of 1 GiB",
    )
    crust_reserve_days: float = Field(
        14, ge=0, title="Reserve", description="days whose renewals the balance must cover before new orders are placed"
    )
    crust_timeout_seconds: float = Field(
        30, gt=0, title="Node timeout", description="seconds that the node may take to answer"
    )

    proof_members: int = Field(
        3, ge=1, title="Proof members", description="files of an archive that are fetched and checked, picked at random"
    )

    audit_members: int = Field(
        3, ge=1, title="Audit members", description="files of an archive that an audit looks at, picked at random"
    )
    audit_sample_bytes: int = Field(
        1 << 20,
        ge=1,
        title="Audit sample",
        description="bytes of each of them at most: of a larger one a range from anywhere in it",
    )
    audit_retry_seconds: float = Field(
        900,
        gt=0,
        title="Audit retry",
        description="seconds until what did not come is asked for again; after three times the network has lost it",
    )
    audit_failed_seconds: float = Field(
        86_400, gt=0, title="Failed audit", description="seconds until an archive whose audit failed is audited again"
    )

    @field_validator("crust_url", "pinning_url")
    @classmethod
    def _has_hosts(cls, value: str | None) -> str | None:
        for url in (value or "").split(","):
            if url.strip() and not has_host(url.strip()):
                raise ValueError("must be scheme://host or scheme://host:port, and what is special in a URL as %XX")
        return value

    @model_validator(mode="after")
    def _one_account(self) -> "OrdererSettings":
        with_token = self.market == "pinning" and self.pinning_token is not None
        if self.crust_seed is None and not with_token:
            raise ValueError("ROADVAULT_CRUST_SEED or ROADVAULT_CRUST_SEED_FILE must be set")
        if self.market == "pinning" and self.pinning_url is None:
            raise ValueError("ROADVAULT_PINNING_URL must be set for the market `pinning`")
        return self

    def policy(self) -> RenewalPolicy:
        """Return when orders are renewed."""
        return RenewalPolicy(
            self.crust_renew_days, self.crust_renew_spread_days, self.crust_renew_floor_days, self.crust_block_seconds
        )

    def seed(self) -> SecretStr:
        """Return the account's seed phrase, hex seed or //Derivation; empty where a pinning token stands for it."""
        return self.crust_seed or SecretStr("")
