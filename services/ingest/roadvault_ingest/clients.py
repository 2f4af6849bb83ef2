"""Which client sent a request, also where a proxy that we know stands before us."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from aiohttp import hdrs, web

Network = IPv4Network | IPv6Network


def networks(value: str) -> list[Network]:
    """Read networks and addresses, separated by commas.

    Raises:
        ValueError: One of them is neither.
    """
    return [ip_network(entry.strip()) for entry in value.split(",") if entry.strip()]


def client_of(request: web.Request, proxies: Sequence[Network]) -> str:
    """Return the address that a request came from; "" if the connection is gone.

    A proxy of ours writes last into X-Forwarded-For from whom it took the request. All that stands before, whoever it
    took it from may have made up; so do all who are no proxy of ours.
    """
    client = request.remote or ""
    if not proxies or not client or not _within(client, proxies):
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
