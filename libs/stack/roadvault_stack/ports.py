"""Ports on 127.0.0.1."""

import socket

HOST = "127.0.0.1"
FREE_PORTS = "ROADVAULT_FREE_PORTS"
"""Environment variable from which tests take their ports, as `first-last`."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
