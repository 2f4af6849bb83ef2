"""A Toxiproxy for a test: stands between a service and a server, and spoils what passes."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chaos.proxies import Proxies, toxiproxy
from free_ports import pick_free

from roadvault_stack import programs
from roadvault_stack.ports import HOST


class Proxied:
    """A database behind a proxy named `database`."""

    def __init__(self, url: str, proxies: Proxies) -> None:
        self.url = url
        self.proxies = proxies


@contextmanager
def proxy_to(port: int, config: Path) -> Iterator[tuple[int, Proxies]]:
    """Put a proxy named `database` before a port; yield its own port, and what it is spoiled by."""
    control, listen = pick_free(2)
    command = programs.tied_to_parent(toxiproxy(control, config, {"database": (listen, port)}), "KILL")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not Proxies.answers(control):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield listen, Proxies(control, ["database"])
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def proxied_database(database_url: str, tmp_path: Path) -> Iterator[Proxied]:
    address = database_url.split("@")[1].split("/", maxsplit=1)[0]
    with proxy_to(int(address.split(":")[1]), tmp_path / "toxiproxy.json") as (port, proxies):
        yield Proxied(database_url.replace(address, f"{HOST}:{port}"), proxies)
