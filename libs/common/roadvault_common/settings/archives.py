"""Settings of what is done with archives: their keys, how long they are kept, where they are put and proven."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from roadvault_common.settings.config import PREFIX, EnvironmentSettings
from roadvault_common.urls import has_host


class KeySettings(EnvironmentSettings):
    """For services that encrypt or decrypt."""

    master_keys: SecretStr = Field(
        title="Master keys",
        description="Fernet keys separated by commas; the first wraps new archive keys, all unwrap old ones",
    )


class RetentionSettings(KeySettings):
    """For what gives archives an end, and keeps the keys that go with it."""

    retention_days: float | None = Field(
        None,
        ge=1,
        le=36_500,
        title="Retention",
        description="days after which an archive ends that is packed now: its keys are destroyed, for good, on the"
        " network too; empty: kept for ever",
    )
    keyring_paths: str = Field(
        "",
        title="Keyring",
        description="files, separated by commas, each on a disk of its own, in a directory that is there: all hold the"
        " keys of archives that have an end, which are in no catalogue",
    )

    @model_validator(mode="after")
    def _check_keyring(self) -> Self:
        if self.retention_days is not None and not self.keyring:
            raise ValueError(
                "ROADVAULT_RETENTION_DAYS is set and ROADVAULT_KEYRING_PATHS is not: without the database nothing would"
                " open what is packed, until it ends"
            )
        if any(not path.is_absolute() for path in self.keyring):
            raise ValueError("ROADVAULT_KEYRING_PATHS must be absolute paths")
        return self

    @property
    def keyring(self) -> tuple[Path, ...]:
        """The places of the keyring."""
        return tuple(Path(path.strip()) for path in self.keyring_paths.split(",") if path.strip())


class EndSettings(EnvironmentSettings):
    """For what ends archives, and what tells of it."""

    shred_archives: int = Field(
        20,
        ge=1,
        title="Usual ends",
        description="archives that end at once without being asked; if more are over, none ends before"
        " `roadvault retention allow`",
    )


class IpfsSettings(EnvironmentSettings):
    """For services that talk to Kubo."""

    ipfs_rpc_url: str = Field("http://127.0.0.1:5001", title="Kubo RPC", description="base URL of Kubo's HTTP RPC API")
    ipfs_rpc_token: SecretStr | None = Field(
        None,
        title="Kubo token",
        description="what Kubo's API.Authorizations asks for (a bearer token); without it Kubo has to be open",
    )
    ipfs_stall_seconds: float = Field(
        60,
        gt=0,
        title="IPFS stall",
        description="seconds without a byte after which a read is given up for now",
    )


class ExtractionSettings(EnvironmentSettings):
    """For who keeps extracted files, and who tells clients of them."""

    extraction_seconds: float = Field(
        7 * 86_400,
        gt=0,
        title="Extraction kept",
        description="seconds that an extracted file is kept when its callback is never taken, and that the callback"
        " waits, uncounted, for a host that gives no answer; a link that is out keeps it for as long as it lives",
    )


class AuditSettings(EnvironmentSettings):
    """For who audits archives: crust-orderer those on the network, the pinner those that are kept."""

    audit_days: float = Field(
        30, gt=0, title="Audit", description="days within which each archive is audited again, wherever it is"
    )
    audit_day_bytes: int = Field(
        100_000_000_000,
        ge=0,
        title="Audits of a day",
        description="bytes read for audits in a day (UTC), for those of the network and for those of local copies; what"
        " was audited the longest ago comes first",
    )


class ProofSettings(EnvironmentSettings):
    """For who reads what the network holds, past our own node: through a gateway if one is named, else the witness."""

    witness_rpc_url: str | None = Field(
        None,
        title="Witness RPC",
        description="base URL of the RPC API of the witness, an IPFS node of ours that never talks to the one that has"
        " the archives: it is asked whom it talks to",
    )
    witness_rpc_token: SecretStr | None = Field(
        None, title="Witness token", description="what its API.Authorizations asks for (a bearer token)"
    )
    witness_gateway_url: str | None = Field(
        None,
        title="Witness gateway",
        description="base URL of its gateway: files of an archive are fetched through it before local copies go",
    )
    proof_gateway_url: str | None = Field(
        None,
        title="Proof gateway",
        description="base URL of an IPFS gateway that is not ours, on a node that stores archives: it is asked instead"
        " of the witness. With neither of them nothing is dropped",
    )
    proof_only_cached: bool = Field(
        default=True,
        title="Proof from the gateway's own blocks",
        description="true has that gateway give only what its own node holds (Cache-Control: only-if-cached). With"
        " false it may fetch the bytes from our own node, which still pins them: then the proof shows that the archive"
        " can be reached, not that anybody else has it",
    )
    proof_stall_seconds: float = Field(
        60, gt=0, title="Proof stall", description="seconds without a byte after which a proof is given up for now"
    )

    @field_validator("witness_rpc_url", "witness_gateway_url", "proof_gateway_url")
    @classmethod
    def _check_way(cls, value: str | None) -> str | None:
        if value and not has_host(value):
            raise ValueError("must be scheme://host or scheme://host:port, and what is special in a URL as %XX")
        return value or None

    @model_validator(mode="after")
    def _whole_witness(self) -> Self:
        if (self.witness_rpc_url is None) != (self.witness_gateway_url is None):
            raise ValueError(f"{PREFIX}WITNESS_RPC_URL and {PREFIX}WITNESS_GATEWAY_URL belong together")
        return self
