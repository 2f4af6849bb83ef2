"""Who gets which settings: the one table of the local stack's environment.

Each service is told what it needs and nothing else: only crust-orderer can spend, only who encrypts or decrypts has
master keys, only who makes or takes links has their secret. What stands in the environment of whoever starts the stack
wins (`overrides.py`).
"""

from collections.abc import Callable, Mapping, Sequence

from roadvault_stack.credentials import Credentials
from roadvault_stack.errors import StackError
from roadvault_stack.layout import Layout
from roadvault_stack.overrides import Override
from roadvault_stack.ports import HOST
from roadvault_stack.settings import StackSettings

_EVERY_SERVICE = (
    "DATABASE_URL",
    "LOG_FORMAT",
    "HTTP_HOST",
    "DRAIN_SECONDS",
)
_DISK = ("DATA_DIR", "STORE")
"""For who has a store's data directory."""
_WORK = ("REDIS_URL", "SWEEP_SECONDS")
"""For who works on rows and hears of them by events."""

_FOLDERS = ("FOLDER_BYTES", "FOLDER_AGE_SECONDS")
_CALLBACKS = ("CALLBACK_ALLOW_PRIVATE", "CALLBACK_REFUSE")
_CHAIN = (
    *_WORK,
    "CRUST_URL",
    "CRUST_SEED",
    "CRUST_CHECK_SECONDS",
    "CRUST_POLL_SECONDS",
    "CRUST_BLOCK_SECONDS",
    "MASTER_KEYS",
    "WITNESS_RPC_URL",
    "WITNESS_RPC_TOKEN",
    "WITNESS_GATEWAY_URL",
    "PROOF_STALL_SECONDS",
    "AUDIT_RETRY_SECONDS",
    "REPLICA_THRESHOLD",
)

GRANTS: dict[str, tuple[str, ...]] = {
    "ingest": (*_WORK, *_DISK, "DOOR_URL", *_FOLDERS, *_CALLBACKS, "VIEW_SECRET", "LINK_SECRET", "PUBLIC_URL"),
    "door": (*_DISK, "LINK_SECRET", "PUBLIC_HOST", "PUBLIC_PORT", "STREAM_URL"),
    "packer": (*_WORK, *_DISK, "MASTER_KEYS"),
    "pinner": (*_WORK, *_DISK, "MASTER_KEYS", "IPFS_RPC_URL", "IPFS_RPC_TOKEN"),
    "crust-orderer": _CHAIN,
    "retriever": (
        *_WORK,
        *_DISK,
        "STORE_LINK_URL",
        "STORE_STREAM_URL",
        "MASTER_KEYS",
        "IPFS_RPC_URL",
        "IPFS_RPC_TOKEN",
        "IPFS_GATEWAY_URL",
        "VIEW_SECRET",
        "STREAM_PORT",
    ),
    "notifier": (*_WORK, "LINK_SECRET", "PUBLIC_URL", "CALLBACK_MASTER_KEYS", *_CALLBACKS),
}
"""What each service gets beyond what every service gets."""

SERVICES = tuple(GRANTS)

_DEVNET_ONLY = (
    "CRUST_URL",
    "CRUST_SEED",
    "CRUST_CHECK_SECONDS",
    "CRUST_POLL_SECONDS",
    "CRUST_BLOCK_SECONDS",
    "WITNESS_RPC_URL",
    "WITNESS_RPC_TOKEN",
    "WITNESS_GATEWAY_URL",
    "PROOF_STALL_SECONDS",
    "AUDIT_RETRY_SECONDS",
)
"""What is right for the devnet alone; elsewhere the services' own defaults count."""


