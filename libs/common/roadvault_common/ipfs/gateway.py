"""A client of an IPFS gateway over HTTP: blocks by their names, and CARs of what a range of a file touches.

A gateway is not trusted. Whatever it sends, no more is read than was asked for, nothing is unpacked, and each block is
checked against its CID. `reading` makes bytes of files from what comes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
from yarl import URL

from roadvault_common.errors import IpfsAway, IpfsRotten, IpfsUnavailable, NoProvider, brief
from roadvault_common.ipfs import own_blocks, peering
from roadvault_common.ipfs.answers import PLAIN, UNREACHABLE, connector, read_body, see_plain
from roadvault_common.ipfs.car import Car
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.path import Path
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.urls import without_secrets

_OK, _NOT_HELD, _TOO_MANY, _SERVER_ERROR, _NOT_FOUND = 200, 412, 429, 500, 504
"""Of them, Kubo's for what nobody gives: not in its own store (only-if-cached), or from no provider within 30 s."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHECK_SECONDS = 10.0
_BUFFER_BYTES = 256 << 10
"""What a connection may hold of an answer before it is read; twice as much, at worst."""
_ROTTEN = "data in file did not match", "no such file or directory", "input/output error"
"""What Kubo says of a file in its filestore that has changed, or is gone (boxo's filestore/fsrefstore.go), and of any
block that its disk does not give out."""
_NOTHING = "bafkqaaa"
"""The CID of no bytes, which is all in its name: gateways give it without looking for anything."""


class BrokeOff(IpfsUnavailable):
    """The gateway broke off, or has no answer now: the rest may be asked for again at once."""


class Silent(BrokeOff, NoProvider):
    """Nothing more came: if that stays so, nobody on the network has it."""


