"""Where callbacks may go: to the public internet, to networks that the operator names, never to our own servers."""

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from roadvault_common.errors import PermanentError
from roadvault_common.settings.config import PREFIX, Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_CARRYING = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
"""IPv6 networks whose addresses end in an IPv4 address: compatible, mapped, translated, and NAT64's (RFC 6052)."""
_METADATA = tuple(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
"""Where clouds hand out their machines' credentials, besides 169.254.169.254: Alibaba, Azure, Oracle, AWS, Google."""
_PLACE = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/@%\[\]]+))(?::([0-9]{1,5}))?")
_PORTS = {"mysql": 3306, "redis": 6379, "rediss": 6379, "http": 80, "ws": 80, "https": 443, "wss": 443}
_LOOK_UP_SECONDS = 2.0
_ANYBODYS = f"{PREFIX}PUBLIC_URL"
"""The one URL of ours that is meant for everybody; clients may well stand behind the same load balancer."""


class AddressRefused(PermanentError):
    """Callbacks do not go to such an address."""

    code = "callback_url"


@dataclass(frozen=True)
class Place:
    """A server that is never called: one port of a host, or all of them."""

    host: str
    port: int | None


class CallbackSettings(Settings):
    """For services that take a callback's URL, or call it."""

    callback_allow_private: str = Field(
        "",
        title="Private callbacks",
        description="networks, separated by commas, that callbacks may go to though they are not the public internet's,"
        " for clients on an intranet: 10.0.0.0/8,192.168.0.0/16",
    )
    callback_refuse: str = Field(
        "",
        title="Refused callbacks",
        description="networks, hosts and host:port, separated by commas, that callbacks never go to: RoadVault's own"
        " servers, other than those that this service knows by its settings",
    )

    @field_validator("callback_allow_private")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        if value.lower() == "false":  # as this setting said "none" when it was a switch
            return ""
        if value.lower() == "true":
            raise ValueError("is a list of networks now, such as 10.0.0.0/8,192.168.0.0/16")
        for entry in _entries(value):
            if _network(entry) is None:
                raise ValueError("must be networks separated by commas, such as 10.0.0.0/8,192.168.0.0/16")
        return value

    @field_validator("callback_refuse")
    @classmethod
    def _check_places(cls, value: str) -> str:
        if not all(_network(entry) or _place(entry) for entry in _entries(value)):
            raise ValueError("must be networks, hosts and host:port separated by commas")
        return value

    def reach(self) -> "Reach":
        """Return where callbacks may go, by these settings and by what the environment tells of our own servers."""
        refused = _entries(self.callback_refuse)
        own = [place for entry in refused if not _network(entry) and (place := _place(entry))]
        own += own_servers({**os.environ, **self._urls()})
        if self.http_port:
            own.append(Place(self.http_host, self.http_port))
        return Reach(_networks(_entries(self.callback_allow_private)), _networks(refused), own)

    def _urls(self) -> dict[str, str]:
        """Return the URLs of this service's own settings: one that is secret may stand in a file alone."""
        urls = ((f"{PREFIX}{name}".upper(), value) for name, value in self if name.endswith("_url"))
        return {name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in urls}


class Reach:
    """Tells which addresses may be called."""

    def __init__(self, allowed: Sequence[Network], refused: Sequence[Network], own: Sequence[Place]) -> None:
        self._allowed = allowed
        self._refused = refused
        self._own: dict[Place, set[Address]] = {place: _literal(place.host) for place in own}
        self._named = [place for place, addresses in self._own.items() if not addresses]

    async def look_up(self) -> None:
        """Find out where our own servers are now; one that is not found in time stays where it was."""
        await asyncio.gather(*map(self._look_up, self._named))

    async def _look_up(self, place: Place) -> None:
        with suppress(OSError, UnicodeError):  # a TimeoutError is an OSError
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                infos = await asyncio.get_running_loop().getaddrinfo(place.host, None, type=socket.SOCK_STREAM)
            self._own[place] = {address for info in infos for address in _literal(str(info[4][0]))}

    def check(self, host: str, port: int) -> None:
        """Check an address, as a resolver gives it or a URL has it.

        Raises:
            AddressRefused: It must not be called; the message does not say which address it is.
        """
        outer = _bare(host)
        address = _carried(outer) or outer
        if address.is_multicast or address.is_unspecified or address.is_link_local or address in _METADATA:
            raise AddressRefused("callbacks do not go to link-local, multicast and unspecified addresses")
        if _in(self._refused, outer, address) or self._is_own(address, port):
            raise AddressRefused(
                "callbacks do not go to RoadVault's own servers and what ROADVAULT_CALLBACK_REFUSE names"
            )
        if not _is_public(address) and not _in(self._allowed, outer, address):
            raise AddressRefused(
                "callbacks do not go to private addresses, but for the networks of ROADVAULT_CALLBACK_ALLOW_PRIVATE"
            )

    def _is_own(self, address: Address, port: int) -> bool:
        """Tell whether one of our servers may listen there: one on this machine may do so on all of its addresses."""
        addresses = [found for place, known in self._own.items() if place.port in {None, port} for found in known]
        return address in addresses or (any(map(_is_here, addresses)) and _is_here(address))


def own_servers(environment: Mapping[str, str]) -> list[Place]:
    """Return the servers that the settings `ROADVAULT_*_URL` of an environment name."""
    found = []
    for name, value in environment.items():
        if name.startswith(PREFIX) and name.endswith("_URL") and name != _ANYBODYS:
            for url in re.split(r",\s*(?=\w+://)", value):
                with suppress(ValueError):  # not a URL that the service itself could read
                    parts = urlsplit(url)
                    if parts.hostname:
                        found.append(Place(parts.hostname, parts.port or _PORTS.get(parts.scheme)))
    return found


def _entries(value: str) -> list[str]:
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        return None


def _networks(entries: Sequence[str]) -> list[Network]:
    return [network for entry in entries if (network := _network(entry))]


def _place(entry: str) -> Place | None:
    parts = _PLACE.fullmatch(entry)
    if parts is None or (parts[3] and int(parts[3]) >= 1 << 16):
        return None
    return Place(parts[1] or parts[2], int(parts[3]) if parts[3] else None)


def _bare(host: str) -> Address:
    """Return a resolver's address, without the interface it may name."""
    return ipaddress.ip_address(host.partition("%")[0])


def _literal(host: str) -> set[Address]:
    with suppress(ValueError):
        return {_carried(address := _bare(host)) or address}
    return set()


def _in(networks: Sequence[Network], *addresses: Address) -> bool:
    return any(address in network for network in networks for address in addresses)


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address to which a packet for this IPv6 address may be handed on, if there is one."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return None
    if any(address in network for network in _CARRYING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.teredo[1] if address.teredo else address.sixtofour


def _is_public(address: Address) -> bool:
    """Tell whether the address is one of the public Internet's; of IPv6 only 2000::/3 was ever given out."""
    if isinstance(address, IPv6Address) and (address.is_reserved or address.is_site_local):
        return False
    return address.is_global


def _is_here(address: Address) -> bool:
    """Tell whether this machine has the address: then, and only then, one can listen on it."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family) as one:
            one.bind((str(address), 0))
    except OSError:
        return False
    return True