class Environments:
    """The environment of everything that RoadVault itself runs."""

    def __init__(
        self,
        settings: StackSettings,
        layout: Layout,
        credentials: Credentials,
        urls: dict[str, str],
        read: Callable[[Mapping[str, str]], Sequence[Override]] = lambda _: (),
        store: str | None = None,
    ) -> None:
        """Collect the values; `urls` are those of the servers, by the names of the settings.

        `store` is whose services have these, where there are several stores; settings and layout are the store's, too.

        `read` returns what wins over the values that it is given.

        Raises:
            StackError: That can't be, or there is an account missing that pays elsewhere than on the devnet.
        """
        self._settings = settings
        self._values = {
            "DATABASE_URL": urls["DATABASE_URL"],
            "REDIS_URL": urls["REDIS_URL"],
            "IPFS_RPC_URL": urls["IPFS_RPC_URL"],
            "IPFS_GATEWAY_URL": urls["IPFS_GATEWAY_URL"],
            "DATA_DIR": str(layout.vault),
            "LOG_FORMAT": "console",
            "HTTP_HOST": HOST,
            "PUBLIC_HOST": HOST,
            "PUBLIC_PORT": str(settings.public_port),
            "PUBLIC_URL": f"http://{HOST}:{settings.public_port}",
            "STREAM_PORT": str(settings.stream_port),
            "STREAM_URL": f"http://{HOST}:{settings.stream_port}",
            "MASTER_KEYS": credentials.master_keys,
            "LINK_SECRET": credentials.link_secret,
            "VIEW_SECRET": credentials.view_secret,
            "CALLBACK_MASTER_KEYS": credentials.callback_master_keys,
            "IPFS_RPC_TOKEN": credentials.ipfs_rpc_token,
            "CRUST_URL": f"ws://{HOST}:{settings.devnet_port}",
            "CRUST_SEED": "//Alice",  # a key that everybody knows: worth something on the devnet only
            "CRUST_CHECK_SECONDS": "2",
            "CRUST_POLL_SECONDS": str(settings.block_seconds),
            "CRUST_BLOCK_SECONDS": str(settings.block_seconds),
            "REPLICA_THRESHOLD": "50",
            "WITNESS_RPC_URL": urls["WITNESS_RPC_URL"],
            "WITNESS_RPC_TOKEN": credentials.witness_rpc_token,
            "WITNESS_GATEWAY_URL": urls["WITNESS_GATEWAY_URL"],
            "PROOF_STALL_SECONDS": "4",  # there is one storage node, and it is next door
            "AUDIT_RETRY_SECONDS": "0.5",
            "DOOR_URL": f"http://{HOST}:{settings.door_port}",
            "FOLDER_BYTES": str(settings.folder_bytes),
            "FOLDER_AGE_SECONDS": str(settings.folder_age_seconds),
            "SWEEP_SECONDS": "2",
            "DRAIN_SECONDS": "10",
            # Whoever tries the stack takes callbacks on this very machine, but not at the stack's own servers.
            "CALLBACK_ALLOW_PRIVATE": "127.0.0.0/8,::1/128",
            "CALLBACK_REFUSE": ",".join(f"{HOST}:{port}" for port in settings.ports().values()),
        }
        if store is not None:
            link, stream = self._values["PUBLIC_URL"], self._values["STREAM_URL"]
            self._values |= {"STORE": store, "STORE_LINK_URL": link, "STORE_STREAM_URL": stream}
        self._devnet_values = {
            "DEVNET_HOST": HOST,
            "DEVNET_PORT": str(settings.devnet_port),
            "DEVNET_DATA_DIR": str(layout.devnet),
            "DEVNET_KUBO_RPC_URL": urls["NETWORK_IPFS_RPC_URL"],
            "DEVNET_BLOCK_SECONDS": str(settings.block_seconds),
            "DEVNET_REPLICAS_PER_BLOCK": str(settings.replicas_per_block),
            "DEVNET_MAX_REPLICAS": "60",
        }
        self.overrides = read({**self._values, **self._devnet_values})
        given = {override.name: override.value for override in self.overrides}
        self.on_devnet = "CRUST_URL" not in given and given.get("MARKET") != "pinning"
        """Whether orders are placed on the devnet; else nobody needs it."""
        if not self.on_devnet:
            _see_account(given)
        replaced = {override.replaces for override in self.overrides} | (set() if self.on_devnet else set(_DEVNET_ONLY))
        self._values = {name: value for name, value in self._values.items() if name not in replaced}

    def service(self, name: str) -> dict[str, str]:
        """Return what a service gets."""
        port = getattr(self._settings, f"{name.replace('-', '_')}_port")
        granted = {key: self._values[key] for key in (*_EVERY_SERVICE, *GRANTS[name]) if key in self._values}
        return _prefixed({**granted, **self._given(name), "HTTP_PORT": str(port)})

    def _given(self, *programs: str) -> dict[str, str]:
        return {one.name: one.value for one in self.overrides if not set(programs).isdisjoint(one.readers)}

    def devnet(self) -> dict[str, str]:
        """Return what the stand-in network gets."""
        return _prefixed({**self._devnet_values, **self._given("devnet")})

    def migration(self) -> dict[str, str]:
        """Return what `roadvault migrate` gets."""
        return _prefixed({"DATABASE_URL": self._values["DATABASE_URL"]})

    def everything(self) -> dict[str, str]:
        """Return all that any service gets, other than the port that each has of its own: for a person's shell."""
        return _prefixed({**self._values, **self._given(*SERVICES)})


def _see_account(given: dict[str, str]) -> None:
    """See that somebody pays where orders cost money.

    Raises:
        StackError: No account is given; the devnet's is everybody's.
    """
    if given.get("MARKET") == "pinning" and not given.keys().isdisjoint({"PINNING_TOKEN", "PINNING_TOKEN_FILE"}):
        return
    if given.keys().isdisjoint({"CRUST_SEED", "CRUST_SEED_FILE"}):
        raise StackError(
            "ROADVAULT_CRUST_SEED_FILE or ROADVAULT_CRUST_SEED has to be set with ROADVAULT_CRUST_URL or"
            " ROADVAULT_MARKET: //Alice, who pays on the devnet, is an account whose key everybody knows."
        )


def _prefixed(values: dict[str, str]) -> dict[str, str]:
    return {f"ROADVAULT_{name}": value for name, value in values.items()}
