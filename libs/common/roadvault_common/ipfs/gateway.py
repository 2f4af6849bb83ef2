"""Reads a byte range of a CID through a Kubo node's gateway, moving little more than the range over the network.

A plain ranged GET is fastest for long ranges, but reads far ahead: for 1 MB some 10 MB cross the network. Short ranges
are asked for as a CAR with `entity-bytes`, which holds just the blocks that the range touches. So is the end of a long
range: the GET stops where what the gateway has read ahead by then is still wanted, and the end comes beside it.

With `only_cached`, each block is asked for by its own name: of anything longer a gateway looks whether its node has the
root, and fetches the rest from anybody, us included (boxo's `IsCached`).

A gateway is not trusted. Whatever it sends, no more is read than can have been asked for, and nothing is unpacked.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import aiohttp
from yarl import URL

from roadvault_common.errors import IpfsAway, IpfsUnavailable, NoProvider, brief
from roadvault_common.ipfs import dag
from roadvault_common.ipfs.car import read_blocks
from roadvault_common.ipfs.rpc import CHUNK_BYTES, PLAIN, UNREACHABLE, Ipfs, read_body
from roadvault_common.urls import without_secrets

CAR_MOST_BYTES = 32 << 20
"""Ranges up to this length are read as a CAR. Measured between two nodes on one machine: a ranged GET moves up to 8 MB
more than the range, whatever its length, at twice the speed of a CAR, which moves at most 2 MiB more."""
_CAR_INNER_BYTES = 1 << 20
"""What a CAR has besides leaves: a header, and for a range two inner nodes of 9 KB on each level, or one more."""
_CAR_SECTION_BYTES = 128
"""What comes before the bytes of a leaf: a length and a CID."""
_PRELOAD_BLOCKS = 10
"""The gateway asks for so many blocks at a time, for the next when half are left (navipld.go of go-ipld-format)."""
_BLOCKS_AT_ONCE = 4
"""Blocks by name that are under way at a time."""
_READ_BYTES = 1 << 20
_NOT_FOUND = frozenset({412, 504})
"""Kubo's statuses for what nobody gives: not in its own store (only-if-cached), or from no provider within 30 s."""
_OK, _PARTIAL, _SERVER_ERROR = 200, 206, 500
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHECK_SECONDS = 10.0
_NOTHING = "bafkqaaa"
"""The CID of no bytes, which is all in its name: gateways give it without looking for anything."""


