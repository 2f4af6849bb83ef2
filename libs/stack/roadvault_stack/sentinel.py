"""Redis with a replica, and three Sentinels that make it the master when the other one is gone."""

from pathlib import Path

from redis import Redis as Client
from redis.exceptions import RedisError

from roadvault_stack import programs
from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server, private_file

SENTINELS, NAME = 3, "rv"
_QUORUM = 2
_DOWN_AFTER_MS, _FAILOVER_MS = 2000, 6000

# set-proc-title off: Redis would otherwise write its title over the environment by which the stack knows its own.
_CONF = """\
bind {host}
port {port}
dir "{home}"
daemonize no
set-proc-title no
"""
_SERVER = """\
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
repl-diskless-sync-delay 0
requirepass {password}
masterauth {password}
"""
_SENTINEL = """\
sentinel monitor {name} {host} {master} {quorum}
sentinel down-after-milliseconds {name} {down}
sentinel failover-timeout {name} {failover}
sentinel auth-pass {name} {password}
"""


class Watched(Server):
    """One Redis of the two, or a Sentinel: they rewrite their configuration themselves, so that it is written once."""

    def __init__(self, home: Path, port: int, conf: str, password: str | None) -> None:
        super().__init__(home)
        self.name = home.name
        self.port = port
        self._conf = conf
        self._password = password

    @property
    def ports(self) -> tuple[int, ...]:
        """The port for clients."""
        return (self.port,)

    def prepare(self) -> None:
        """Write the configuration at the first time."""
        conf = self.home / "redis.conf"
        if not conf.exists():
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            private_file(conf, _CONF.format(host=HOST, port=self.port, home=self.home) + self._conf)

    def command(self) -> list[str]:
        """Return the server's command line; of a Sentinel there is no password."""
        kind = ["--sentinel"] if self._password is None else []
        return [programs.find("redis-server"), str(self.home / "redis.conf"), *kind]

    def answers(self) -> bool:
        """Tell whether it takes commands."""
        try:
            with Client(
                host=HOST, port=self.port, password=self._password, socket_timeout=5, socket_connect_timeout=2
            ) as client:
                return bool(client.ping())
        except RedisError:
            return False


def guarded(root: Path, ports: list[int], password: str) -> list[Server]:
    """Return two servers and three Sentinels at as many ports."""
    own, watch = ports[:2], ports[2 : 2 + SENTINELS]
    server = _SERVER.format(password=password)
    follow = f"replicaof {HOST} {own[0]}\n"
    watches = _SENTINEL.format(
        name=NAME, host=HOST, master=own[0], quorum=_QUORUM, down=_DOWN_AFTER_MS, failover=_FAILOVER_MS,
        password=password,
    )  # fmt: skip
    return [
        *(Watched(root / f"redis-{n}", port, server + follow * n, password) for n, port in enumerate(own)),
        *(Watched(root / f"sentinel-{n}", port, watches, None) for n, port in enumerate(watch)),
    ]


def url(ports: list[int], password: str) -> str:
    """Return the URL that names the Sentinels."""
    hosts = ",".join(f"{HOST}:{port}" for port in ports[2 : 2 + SENTINELS])
    return f"redis+sentinel://:{password}@{hosts}/{NAME}/0"
