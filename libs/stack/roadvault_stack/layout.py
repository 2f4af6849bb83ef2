"""What lies where in the data directory."""

from pathlib import Path

from roadvault_stack.servers import socket_path


class Layout:
    """The paths under one data directory.

    Our Kubo's filestore takes files from under the parent of its repository only: so `vault` and `ipfs` are siblings.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.vault = root / "vault"
        self.ipfs = root / "ipfs"
        self.network_ipfs = root / "network-ipfs"
        self.mariadb = root / "mariadb"
        self.redis = root / "redis"
        self.devnet = root / "devnet"
        self.logs = root / "logs"
        self.secrets = root / "secrets.env"
        self.supervisor_conf = root / "supervisord.conf"
        self.supervisor_pid = root / "supervisord.pid"
        self.lock = root / "stack.lock"

    def create(self) -> None:
        """Make the directories that nobody else makes; uploads and keys are for their owner's eyes only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("received", "archives", "downloads"):
            (self.vault / name).mkdir(parents=True, exist_ok=True)
        self.devnet.mkdir(exist_ok=True)
        self.logs.mkdir(exist_ok=True)

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisor takes commands."""
        return socket_path(self.root / "supervisor.sock")

    def log(self, program: str) -> Path:
        """What a program writes."""
        return self.logs / f"{program}.log"
