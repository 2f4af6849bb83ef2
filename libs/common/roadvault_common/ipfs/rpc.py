"""Kubo's HTTP RPC API, as far as RoadVault needs it (https://docs.ipfs.tech/reference/kubo/rpc/)."""

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp.http import HttpProcessingError

from roadvault_common.errors import (
    IpfsAway,
    IpfsDiskFull,
    IpfsUnavailable,
    NoProvider,
    brief,
)
from roadvault_common.ipfs.answers import UNREACHABLE, refused, see_plain, see_token
from roadvault_common.ipfs.calling import Rpc

CHUNK_BYTES = 1 << 20
"""Size of a leaf of the DAG: 1 MiB, the largest block that every IPFS node takes."""
_NOT_PINNED = "not pinned"
PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
"""For what somebody else watches."""
_CHECK_BYTES = 1 << 16
"""Of the block: more than a disk without room has left in the places that it keeps for small files."""
_NEVER_PINNED = "bafkqaaa"
"""The empty file, which is its own CID: no node stores it."""
GC_SECONDS = 3600
"""What a garbage collection may take: it waits for all adds under way, and walks all pins."""


@dataclass(frozen=True)
class New:
    """A file to add: what it is called in its directory, what is in it, and where it lies, if that is referred to."""

    name: str
    content: AsyncIterable[bytes] | bytes
    path: Path | None


@dataclass(frozen=True)
class Disk:
    """The disk of a node's repository, in bytes: what is free, and what of that is there for the node."""

    free: int
    available: int


