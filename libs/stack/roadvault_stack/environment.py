"""Who gets which settings: the one table of the local stack's environment.

Each service is told what it needs and nothing else: only crust-orderer can spend, only who encrypts or decrypts has
master keys, only who makes or takes links has their secret.
"""

from roadvault_stack.credentials import Credentials
from roadvault_stack.layout import Layout
from roadvault_stack.ports import HOST
from roadvault_stack.settings import StackSettings

_EVERY_SERVICE = (
    "DATABASE_URL",
    "LOG_FORMAT",
    "HTTP_HOST",
    "DRAIN_SECONDS",
)
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
    "PROOF_GATEWAY_URL",
    "PROOF_ONLY_CACHED",
    "REPLICA_THRESHOLD",
)

GRANTS: dict[str, tuple[str, ...]] = {
    "ingest": (*_WORK, "DATA_DIR", *_FOLDERS, *_CALLBACKS),
    "door": ("DATA_DIR", "LINK_SECRET", "PUBLIC_HOST", "PUBLIC_PORT"),
    "packer": (*_WORK, "DATA_DIR", "MASTER_KEYS"),
    "pinner": (*_WORK, "DATA_DIR", "MASTER_KEYS", "IPFS_RPC_URL"),
    "crust-orderer": _CHAIN,
    "retriever": (*_WORK, "DATA_DIR", "MASTER_KEYS", "IPFS_RPC_URL", "IPFS_GATEWAY_URL"),
    "notifier": (*_WORK, "LINK_SECRET", "PUBLIC_URL", *_CALLBACKS),
}
"""What each service gets beyond what every service gets."""

SERVICES = tuple(GRANTS)


class Environments:
    """The environment of everything that RoadVault itself runs."""

    def __init__(self, settings: StackSettings, layout: Layout, credentials: Credentials, urls: dict[str, str]) -> None:
        """Collect the values; `urls` are those of the servers, by the names of the settings."""
        self._settings = settings
        self._layout = layout
        self._network_rpc_url = urls["NETWORK_IPFS_RPC_URL"]
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
            "MASTER_KEYS": credentials.master_keys,
            "LINK_SECRET": credentials.link_secret,
            "CRUST_URL": f"ws://{HOST}:{settings.devnet_port}",
            "CRUST_SEED": "//Alice",  # a key that everybody knows: worth something on the devnet only
            "CRUST_CHECK_SECONDS": "2",
            "CRUST_POLL_SECONDS": str(settings.block_seconds),
            "CRUST_BLOCK_SECONDS": str(settings.block_seconds),
            "REPLICA_THRESHOLD": "50",
            "PROOF_GATEWAY_URL": urls["NETWORK_IPFS_GATEWAY_URL"],
            "PROOF_ONLY_CACHED": "true",
            "FOLDER_BYTES": str(settings.folder_bytes),
            "FOLDER_AGE_SECONDS": str(settings.folder_age_seconds),
            "SWEEP_SECONDS": "5",
            "DRAIN_SECONDS": "10",
            # Whoever tries the stack takes callbacks on this very machine, but not at the stack's own servers.
            "CALLBACK_ALLOW_PRIVATE": "127.0.0.0/8,::1/128",
            "CALLBACK_REFUSE": ",".join(f"{HOST}:{port}" for port in settings.ports().values()),
        }

    def service(self, name: str) -> dict[str, str]:
        """Return what a service gets."""
        port = getattr(self._settings, f"{name.replace('-', '_')}_port")
        granted = {key: self._values[key] for key in (*_EVERY_SERVICE, *GRANTS[name])}
        return _prefixed({**granted, "HTTP_PORT": str(port)})

    def devnet(self) -> dict[str, str]:
        """Return what the stand-in network gets."""
        return _prefixed(
            {
                "DEVNET_HOST": HOST,
                "DEVNET_PORT": str(self._settings.devnet_port),
                "DEVNET_DATA_DIR": str(self._layout.devnet),
                "DEVNET_KUBO_RPC_URL": self._network_rpc_url,
                "DEVNET_BLOCK_SECONDS": str(self._settings.block_seconds),
                "DEVNET_REPLICAS_PER_BLOCK": str(self._settings.replicas_per_block),
                "DEVNET_MAX_REPLICAS": "60",
            }
        )

    def migration(self) -> dict[str, str]:
        """Return what `roadvault migrate` gets."""
        return _prefixed({"DATABASE_URL": self._values["DATABASE_URL"]})

    def everything(self) -> dict[str, str]:
        """Return all that any service gets, other than the port that each has of its own: for a person's shell."""
        return _prefixed(self._values)


def _prefixed(values: dict[str, str]) -> dict[str, str]:
    return {f"ROADVAULT_{name}": value for name, value in values.items()}
