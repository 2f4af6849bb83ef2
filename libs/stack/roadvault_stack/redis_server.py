"""A private Redis."""

from pathlib import Path

from redis import Redis as Client
from redis.exceptions import RedisError

from roadvault_stack import programs
from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server, private_file

DATABASES = 64
"""Logical databases; the stack uses number 0, each test one of its own."""

# set-proc-title off: Redis would otherwise write its title over the environment by which the stack knows its own.
_CONF = """\
bind {host}
port {port}
dir "{home}"
daemonize no
set-proc-title no
databases {databases}
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
"""


class Redis(Server):
    """Redis with an append-only file in the stack, and nothing on disk in the tests."""

    name = "redis"

    def __init__(self, home: Path, port: int, *, durable: bool = True) -> None:
        super().__init__(home)
        self.port = port
        self._durable = durable

    @property
    def ports(self) -> tuple[int, ...]:
        """The port for clients."""
        return (self.port,)

    def url(self, database: int = 0) -> str:
        """Return the URL of a logical database."""
        return f"redis://{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        """Write the configuration."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        appendonly = "yes" if self._durable else "no"
        conf = _CONF.format(home=self.home, host=HOST, port=self.port, databases=DATABASES, appendonly=appendonly)
        private_file(self.home / "redis.conf", conf)

    def command(self) -> list[str]:
        """Return the server's command line."""
        return [programs.find("redis-server"), str(self.home / "redis.conf")]

    def answers(self) -> bool:
        """Tell whether it has loaded its data and takes commands."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def client(self, database: int = 0) -> Client:
        """Return a plain, blocking client, for set-up work."""
        return Client(host=HOST, port=self.port, db=database, socket_timeout=5, socket_connect_timeout=2)