class Gateway:
    """A client of one gateway. Use `Gateway.open`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, stall_seconds: float, node: Ipfs | None, *, only_cached: bool
    ) -> None:
        self._session = session
        self._url = url
        self._stall_seconds = stall_seconds
        self._node = node
        self._only_cached = only_cached

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, stall_seconds: float, *, only_cached: bool = False, node: Ipfs | None = None
    ) -> AsyncIterator["Gateway"]:
        """Make a client; a read without a byte for `stall_seconds` is given up.

        With `only_cached` the gateway gives only what its own node holds. `node` is that node, if we may ask it.
        """
        base = URL(url.rstrip("/") + "/")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=stall_seconds)
        headers = {**PLAIN, "Cache-Control": "only-if-cached"} if only_cached else PLAIN
        async with aiohttp.ClientSession(base, timeout=timeout, headers=headers, auto_decompress=False) as session:
            yield cls(session, base, stall_seconds, node, only_cached=only_cached)

    @property
    def way(self) -> str:
        """How bytes come, and from which host: what a proof is noted with."""
        how = "each block by name, of those it holds" if self._only_cached else "ranges, which it may fetch anywhere"
        return f"gateway {self._url.host}: {how}"

    async def read(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield `size` bytes of the file `cid` from byte `offset` on.

        Raises:
            IpfsUnavailable: The gateway is away, answers with an error, ends early, or does not end there.
            NoProvider: It says that nobody has it, or it stalls.
        """
        if size == 0:
            return
        try:
            async with aclosing(_exactly(self._pieces(cid, offset, size), size, cid)) as pieces:
                async for piece in pieces:
                    yield piece
        except UNREACHABLE as error:
            raise IpfsAway(f"the gateway can't be reached: {brief(error)}") from error
        except (aiohttp.ClientPayloadError, TimeoutError) as error:
            raise NoProvider(f"no more of {cid} comes from the gateway: {brief(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise IpfsUnavailable(f"reading {cid} from the gateway broke off: {brief(error)}") from error

    def _pieces(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        if self._only_cached:
            return self._by_name(cid, offset, size)
        return self._from_car(cid, offset, size) if size <= CAR_MOST_BYTES else self._long(cid, offset, size)

    async def check(self) -> None:
        """Ask for what every gateway has; and have its node store a block, without which it can fetch none.

        Raises:
            IpfsAway: It can't: whatever went wrong before, went wrong for everybody.
        """
        limits = aiohttp.ClientTimeout(total=min(_CHECK_SECONDS, self._stall_seconds))
        try:
            async with self._session.get(
                f"ipfs/{_NOTHING}", params={"format": "raw"}, timeout=limits, allow_redirects=False
            ) as response:
                if response.status >= _SERVER_ERROR:
                    raise IpfsAway(f"the gateway answers {response.status} even for an empty file")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsAway(f"the gateway does not answer: {brief(error)}") from error
        if self._node is not None:
            await self._node.check()

    async def check_peers(self) -> None:
        """See that the gateway's node has a peer, if we may ask it.

        Raises:
            NetworkAway: It has none.
            IpfsUnavailable: The node can't be asked.
        """
        if self._node is not None:
            await self._node.check_peers()

    async def _by_name(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield a range from its leaves, which are found by the DAG's nodes, a few under way at a time."""
        end = offset + size
        ahead: deque[tuple[dag.Part, asyncio.Task[bytes]]] = deque()

        async def first() -> bytes:
            leaf, block = ahead.popleft()
            return (await block)[max(offset - leaf.offset, 0) : end - leaf.offset]

        try:
            async with aclosing(dag.leaves(self._block, cid, offset, end)) as leaves:
                async for leaf in leaves:
                    ahead.append((leaf, asyncio.create_task(self._block(leaf.cid, leaf.size))))
                    if len(ahead) == _BLOCKS_AT_ONCE:
                        yield await first()
            while ahead:
                yield await first()
        finally:
            for _, block in ahead:
                block.cancel()
            await asyncio.gather(*(block for _, block in ahead), return_exceptions=True)

    async def _block(self, cid: dag.Cid, most: int) -> bytes:
        """Return the block of a CID, which has at most so many bytes."""
        async with self._get(str(cid), _OK, params={"format": "raw"}) as response:
            data = await read_body(response, most)
        if not await asyncio.to_thread(cid.fits, data):
            raise IpfsUnavailable(f"the gateway gave a block that is not what its CID {cid} says")
        return data

    async def _long(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        first, last = offset // CHUNK_BYTES, (offset + size - 1) // CHUNK_BYTES
        blocks = (last - first + 1) // _PRELOAD_BLOCKS * _PRELOAD_BLOCKS - _PRELOAD_BLOCKS // 2
        length = (first + blocks) * CHUNK_BYTES - offset
        end = self._from_car(cid, offset + length, size - length)
        async with aclosing(end), aclosing(_exactly(self._ranged(cid, offset, length), length, cid)) as most:
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
        async with self._get(cid, _PARTIAL, headers=headers) as response:
            async for piece in response.content.iter_chunked(_READ_BYTES):
                yield piece

    async def _from_car(self, cid: str, offset: int, size: int) -> AsyncGenerator[bytes, None]:
        end = offset + size
        parameters = {"format": "car", "dag-scope": "entity", "entity-bytes": f"{offset}:{end - 1}"}
        headers = {"Accept": "application/vnd.ipld.car; version=1; order=dfs; dups=y"}
        # Leaves come in the file's order, each CHUNK_BYTES long but the last: the first is the one with `offset`.
        position = offset - offset % CHUNK_BYTES
        leaves = -(-(end - position) // CHUNK_BYTES)
        most = leaves * (CHUNK_BYTES + _CAR_SECTION_BYTES) + _CAR_INNER_BYTES
        async with self._get(cid, _OK, params=parameters, headers=headers) as response:
            async for block in read_blocks(response.content.iter_any(), most):
                if block.codec != dag.RAW:
                    continue
                if position >= end or not block.data:
                    raise IpfsUnavailable(f"the gateway gives more of {cid} than the {size} bytes asked for")
                piece = block.data[max(offset - position, 0) : end - position]
                position += len(block.data)
                if piece:
                    yield piece

    @asynccontextmanager
    async def _get(
        self, cid: str, status: int, *, params: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a CID; what answers is the gateway itself, or the host below its own that some have for each CID.

        Raises:
            IpfsUnavailable: It answers with another status than the one wanted, or compressed.
        """
        async with AsyncExitStack() as stack:
            url = self._url / "ipfs" / cid
            get = self._session.get(url, params=params, headers=headers, allow_redirects=False)
            response = await stack.enter_async_context(get)
            below = self._below(response)
            if below is not None:
                get = self._session.get(below, headers=headers, allow_redirects=False)
                response = await stack.enter_async_context(get)
            await _expect(response, status, cid)
            yield response

    def _below(self, response: aiohttp.ClientResponse) -> URL | None:
        """Return where an answer points, if that is the gateway's own: others, such as we, would prove nothing."""
        if response.status not in _REDIRECTS:
            return None
        try:
            target = response.url.join(URL(response.headers.get("Location", "")))
        except ValueError:
            return None
        same = (target.scheme, target.port) == (self._url.scheme, self._url.port)
        return target if same and (target.host or "").endswith(f".{self._url.host}") else None


async def _exactly(pieces: AsyncGenerator[bytes, None], size: int, cid: str) -> AsyncGenerator[bytes, None]:
    """Yield what comes, if that is `size` bytes; nothing that goes past them is yielded.

    Raises:
        IpfsUnavailable: It is less, or more.
    """
    left = size
    async with aclosing(pieces):
        async for piece in pieces:
            left -= len(piece)
            if left < 0:
                raise IpfsUnavailable(f"the gateway gives more of {cid} than the {size} bytes asked for")
            yield piece
    if left:
        raise IpfsUnavailable(f"the gateway gave {size - left} of the {size} bytes asked for of {cid}")


async def _expect(response: aiohttp.ClientResponse, status: int, cid: str) -> None:
    if response.status != status:
        text = (await response.content.read(300)).decode(errors="replace").strip()
        base = str(response.url).partition("/ipfs/")[0]
        kind = NoProvider if response.status in _NOT_FOUND else IpfsUnavailable
        raise kind(f"the gateway answers {response.status} for {cid}: {without_secrets(text, base)}")
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise IpfsUnavailable(f"the gateway answers compressed ({coding[:20]}) for {cid}")
