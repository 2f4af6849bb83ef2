"""Toxiproxy between the services and their servers (https://github.com/Shopify/toxiproxy)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from roadvault_stack import programs
from roadvault_stack.ports import HOST


def toxiproxy(control: int, config: Path, targets: dict[str, tuple[int, int]]) -> list[str]:
    """Return the command line of a Toxiproxy that takes orders on this port.

    `targets` are its proxies: by name, the port to listen on and the port it leads to; they are written to `config`.
    """
    proxies = [
        {"name": name, "listen": f"{HOST}:{listen}", "upstream": f"{HOST}:{port}", "enabled": True}
        for name, (listen, port) in targets.items()
    ]
    config.write_text(json.dumps(proxies))
    return [programs.find("toxiproxy-server"), "-host", HOST, "-port", str(control), "-config", str(config)]


class Proxies:
    """The proxies of one Toxiproxy, by their names."""

    def __init__(self, control: int, names: list[str]) -> None:
        self._control = control
        self.names = names

    @staticmethod
    def answers(control: int) -> bool:
        """Tell whether a Toxiproxy takes orders on this port."""
        connection = HTTPConnection(HOST, control, timeout=2)
        try:
            connection.request("GET", "/version")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    @contextmanager
    def toxic(self, proxy: str, kind: str, stream: str, *, toxicity: float = 1.0, **attributes: int) -> Iterator[None]:
        """Spoil a proxy's connections for a while, or this share of them; `stream` is upstream or downstream."""
        name = f"{kind}-{stream}"
        body = {"name": name, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        self._call("POST", f"/proxies/{proxy}/toxics", body)
        try:
            yield
        finally:
            self._call("DELETE", f"/proxies/{proxy}/toxics/{name}")

    @contextmanager
    def down(self, proxy: str) -> Iterator[None]:
        """Cut a proxy's connections and refuse new ones for a while."""
        self._call("POST", f"/proxies/{proxy}", {"enabled": False})
        try:
            yield
        finally:
            self._call("POST", f"/proxies/{proxy}", {"enabled": True})

    def _call(self, method: str, path: str, body: Any = None) -> None:  # noqa: ANN401 - JSON
        connection = HTTPConnection(HOST, self._control, timeout=10)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            assert response.status < 300, f"toxiproxy: {method} {path}: {response.status} {answer!r}"
        finally:
            connection.close()