class Gateway:
    """A client of one gateway. Use `Gateway.open`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, stall_seconds: float, node: Ipfs | None, *, only_cached: bool
    ) -> None:
        self._session = session
        self._url = url
        self._node = node
        self.stall_seconds = stall_seconds
        self.only_cached = only_cached

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, stall_seconds: float, *, only_cached: bool = False, node: Ipfs | None = None
    ) -> AsyncIterator["Gateway"]:
        """Make a client; an answer of which nothing came for `stall_seconds`, while we were reading, is given up.

        With `only_cached` the gateway gives only blocks that its own node holds. `node` is that node, if we may ask it.
        """
        base = URL(url.rstrip("/") + "/")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=stall_seconds)
        headers = {**PLAIN, "Cache-Control": "only-if-cached"} if only_cached else PLAIN
        async with aiohttp.ClientSession(
            base,
            connector=connector(stall_seconds),
            timeout=timeout,
            headers=headers,
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
        ) as session:
            yield cls(session, base, stall_seconds, node, only_cached=only_cached)

    @property
    def host(self) -> str | None:
        """The host that is asked."""
        return self._url.host

    async def check(self, *, stores: bool = True) -> None:
        """Ask for what every gateway has; and have its node store a block, without which it can fetch none.

        Unless it `stores`, its node is only asked.

        Raises:
            IpfsAway: It can't: whatever went wrong before, went wrong for everybody.
        """
        limits = aiohttp.ClientTimeout(total=min(_CHECK_SECONDS, self.stall_seconds))
        try:
            async with self._session.get(
                f"ipfs/{_NOTHING}", params={"format": "raw"}, timeout=limits, allow_redirects=False
            ) as response:
                if response.status >= _SERVER_ERROR:
                    raise IpfsAway(f"the gateway answers {response.status} even for an empty file")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsAway(f"the gateway does not answer: {brief(error)}") from error
        if self._node is not None:
            await self._node.check(stores=stores)

    async def check_peers(self) -> None:
        """See that the gateway's node has a peer, if we may ask it.

        Raises:
            NetworkAway: It has none.
            IpfsUnavailable: The node can't be asked.
        """
        if self._node is not None:
            await peering.check_peers(self._node)

    async def meet(self, root: Cid) -> None:
        """Have the gateway's node connect to those who announce a root, if we may ask it."""
        if self._node is not None:
            with suppress(IpfsUnavailable):
                await peering.meet_providers(self._node, str(root))

    async def see_sound(self, cid: Cid) -> None:
        """See that the gateway's node, if we may ask it, has not kept a block that has rotted; it need not have it.

        Raises:
            IpfsRotten: It has.
        """
        if self._node is None:
            return
        try:
            await own_blocks.held(self._node, str(cid))
        except IpfsRotten:
            raise
        except IpfsUnavailable:
            pass  # who asked for the block says so, too

    async def block(self, cid: Cid, most: int) -> bytes:
        """Return the block of a CID, which is at most so many bytes long.

        Raises:
            BrokeOff: It ends early, stalls, or the gateway answers with an error that may pass.
            IpfsAway: There is no connection to the gateway.
            IpfsRotten: What its node has of the block is not the block any more.
            IpfsUnavailable: The gateway refuses, or gives something else.
        """
        async with self._get(cid, {"format": "raw"}, {}) as response:
            data = await read_body(response, most)
        if not await asyncio.to_thread(cid.fits, data):
            raise IpfsRotten(f"the gateway gave a block that is not what its CID {cid} says")
        return data

    @asynccontextmanager
    async def car(self, path: Path, begin: int, end: int) -> AsyncIterator[Car]:
        """Ask for the blocks that the bytes from `begin` up to `end` of a file touch, and all nodes above them.

        It has to be read to its end at once: Kubo gives up an answer of which it could write nothing for 30 s
        (boxo's Gateway.RetrievalTimeout).

        Raises:
            BrokeOff, IpfsAway, IpfsUnavailable: As `block` does; also while it is read.
        """
        parameters = {"format": "car", "dag-scope": "entity", "entity-bytes": f"{begin}:{end - 1}"}
        headers = {"Accept": "application/vnd.ipld.car; version=1; order=dfs; dups=y"}
        async with self._get(path, parameters, headers) as response:
            yield Car(response.content)
            await response.content.read(1)  # the end, if it is there: then the connection is used again, else closed

    @asynccontextmanager
    async def _get(
        self, what: Cid | Path, parameters: dict[str, str], headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for something; what answers is the gateway itself, or the host below its own that some have for a CID."""
        try:
            async with AsyncExitStack() as stack:
                url = self._url.joinpath("ipfs", *str(what).split("/"))
                get = self._session.get(url, params=parameters, headers=headers, allow_redirects=False)
                response = await stack.enter_async_context(get)
                below = self._below(response)
                if below is not None:
                    get = self._session.get(below, headers=headers, allow_redirects=False)
                    response = await stack.enter_async_context(get)
                await _expect_ok(response, what)
                yield response
        except UNREACHABLE as error:
            raise IpfsAway(f"the gateway can't be reached: {brief(error)}") from error
        except (aiohttp.ClientPayloadError, TimeoutError, EOFError) as error:
            raise Silent(f"no more of {what} comes from the gateway: {brief(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BrokeOff(f"reading {what} from the gateway broke off: {brief(error)}") from error

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


def _kind(status: int, text: str) -> type[IpfsUnavailable]:
    if any(words in text for words in _ROTTEN):
        return IpfsRotten
    if status == _NOT_HELD:
        return NoProvider
    if status == _NOT_FOUND:
        return Silent
    return BrokeOff if status >= _SERVER_ERROR or status == _TOO_MANY else IpfsUnavailable


async def _expect_ok(response: aiohttp.ClientResponse, what: Cid | Path) -> None:
    if response.status != _OK:
        text = (await response.content.read(300)).decode(errors="replace").strip()
        base = str(response.url).partition("/ipfs/")[0]
        raise _kind(response.status, text)(
            f"the gateway answers {response.status} for {what}: {without_secrets(text, base)}"
        )
    see_plain(response)
