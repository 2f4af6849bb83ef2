"""Answers over HTTP, which are read as far as they may be long, and not unpacked: Kubo's, and those of gateways."""

import aiohttp
import orjson

from roadvault_common.errors import IpfsAway, IpfsDiskFull, IpfsUnavailable

UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What aiohttp raises when no connection comes about."""
PLAIN = {"Accept-Encoding": "identity"}
"""What is asked for with each request: a compressed answer may be any size once it is unpacked, and is refused."""
_IDLE_SECONDS = 15.0
_NO_SPACE = "no space left on device"
_REFUSED = frozenset({401, 403})


def connector(stall_seconds: float) -> aiohttp.TCPConnector:
    """Return what keeps connections to be used again, for less time than an answer may stall.

    Of an answer that came faster than it was taken, aiohttp (3.14) leaves the stall's timer behind on its connection:
    as it runs out, the connection fails whoever has it next.
    """
    return aiohttp.TCPConnector(keepalive_timeout=min(_IDLE_SECONDS, stall_seconds / 2))


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


def see_token(response: aiohttp.ClientResponse) -> None:
    """Raise IpfsAway unless the node takes our token: one wrong setting must not fail every archive."""
    if response.status in _REFUSED:
        raise IpfsAway(
            f"Kubo refuses the token ({response.status}): see ROADVAULT_IPFS_RPC_TOKEN, or that of the witness,"
            " ROADVAULT_WITNESS_RPC_TOKEN"
        )


def refused(command: str, message: str) -> IpfsUnavailable:
    """Return what it means that the node does not do something."""
    kind = IpfsDiskFull if _NO_SPACE in message else IpfsUnavailable
    return kind(f"Kubo's {command}: {message}")


def said(answer: bytes, status: int) -> str:
    """Return what the node says instead of doing something."""
    try:
        return str(orjson.loads(answer)["Message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {status} {answer[:200]!r}"
