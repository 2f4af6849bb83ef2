"""Which client sent a request, also where a proxy that we know stands before us."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from aiohttp import hdrs, web

Network = IPv4Network | IPv6Network
Who = Callable[[web.Request], str | None]
"""Tells the address that a request came from; None if the connection is gone."""


def networks(value: str) -> list[Network]:
    """Read networks and addresses, separated by commas.

    Raises:
        ValueError: One of them is neither.
    """
    return [ip_network(entry.strip()) for entry in value.split(",") if entry.strip()]


def client_of(request: web.Request, proxies: Sequence[Network]) -> str | None:
    """Return the address that a request came from; None if the connection is gone.

    A proxy of ours writes last into X-Forwarded-For from whom it took the request. All that stands before, whoever it
    took it from may have made up; so do all who are no proxy of ours.
    """
    client = request.remote
    if not proxies or client is None or not _within(client, proxies):
        return client
    hops = [hop.strip() for value in request.headers.getall(hdrs.X_FORWARDED_FOR, ()) for hop in value.split(",")]
    while hops and _within(client, proxies):
        try:
            client = str(ip_address(hops.pop()))
        except ValueError:  # not an address: what the proxy knows of it can't be told
            break
    return client


def _within(address: str, proxies: Sequence[Network]) -> bool:
    ip = ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in proxies)
