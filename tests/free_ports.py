"""Ports for the tests' own servers."""

import os
import random
import socket
from contextlib import ExitStack

from roadvault_stack.ports import FREE_PORTS, HOST

# Below the range from which Linux takes ports for outgoing connections, so that none of those slips in between; with
# FREE_PORTS processes that pick ports at the same time narrow it down.
_FIRST, _LAST = 20_000, 32_000


def accepts(port: int) -> bool:
    """Tell whether something listens on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def pick_free(count: int) -> list[int]:
    """Return different ports that are free now; somebody else may of course take one before it is used."""
    first, last = map(int, os.environ.get(FREE_PORTS, f"{_FIRST}-{_LAST}").split("-"))
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randint(first, last)
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
        return ports
