"""deploy/redis-start.sh, which docker compose starts Redis by, with the real server."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from free_ports import pick_free
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from servers_process import Running

from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server

SCRIPT = Path(__file__).parents[2] / "deploy" / "redis-start.sh"
PASSWORD = "0123456789abcdef"


class Locked(Server):
    """Redis as compose starts it; the image's entry point is left out."""

    name = "redis"

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.port = port

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port,)

    def prepare(self) -> None:
        self.home.mkdir(exist_ok=True)
        (self.home / "password").write_text(f"{PASSWORD}\n")
        for name, text in (("docker-entrypoint.sh", 'exec "$@"'), ("chown", "exit 0")):
            (self.home / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.home / name).chmod(0o755)

    def command(self) -> list[str]:
        return ["sh", str(SCRIPT), "--port", str(self.port), "--bind", HOST, "--dir", str(self.home), "--save", ""]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.home}:{os.environ['PATH']}",
            "REDIS_PASSWORD_FILE": str(self.home / "password"),
            "TMPDIR": str(self.home),
        }

    @contextmanager
    def client(self, password: str | None) -> Iterator[Redis]:
        with Redis(host=HOST, port=self.port, password=password, socket_timeout=5) as opened:
            yield opened

    def answers(self) -> bool:
        try:
            with self.client(PASSWORD) as client:
                return bool(client.ping())
        except RedisError:
            return False


def test_redis_asks_for_the_password_which_no_command_line_has(tmp_path: Path) -> None:
    running = Running(Locked(tmp_path / "redis", pick_free(1)[0]))
    running.start()
    try:
        for password in (None, "another"):
            with running.server.client(password) as client, pytest.raises(AuthenticationError):
                client.ping()
        process = running._process
        assert process is not None
        assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert (tmp_path / "redis/redis.conf").stat().st_mode & 0o777 == 0o600
    finally:
        running.stop()


@pytest.mark.parametrize("password", ["", "two words", 'quo"ted'])
def test_redis_does_not_start_without_one(tmp_path: Path, password: str) -> None:
    server = Locked(tmp_path / "redis", 1)
    server.prepare()
    (server.home / "password").write_text(password)
    done = subprocess.run(server.command(), env=server.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "must hold one line of letters" in done.stderr
