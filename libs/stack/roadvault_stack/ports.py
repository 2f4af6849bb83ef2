"""Ports on 127.0.0.1: are they free, and which ones are."""

import os
import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"

# Below the range from which Linux takes ports for outgoing connections, so that none of those slips in between.
_FIRST, _LAST = 20_000, 32_000
FREE_PORTS = "ROADVAULT_FREE_PORTS"
"""Environment variable that narrows this down, as `first-last`, for processes that pick ports at the same time."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


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
            port = random.randint(first, last)  # noqa: S311 - no secret
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
        return ports
