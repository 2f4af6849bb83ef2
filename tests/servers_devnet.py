"""A private devnet for a test: blocks are made only when the test says so."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from free_ports import pick_free
from servers_process import Running

from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server

FINALITY_LAG = 2


class Devnet(Server):
    """The stand-in network as a process of its own, with its control door."""

    name = "devnet"

    def __init__(self, home: Path, port: int, **settings: object) -> None:
        super().__init__(home)
        self._port = port
        self._settings = {"block_seconds": 3600, "finality_lag": FINALITY_LAG, "replicas_per_block": 0, **settings}

    @property
    def ports(self) -> tuple[int, ...]:
        return (self._port,)

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self._port}"

    def prepare(self) -> None:
        self.home.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        return [str(Path(sys.executable).with_name("roadvault-devnet"))]

    def environment(self) -> dict[str, str]:
        values = {"port": self._port, "data_dir": self.home, **self._settings}
        return {f"ROADVAULT_DEVNET_{name.upper()}": str(value) for name, value in values.items()}

    def answers(self) -> bool:
        try:
            return bool(self.state())
        except (URLError, OSError):
            return False

    def turn(self, **what: object) -> dict[str, Any]:
        """Turn the network by its control door, and return its state."""
        self._request("control", what)
        return self.state()

    def blocks(self, count: int = 1) -> dict[str, Any]:
        """Make blocks, and return the state after them."""
        return self.turn(make_blocks=count)

    def final(self) -> dict[str, Any]:
        """Make as many blocks as it takes for what was sent to be final."""
        return self.blocks(FINALITY_LAG + 1)

    def state(self) -> dict[str, Any]:
        return self._request("control")

    def orders(self) -> int:
        """Return how many orders were paid for."""
        return int(self.state()["market"]["OrdersCount"])

    def _request(self, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://{HOST}:{self._port}/{path}", data)
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=20) as response:  # noqa: S310
            answer: dict[str, Any] = json.loads(response.read())
            return answer


@contextmanager
def running_devnet(home: Path, **settings: object) -> Iterator[Running[Devnet]]:
    running = Running(Devnet(home, pick_free(1)[0], **settings), "roadvault_devnet.__main__")
    try:
        running.start()
        yield running
    finally:
        running.stop()


@contextmanager
def left_behind(devnet: Devnet, home: Path) -> Iterator[Devnet]:
    """Run another node of the same chain, which has its blocks up to now and gets no more."""
    shutil.copytree(devnet.home, home)
    with running_devnet(home) as node:
        yield node.server


@pytest.fixture
def devnet_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running[Devnet]]:
    """Give the test a devnet; `indirect` parameters are its settings."""
    with running_devnet(tmp_path / "devnet", **getattr(request, "param", {})) as running:
        yield running


@pytest.fixture
def devnet(devnet_server: Running[Devnet]) -> Devnet:
    return devnet_server.server
