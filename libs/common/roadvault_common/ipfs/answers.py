"""Answers over HTTP, which are read as far as they may be long, and not unpacked: Kubo's, and those of gateways."""

import aiohttp

from roadvault_common.errors import IpfsUnavailable

UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What aiohttp raises when no connection comes about."""
PLAIN = {"Accept-Encoding": "identity"}
"""What is asked for with each request: a compressed answer may be any size once it is unpacked, and is refused."""


def see_plain(response: aiohttp.ClientResponse) -> None:
    """See that an answer did not come compressed.

    Raises:
        IpfsUnavailable: It did.
    """
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise IpfsUnavailable(f"an answer came compressed ({coding[:20]}), which was not asked for")


async def read_body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body of an answer, at most so many bytes long; nothing more than that is read.

    Raises:
        IpfsUnavailable: It is longer, or compressed.
    """
    see_plain(response)
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            raise IpfsUnavailable(f"an answer is longer than the {most} bytes that there can be")
        pieces.append(piece)
    return b"".join(pieces)