class Ipfs(Rpc):
    """A client of one Kubo node. Use `Ipfs.open`."""

    async def add(self, content: AsyncIterable[bytes], path: Path | None) -> str:
        """Add and pin a file; return its CID (version 1).

        With `path` the node's filestore refers to the file there instead of copying it: `path` must be what `content`
        is read from, under the parent of the node's IPFS_PATH.

        Raises:
            IpfsUnavailable: The node is away or refused; `add` may be repeated, the same bytes give the same CID.
            IpfsDiskFull: Its disk is full.
        """
        return await self._add([New("archive", content, path)], wrap=False)

    async def add_directory(self, files: Sequence[New]) -> str:
        """Add and pin a directory of files, each as by `add`; return its CID. All of them have a path, or none has.

        Raises:
            IpfsUnavailable, IpfsDiskFull: As for `add`.
        """
        return await self._add(files, wrap=True)

    async def _add(self, files: Sequence[New], *, wrap: bool) -> str:
        parameters = {
            "cid-version": "1",
            "raw-leaves": "true",
            "chunker": f"size-{CHUNK_BYTES}",
            "pin": "true",
            "quieter": "true",
            "nocopy": "false" if files[0].path is None else "true",
            "wrap-with-directory": "true" if wrap else "false",
        }
        with aiohttp.MultipartWriter("form-data") as form:
            for file in files:
                headers = {} if file.path is None else {"Abspath": quote(str(file.path))}
                part = form.append(file.content, {"Content-Type": "application/octet-stream", **headers})
                part.set_content_disposition("form-data", name="file", filename=file.name)
        # The node is silent while it takes the body: the body's own progress is what the caller's lease watches.
        answer = await self.call("add", parameters, form, PATIENT)
        lines = [orjson.loads(line) for line in answer.splitlines() if line.strip()]
        # What goes wrong after its first line it tells in a trailer, which aiohttp drops; a directory has no name.
        if not lines or "Hash" not in lines[-1] or (wrap and lines[-1].get("Name")):
            raise IpfsUnavailable(f"Kubo's add ended without a CID: {answer[-200:]!r}")
        return str(lines[-1]["Hash"])

    async def dag_size(self, cid: str) -> int:
        """Return `cumulativeSize` of a CID in bytes: all its blocks together."""
        answer = orjson.loads(await self.call("files/stat", {"arg": f"/ipfs/{cid}"}))
        return int(answer["CumulativeSize"])

    async def fetch_and_pin(self, cid: str, progress: Callable[[], None]) -> None:
        """Bring a CID's blocks from the network and pin them; `progress` is called as blocks arrive.

        Raises:
            IpfsUnavailable: The node is away.
            NoProvider: No block came for as long as the node may be silent.
        """
        parameters = {"arg": cid, "progress": "true"}
        seen, pinned = 0, False
        try:
            async with (
                asyncio.timeout(self._stall_seconds) as stall,
                self._session.post("pin/add", params=parameters, timeout=PATIENT) as response,
            ):
                see_token(response)
                # The node reports every half second; what counts is that its number of blocks grows.
                async for line in response.content:
                    report = orjson.loads(line)
                    if "Message" in report:
                        raise refused("pin/add", report["Message"])
                    pinned = pinned or bool(report.get("Pins"))
                    if report.get("Progress", 0) > seen:
                        seen = report["Progress"]
                        progress()
                        stall.reschedule(asyncio.get_running_loop().time() + self._stall_seconds)
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except TimeoutError as error:
            raise NoProvider(f"nothing more of {cid} came from the network after {seen} blocks") from error
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, TypeError) as error:
            raise IpfsUnavailable(f"Kubo's pin/add broke off: {brief(error)}") from error
        if not pinned:
            raise IpfsUnavailable(f"Kubo's pin/add ended without a pin after {seen} blocks")

    async def unpin(self, cid: str) -> None:
        """Unpin a CID; one that is not pinned is fine."""
        await self.call_unless(_NOT_PINNED, "pin/rm", {"arg": cid})

    async def has_pinned(self, cid: str) -> bool:
        """Tell whether a CID is pinned, with all that is below it."""
        return await self.call_unless(_NOT_PINNED, "pin/ls", {"arg": cid, "type": "recursive"}) is not None

    async def pins(self) -> AsyncIterator[str]:
        """Yield the CIDs of all that is pinned with all that is below it.

        Raises:
            IpfsUnavailable: The node is away, or breaks off.
        """
        try:
            async with self._session.post("pin/ls", params={"type": "recursive", "stream": "true"}) as response:
                see_token(response)
                see_plain(response)
                async for line in response.content:
                    pin = orjson.loads(line)
                    if "Cid" not in pin:
                        raise refused("pin/ls", str(pin.get("Message", line[:200])))
                    yield str(pin["Cid"])
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError, TypeError) as error:
            raise IpfsUnavailable(f"Kubo's pin/ls broke off: {brief(error)}") from error

    async def collect_garbage(self) -> None:
        """Remove all that is not pinned from the node's store; takes a while, and holds up adds."""
        limits = aiohttp.ClientTimeout(total=GC_SECONDS, sock_connect=5)
        await self.call("repo/gc", {"silent": "true", "stream-errors": "false"}, limits=limits)

    async def disk(self) -> Disk:
        """Return how much room there is on the disk of the node's repository.

        Raises:
            IpfsUnavailable: The node is away, or does not tell.
        """
        answer = await self.call("diag/sys", {}, limits=self.soon)
        try:
            told = orjson.loads(answer)["diskinfo"]
            # Kubo's total_space is what the file system calls available, that is less than free_space.
            return Disk(int(told["free_space"]), min(int(told["free_space"]), int(told["total_space"])))
        except (ValueError, KeyError, TypeError):
            raise IpfsUnavailable(f"Kubo's diag/sys tells nothing of its disk: {answer[:200]!r}") from None

    async def repository_bytes(self) -> int:
        """Return how large the node's repository is, which it keeps count of.

        Raises:
            IpfsUnavailable: The node is away, or does not tell.
        """
        told = await self.ask("repo/stat", {"size-only": "true"})
        try:
            return int(told["RepoSize"])
        except (KeyError, ValueError, TypeError):
            raise IpfsUnavailable(f"Kubo's repo/stat tells no size: {str(told)[:200]}") from None

    async def ping(self) -> None:
        """Raise IpfsUnavailable unless the node answers."""
        await self.call("version", {}, limits=self.soon)

    async def check(self, *, stores: bool = True) -> None:
        """Have the node store a block, which takes its process and its disk, and none of its locks.

        Unless it `stores`, it is asked what room it has instead, which leaves nothing behind.

        The block has to be a new one, since a node does not write what it has, and stays until the next garbage
        collection: only that, and block/rm, which waits like it for all adds to end and holds up those that come,
        remove any.

        Raises:
            IpfsAway: It can't: whatever went wrong before, went wrong for everybody.
            IpfsDiskFull: It can't because its disk is full; what makes room there needs no new block.
        """
        try:
            await self.ping()  # a refused token is told from a body that nobody takes
            await (self._store_block() if stores else self._see_room())
        except IpfsDiskFull:
            raise
        except IpfsUnavailable as error:
            raise IpfsAway(f"Kubo can't store a block: {brief(error)}") from error

    async def _store_block(self) -> None:
        with aiohttp.MultipartWriter("form-data") as form:
            form.append(secrets.token_bytes(_CHECK_BYTES)).set_content_disposition("form-data", name="data")
        await self.call("block/put", {"pin": "false"}, form, self.soon)

    async def _see_room(self) -> None:
        available = (await self.disk()).available
        if available < _CHECK_BYTES:
            raise IpfsDiskFull(f"{available} bytes are free on Kubo's disk")

    async def check_pinning(self) -> None:
        """Check the node, and that it adds, pins and unpins now: a garbage collection holds all of these up.

        What is asked for shares the lock that they share, and so holds nobody up.

        Raises:
            IpfsAway: It can't, or doesn't.
        """
        await self.check()
        try:
            await self.call_unless(_NOT_PINNED, "pin/rm", {"arg": _NEVER_PINNED}, limits=self.soon)
        except IpfsUnavailable as error:
            raise IpfsAway(f"Kubo pins nothing now, perhaps it collects garbage: {brief(error)}") from error
