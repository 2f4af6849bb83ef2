"""Reads a byte range of a CID through a Kubo node's gateway, moving little more than the range over the network.

A plain ranged GET is fastest for long ranges, but reads far ahead: for 1 MB some 10 MB cross the network. Short ranges
are asked for as a CAR with `entity-bytes`, which holds just the blocks that the range touches. So is the end of a long
range: the GET stops where what the gateway has read ahead by then is still wanted, and the end comes beside it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aiohttp

from roadvault_common.car import RAW, read_blocks
from roadvault_common.errors import IpfsAway, IpfsUnavailable, brief
from roadvault_common.ipfs import CHUNK_BYTES, UNREACHABLE, Ipfs
from roadvault_common.urls import without_secrets

CAR_MOST_BYTES = 32 << 20
"""Ranges up to this length are read as a CAR. Measured between two nodes on one machine: a ranged GET moves up to 8 MB
more than the range, whatever its length, at twice the speed of a CAR, which moves at most 2 MiB more."""
_PRELOAD_BLOCKS = 10
"""The gateway asks for so many blocks at a time, for the next when half are left (navipld.go of go-ipld-format)."""
_READ_BYTES = 1 << 20
_OK, _PARTIAL, _SERVER_ERROR = 200, 206, 500
_CHECK_SECONDS = 10.0
_NOTHING = "bafkqaaa"
"""The CID of no bytes, which is all in its name: gateways give it without looking for anything."""


class Gateway:
    """A client of one gateway. Use `Gateway.open`."""

    def __init__(self, session: aiohttp.ClientSession, stall_seconds: float, node: Ipfs | None) -> None:
        self._session = session
        self._stall_seconds = stall_seconds
        self._node = node

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, stall_seconds: float, *, only_cached: bool = False, node: Ipfs | None = None
    ) -> AsyncIterator["Gateway"]:
        """Make a client; a read without a byte for `stall_seconds` is given up.

        With `only_cached` the gateway gives only what its own node holds. `node` is that node, if we may ask it.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=stall_seconds)
        headers = {"Cache-Control": "only-if-cached"} if only_cached else {}
        async with aiohttp.ClientSession(url.rstrip("/") + "/", timeout=timeout, headers=headers) as session:
            yield cls(session, stall_seconds, node)

    async def read(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield `size` bytes of the file `cid` from byte `offset` on.

        Raises:
            IpfsUnavailable: The gateway is away, stalls, answers with an error, or ends early.
        """
        if size == 0:
            return
        pieces = self._from_car(cid, offset, size) if size <= CAR_MOST_BYTES else self._long(cid, offset, size)
        left = size
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    left -= len(piece)
                    yield piece
        except UNREACHABLE as error:
            raise IpfsAway(f"the gateway can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsUnavailable(f"reading {cid} from the gateway broke off: {brief(error)}") from error
        if left:
            raise IpfsUnavailable(f"the gateway gave {size - left} of the {size} bytes asked for of {cid}")

    async def check(self) -> None:
        """Ask for what every gateway has; and have its node store a block, without which it can fetch none.

        Raises:
            IpfsAway: It can't: whatever went wrong before, went wrong for everybody.
        """
        limits = aiohttp.ClientTimeout(total=min(_CHECK_SECONDS, self._stall_seconds))
        try:
            async with self._session.get(f"ipfs/{_NOTHING}", params={"format": "raw"}, timeout=limits) as response:
                if response.status >= _SERVER_ERROR:
                    raise IpfsAway(f"the gateway answers {response.status} even for an empty file")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsAway(f"the gateway does not answer: {brief(error)}") from error
        if self._node is not None:
            await self._node.check()

    async def _long(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        first, last = offset // CHUNK_BYTES, (offset + size - 1) // CHUNK_BYTES
        blocks = (last - first + 1) // _PRELOAD_BLOCKS * _PRELOAD_BLOCKS - _PRELOAD_BLOCKS // 2
        length = (first + blocks) * CHUNK_BYTES - offset
        end = self._from_car(cid, offset + length, size - length)
        async with aclosing(end), aclosing(self._ranged(cid, offset, length)) as most:
            begun = asyncio.ensure_future(anext(end, b""))  # meanwhile, as far as the sockets hold it
            try:
                async for piece in most:
                    yield piece
                yield await begun
            finally:
                begun.cancel()
                await asyncio.gather(begun, return_exceptions=True)
            async for piece in end:
                yield piece

    async def _ranged(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        headers = {"Range": f"bytes={offset}-{offset + size - 1}"}
        async with self._session.get(f"ipfs/{cid}", headers=headers) as response:
            await _expect(response, _PARTIAL, cid)
            async for piece in response.content.iter_chunked(_READ_BYTES):
                yield piece

    async def _from_car(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        end = offset + size
        parameters = {"format": "car", "dag-scope": "entity", "entity-bytes": f"{offset}:{end - 1}"}
        headers = {"Accept": "application/vnd.ipld.car; version=1; order=dfs; dups=y"}
        async with self._session.get(f"ipfs/{cid}", params=parameters, headers=headers) as response:
            await _expect(response, _OK, cid)
            # Leaves come in the file's order, each CHUNK_BYTES long but the last: the first is the one with `offset`.
            position = offset - offset % CHUNK_BYTES
            async for block in read_blocks(response.content.iter_any()):
                if block.codec != RAW:
                    continue
                begin = max(offset - position, 0)
                piece = block.data[begin : end - position]
                position += len(block.data)
                if piece:
                    yield piece


async def _expect(response: aiohttp.ClientResponse, status: int, cid: str) -> None:
    if response.status != status:
        text = (await response.content.read(300)).decode(errors="replace").strip()
        base = str(response.url).partition("/ipfs/")[0]
        raise IpfsUnavailable(f"the gateway answers {response.status} for {cid}: {without_secrets(text, base)}")
