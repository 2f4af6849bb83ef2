"""Private Kubo nodes: each talks to its peers and to nobody else; the witness never to our own."""

import json
import subprocess
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from roadvault_stack import programs
from roadvault_stack.errors import StackError
from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server, private_file

_INIT_SECONDS = 60


_NETWORK_HOST = "127.0.0.2"
"""Where the network's node is reached by its peers: any address of 127.0.0.0/8 is this machine."""


class KuboPorts(NamedTuple):
    """The ports of a node; that of its swarm is 0 if nobody can dial it."""

    rpc: int
    gateway: int
    swarm: int = 0


class Kubo(Server):
    """One node; `home` is its IPFS_PATH. With the filestore it takes files in place, from under home's parent only.

    With `token` its RPC does nothing for whoever has not got it. With `names` it and its peer keep a DHT of their own,
    by which each finds the other's IPNS names.
    """

    def __init__(
        self,
        name: str,
        home: Path,
        ports: KuboPorts,
        *,
        filestore: bool = False,
        token: str | None = None,
        swarm_host: str = HOST,
        names: bool = False,
    ) -> None:
        super().__init__(home)
        self._swarm_host = swarm_host
        self._token = token
        self._names = names
        self.name = name
        self._ports = ports
        self._filestore = filestore
        self._peers = list[Kubo]()

    @property
    def ports(self) -> tuple[int, ...]:
        """RPC, gateway and swarm."""
        return tuple(port for port in self._ports if port)

    @property
    def rpc_url(self) -> str:
        """Base URL of the RPC API."""
        return f"http://{HOST}:{self._ports.rpc}"

    @property
    def gateway_url(self) -> str:
        """Base URL of the HTTP gateway."""
        return f"http://{HOST}:{self._ports.gateway}"

    @property
    def swarm_address(self) -> str:
        """Multiaddress on which the peer dials us."""
        return f"/ip4/{self._swarm_host}/tcp/{self._ports.swarm}"

    @property
    def peer_id(self) -> str:
        """The node's name among its peers; known once it is prepared."""
        return str(self._config()["Identity"]["PeerID"])

    def peer_with(self, other: "Kubo") -> None:
        """Make each keep up a connection to the other, from the next `prepare` on."""
        self._peers.append(other)
        if self not in other._peers:  # noqa: SLF001 - the same class: peering is one thing, known to both
            other.peer_with(self)

    def prepare(self) -> None:
        """Create the repository at the first time; write the configuration."""
        self._init()
        config = self._config()
        _merge(config, self._settings())
        config["API"]["Authorizations"] = authorizations(self._token)
        config["Routing"]["Type"] = "dhtserver" if self._names else "none"
        config["Experimental"]["FilestoreEnabled"] = self._filestore
        for peer in self._peers:
            peer._init()  # noqa: SLF001 - the same class: the peer's id exists only afterwards
        if self._peers:
            known = [{"ID": peer.peer_id, "Addrs": [peer.swarm_address]} for peer in self._peers]
            config["Peering"]["Peers"] = known
        private_file(self.home / "config", json.dumps(config, indent=2))

    def _settings(self) -> dict[str, Any]:
        """Return what is set in its configuration at each start."""
        return _private(self._ports, [self.swarm_address] if self._ports.swarm else [])

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.home / "config").read_text())
        return config

    def _init(self) -> None:
        if (self.home / "config").exists():
            return
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        done = subprocess.run(  # noqa: S603 - our own arguments
            [programs.find("ipfs"), "init", "--empty-repo"],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_INIT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StackError(f"Kubo could not create its repository in {self.home}: {done.stderr.strip()}")

    def command(self) -> list[str]:
        """Return the node's command line; only our own node may throw away what is not pinned, when it gets full."""
        collect = ["--enable-gc"] if self._filestore else []
        return [programs.find("ipfs"), "daemon", "--migrate", *collect]

    def environment(self) -> dict[str, str]:
        """Return where the repository is; HOME too, so that nothing is read from or left in the user's own."""
        return {"IPFS_PATH": str(self.home), "HOME": str(self.home), "IPFS_TELEMETRY": "off"}

    def answers(self) -> bool:
        """Tell whether RPC API and gateway take requests."""
        return self.rpc("version") is not None and _gateway_answers(self._ports.gateway)

    def connected(self) -> bool:
        """Tell whether all peers are connected; true when there is none."""
        return not self._missing()

    def _missing(self) -> list["Kubo"]:
        if not self._peers:
            return []
        there = {peer["Peer"] for peer in (self.rpc("swarm/peers") or {}).get("Peers") or []}
        return [peer for peer in self._peers if peer.peer_id not in there]

    def connect(self) -> bool:
        """Dial the peers that are not connected, and tell whether all are.

        Kubo's peering does so by itself, but only after 5 to 10 seconds.
        """
        for peer in self._missing():
            self.rpc(f"swarm/connect?arg={peer.swarm_address}/p2p/{peer.peer_id}")
        return self.connected()

    def rpc(self, call: str) -> dict[str, Any] | None:
        """Return the answer of a small RPC call, or None if there is none or it is an error."""
        connection = HTTPConnection(HOST, self._ports.rpc, timeout=5)
        try:
            connection.request("POST", f"/api/v0/{call}", headers=authorized(self._token))
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        if response.status != 200:  # noqa: PLR2004 - OK
            return None
        answer: dict[str, Any] = json.loads(body)
        return answer


class NetworkKubo(Kubo):
    """The network's node, on an address of its own: so that address filters tell it from ours."""

    def __init__(self, name: str, home: Path, ports: KuboPorts, *, names: bool = False) -> None:
        super().__init__(name, home, ports, swarm_host=_NETWORK_HOST, names=names)


class WitnessKubo(Kubo):
    """A node that knows the network's, dials nobody on our own node's address, and can't be dialled."""

    def __init__(self, name: str, home: Path, ports: KuboPorts, network: Kubo, *, token: str | None = None) -> None:
        super().__init__(name, home, ports, token=token)
        self._peers = [network]

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        settings["Swarm"]["AddrFilters"] = [f"/ip4/{HOST}/ipcidr/32"]
        settings["Provide"]["Enabled"] = False
        return settings


def _gateway_answers(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


def authorizations(token: str | None) -> dict[str, Any]:
    """Return Kubo's API.Authorizations: whoever has the token may do anything, nobody else; without one anybody."""
    return {"roadvault": {"AuthSecret": f"bearer:{token}", "AllowedPaths": ["/api/v0"]}} if token else {}


def authorized(token: str | None) -> dict[str, str]:
    """Return the header of a request to the RPC."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def _private(ports: KuboPorts, swarm: list[str]) -> dict[str, Any]:
    """Return the settings of a node that neither looks for nor is found by anybody but its peer."""
    off = {"Enabled": False}
    return {
        "Addresses": {
            # TCP alone: QUIC would take the same number in UDP, which the check for free ports doesn't see.
            "Swarm": swarm,
            "Announce": swarm,
            "API": f"/ip4/{HOST}/tcp/{ports.rpc}",
            "Gateway": f"/ip4/{HOST}/tcp/{ports.gateway}",
        },
        "Bootstrap": [],
        "Discovery": {"MDNS": off},
        "Routing": {"Type": "none", "DelegatedRouters": []},
        "Ipns": {"DelegatedPublishers": []},
        "DNS": {"Resolvers": {}},
        "AutoConf": off,
        "AutoTLS": off,
        "AutoNAT": {"ServiceMode": "disabled"},
        "HTTPRetrieval": off,
        "Version": {"SwarmCheckEnabled": False},
        "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
        "Swarm": {
            "DisableNatPortMap": True,
            "EnableHolePunching": False,
            "RelayClient": off,
            "RelayService": off,
            "Transports": {"Network": {"QUIC": False, "Relay": False, "WebTransport": False, "WebRTCDirect": False}},
        },
        "Gateway": {"NoFetch": False, "NoDNSLink": True, "DeserializedResponses": True},
        "Provide": {"Strategy": "roots"},
    }


def _merge(config: dict[str, Any], changes: dict[str, Any]) -> None:
    """Set the given leaves and leave the others, so that what a person tuned by hand stays."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict) and value:
            _merge(config[key], value)
        else:
            config[key] = value
