"""What lies where in the data directory."""

from pathlib import Path

from roadvault_common.stores import MAIN
from roadvault_stack.errors import StackError
from roadvault_stack.servers import private_file, socket_path

DEVNET, ELSEWHERE = "the devnet", "another network"
"""Where the archives of a data directory are ordered."""


class Layout:
    """The paths under one data directory.

    Our Kubo's filestore takes files from under the parent of its repository only: so `vault` and `ipfs` are siblings.
    Those of another store than main lie below `stores/`; all else there is once.
    """

    def __init__(self, root: Path, store: str = MAIN) -> None:
        self.root = root
        home = root if store == MAIN else root / "stores" / store
        self.vault = home / "vault"
        self.ipfs = home / "ipfs"
        self.network_ipfs = root / "network-ipfs"
        self.witness_ipfs = root / "witness-ipfs"
        self.mariadb = root / "mariadb"
        self.redis = root / "redis"
        self.devnet = root / "devnet"
        self.logs = root / "logs"
        self.secrets = root / "secrets.env"
        self.supervisor_conf = root / "supervisord.conf"
        self.supervisor_pid = root / "supervisord.pid"
        self.lock = root / "stack.lock"
        self.network = root / "network"

    def create(self) -> None:
        """Make the directories that nobody else makes; uploads and keys are for their owner's eyes only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("received", "archives", "downloads", "posters"):
            (self.vault / name).mkdir(parents=True, exist_ok=True)
        self.devnet.mkdir(exist_ok=True)
        self.logs.mkdir(exist_ok=True)

    def belongs_to(self, network: str) -> None:
        """Note that archives here are ordered on this network, at the first time.

        Raises:
            StackError: They were ordered elsewhere: they would be bought once more here, and not be renewed there.
        """
        if not self.network.exists():
            earlier = DEVNET if any(self.devnet.iterdir()) else network
            private_file(self.network, f"{earlier}\n")
        known = self.network.read_text().strip()
        if known != network:
            raise StackError(
                f"The archives in {self.root} are ordered on {known}, and settings name {network}: set"
                " ROADVAULT_LOCAL_DIR to a directory of its own for each."
            )

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisor takes commands."""
        return socket_path(self.root / "supervisor.sock")

    def log(self, program: str) -> Path:
        """What a program writes."""
        return self.logs / f"{program}.log"
