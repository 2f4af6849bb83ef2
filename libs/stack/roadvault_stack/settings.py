"""Settings of the local stack; each is read from the environment variable `ROADVAULT_LOCAL_<NAME>`."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from roadvault_stack.errors import StackError

PREFIX = "ROADVAULT_LOCAL_"

CHECKOUT = Path(__file__).parents[3]


def _port(default: int, what: str) -> int:
    """Declare a port; its title is what an error calls it."""
    port: int = Field(default, ge=1, le=65535, title=what, description=f"port of {what}, on 127.0.0.1")
    return port


STORES = ("main", "north", "south", "east", "west")
"""What the stores are called."""
STORE_PORTS = (
    *("ingest_port", "public_port", "door_port", "packer_port", "pinner_port", "retriever_port", "stream_port"),
    *("crust_orderer_port", "notifier_port", "ipfs_rpc_port", "ipfs_gateway_port", "ipfs_swarm_port"),
)
"""Settings of the ports that each store has for itself."""


class StackSettings(BaseSettings):
    """Where the local stack keeps its data and listens, and how fast its devnet runs."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    dir: Path = Field(CHECKOUT / ".roadvault", title="Data directory", description="holds all data of the local stack")

    ingest_port: int = _port(7001, "ingest and the back-office")
    public_port: int = _port(7002, "the signed links")
    packer_port: int = _port(7011, "packer's health and metrics")
    pinner_port: int = _port(7012, "pinner's health and metrics")
    crust_orderer_port: int = _port(7013, "crust-orderer's health and metrics")
    retriever_port: int = _port(7014, "retriever's health and metrics")
    notifier_port: int = _port(7015, "notifier's health and metrics")
    door_port: int = _port(7016, "the door's health and metrics")
    stream_port: int = _port(7017, "videos, which the door asks the retriever for")
    mariadb_port: int = _port(7021, "MariaDB")
    redis_port: int = _port(7022, "Redis")
    ipfs_rpc_port: int = _port(7023, "our Kubo's RPC")
    ipfs_gateway_port: int = _port(7024, "our Kubo's gateway")
    ipfs_swarm_port: int = _port(7025, "our Kubo's swarm")
    network_ipfs_rpc_port: int = _port(7026, "the network's Kubo's RPC")
    network_ipfs_gateway_port: int = _port(7027, "the network's Kubo's gateway")
    network_ipfs_swarm_port: int = _port(7028, "the network's Kubo's swarm")
    devnet_port: int = _port(7030, "the devnet")
    witness_rpc_port: int = _port(7031, "the witness's RPC")
    witness_gateway_port: int = _port(7032, "the witness's gateway")

    stores: int = Field(
        1, ge=1, le=len(STORES), title="Stores", description="stores, each a data directory with a Kubo and services"
    )
    store_ports: int = Field(
        100, ge=1, title="Stores' ports", description="how much higher the ports of each further store are"
    )

    # Real folders hold about 5 GB; a try-out should see one close after a handful of videos, or soon after the last.
    folder_bytes: int = Field(32 * 2**20, ge=2**20, title="Folder size", description="bytes at which a folder closes")
    folder_age_seconds: float = Field(
        10, gt=0, title="Folder age", description="seconds after which a folder closes, however full it is"
    )
    block_seconds: float = Field(0.4, gt=0, title="Block time", description="seconds between two blocks of the devnet")
    replicas_per_block: int = Field(
        6, ge=0, title="Replica growth", description="replicas that the devnet reports more at each block"
    )

    def ports(self) -> dict[str, int]:
        """Return every port by the name of its setting; of further stores their names stand behind it."""
        ports = {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_port")}
        for number in range(1, self.stores):
            of_store = self.of_store(number)
            ports |= {f"{name}@{STORES[number]}": getattr(of_store, name) for name in STORE_PORTS}
        return ports

    def of_store(self, number: int) -> "StackSettings":
        """Return the settings with the ports that the programs of a store have; 0 is main."""
        more = number * self.store_ports
        return self.model_copy(update={name: getattr(self, name) + more for name in STORE_PORTS})


def load() -> StackSettings:
    """Read the settings from the environment.

    Raises:
        StackError: One of them is not valid.
    """
    try:
        settings = StackSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(map(str, first["loc"])).upper()
        raise StackError(f"{name} is not valid: {first['msg']}.") from error
    # One name for one place: by this path a stack knows its own processes, and Kubo its files.
    settings.dir = settings.dir.resolve()
    return settings


def describe(port_name: str) -> tuple[str, str]:
    """Return what a port is for, and the variable that sets it."""
    name, _, store = port_name.partition("@")
    what = str(StackSettings.model_fields[name].title)
    return f"{what} of {store}" if store else what, f"{PREFIX}{name.upper()}"
