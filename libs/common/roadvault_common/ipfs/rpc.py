"""Kubo's HTTP RPC API, as far as RoadVault needs it (https://docs.ipfs.tech/reference/kubo/rpc/)."""

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp.http import HttpProcessingError
from pydantic import SecretStr

from roadvault_common.errors import (
    DiskFull,
    IpfsAway,
    IpfsUnavailable,
    NetworkAway,
    NoProvider,
    TransientError,
    brief,
)
from roadvault_common.ipfs.answers import PLAIN, UNREACHABLE, read_body, see_plain
from roadvault_common.ipfs.car import encode_car
from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_common.urls import without_secrets

CHUNK_BYTES = 1 << 20
"""Size of a leaf of the DAG: 1 MiB, the largest block that every IPFS node takes."""
_NOT_PINNED = "not pinned"
_NOT_HERE = "not found"
_NO_SPACE = "no space left on device"
_ANSWERED = "Kubo's block/get:"
_ANSWER_BYTES = 1 << 20
"""No answer of the RPC API that is asked for here is longer."""
_REFUSED = frozenset({401, 403})
_PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
"""For what somebody else watches."""
_CHECK_SECONDS = 10.0
"""A node that takes longer for one small block is in trouble, whatever it is asked."""
_CHECK_BYTES = 1 << 16
"""Of the block: more than a disk without room has left in the places that it keeps for small files."""
_NEVER_PINNED = "bafkqaaa"
"""The empty file, which is its own CID: no node stores it."""
_PROVIDERS, _SEARCH_SECONDS, _PROVIDER = 3, 20, 4
"""How many are looked for, and how long; and what Kubo's routing/findprovs calls an event that tells of one."""
_KEY_EXISTS = "already exists"
_IMPORT_SECONDS = 120
"""What an import may take; one that has to wait for a garbage collection is done again."""
_NAME_LIFETIME, _NAME_TTL, _NAME_SECONDS = "8760h", "1m", 300
"""How long a record of a name is valid: whoever has kept one can still use it when our node has been gone for long; how
long it may be taken for the newest; and what publishing it may take on a large network, in seconds."""
_RESOLVE_SECONDS = 60
"""What looking for an IPNS name's records may take."""
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


class Ipfs:
    """A client of one Kubo node. Use `Ipfs.open`."""

    def __init__(self, session: aiohttp.ClientSession, stall_seconds: float) -> None:
        self._session = session
        self._stall_seconds = stall_seconds
        self._soon = aiohttp.ClientTimeout(total=min(_CHECK_SECONDS, stall_seconds))

    @classmethod
    @asynccontextmanager
    async def open(cls, rpc_url: str, stall_seconds: float, token: SecretStr | None = None) -> AsyncIterator["Ipfs"]:
        """Make a client; `stall_seconds` is how long the node may be silent, `token` what it asks for."""
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=stall_seconds)
        base = rpc_url.rstrip("/") + "/api/v0/"
        async with aiohttp.ClientSession(
            base, timeout=timeout, headers={**PLAIN, **headers}, auto_decompress=False
        ) as session:
            yield cls(session, stall_seconds)

    async def add(self, content: AsyncIterable[bytes], path: Path | None) -> str:
        """Add and pin a file; return its CID (version 1).

        With `path` the node's filestore refers to the file there instead of copying it: `path` must be what `content`
        is read from, under the parent of the node's IPFS_PATH.

        Raises:
            IpfsUnavailable: The node is away or refused; `add` may be repeated, the same bytes give the same CID.
            DiskFull: Its disk is.
        """
        return await self._add([New("archive", content, path)], wrap=False)

    async def add_directory(self, files: Sequence[New]) -> str:
        """Add and pin a directory of files, each as by `add`; return its CID. All of them have a path, or none has.

        Raises:
            IpfsUnavailable, DiskFull: As for `add`.
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
        answer = await self._call("add", parameters, form, _PATIENT)
        lines = [orjson.loads(line) for line in answer.splitlines() if line.strip()]
        if not lines or "Hash" not in lines[-1]:
            raise IpfsUnavailable(f"Kubo's add ended without a CID: {answer[:200]!r}")
        return str(lines[-1]["Hash"])

    async def import_blocks(self, blocks: Sequence[tuple[Cid, bytes]], *, pin: bool) -> None:
        """Store blocks; pin the first, with all that is below it, if that is wanted.

        What is below it and not among the blocks has to be in the node's store. A garbage collection comes before the
        import, or after the pin.

        Raises:
            IpfsUnavailable: The node is away or refused, or lacks some of what is below the root.
            DiskFull: Its disk is.
        """
        # What is missing would be looked for on the network, for ever.
        parameters = {"pin-roots": "true" if pin else "false", "timeout": f"{_IMPORT_SECONDS}s"}
        answer = await self._call("dag/import", parameters, _part(encode_car(blocks)), _PATIENT)
        for line in map(orjson.loads, answer.splitlines()):
            trouble = (line.get("Root") or {}).get("PinErrorMsg")
            if trouble:
                raise IpfsUnavailable(f"Kubo's dag/import: {trouble}")

    async def publish_name(self, key_name: str, key: bytes, cid: str) -> str:
        """Publish a CID under the IPNS name of a private key (libp2p's protobuf), which the node keeps; return it.

        A node without peers publishes when it has some: it does so again and again by itself.

        Raises:
            IpfsUnavailable: The node is away or refused.
        """
        imported = {"arg": key_name, "format": "libp2p-protobuf-cleartext"}
        await self._call_unless(_KEY_EXISTS, "key/import", imported, body=_part(key))
        parameters = {
            "arg": f"/ipfs/{cid}", "key": key_name, "lifetime": _NAME_LIFETIME, "ttl": _NAME_TTL,
            "allow-offline": "true", "resolve": "false", "ipns-base": "base36",
        }  # fmt: skip
        limits = aiohttp.ClientTimeout(total=_NAME_SECONDS, sock_connect=5)
        return str(orjson.loads(await self._call("name/publish", parameters, limits=limits))["Name"])

    async def dag_size(self, cid: str) -> int:
        """Return `cumulativeSize` of a CID in bytes: all its blocks together."""
        answer = orjson.loads(await self._call("files/stat", {"arg": f"/ipfs/{cid}"}))
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
                self._session.post("pin/add", params=parameters, timeout=_PATIENT) as response,
            ):
                _see_token(response)
                # The node reports every half second; what counts is that its number of blocks grows.
                async for line in response.content:
                    report = orjson.loads(line)
                    if "Message" in report:
                        raise _refused("pin/add", report["Message"])
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
        await self._call_unless(_NOT_PINNED, "pin/rm", {"arg": cid})

    async def has_pinned(self, cid: str) -> bool:
        """Tell whether a CID is pinned, with all that is below it."""
        return await self._call_unless(_NOT_PINNED, "pin/ls", {"arg": cid, "type": "recursive"}) is not None

    async def pins(self) -> AsyncIterator[str]:
        """Yield the CIDs of all that is pinned with all that is below it.

        Raises:
            IpfsUnavailable: The node is away, or breaks off.
        """
        try:
            async with self._session.post("pin/ls", params={"type": "recursive", "stream": "true"}) as response:
                _see_token(response)
                see_plain(response)
                async for line in response.content:
                    pin = orjson.loads(line)
                    if "Cid" not in pin:
                        raise _refused("pin/ls", str(pin.get("Message", line[:200])))
                    yield str(pin["Cid"])
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError, TypeError) as error:
            raise IpfsUnavailable(f"Kubo's pin/ls broke off: {brief(error)}") from error

    async def resolve(self, name: str) -> str:
        """Return the CID that an IPNS name stands for now, as its newest record says that can be found.

        Raises:
            IpfsUnavailable: The node is away, finds none, or the name stands for something else.
        """
        parameters = {"arg": f"/ipns/{name}", "nocache": "true", "dht-timeout": f"{_RESOLVE_SECONDS}s"}
        path = str(orjson.loads(await self._call("name/resolve", parameters)).get("Path", ""))
        return str(Cid.parse(path.removeprefix("/ipfs/")))

    async def collect_garbage(self) -> None:
        """Remove all that is not pinned from the node's store; takes a while, and holds up adds."""
        limits = aiohttp.ClientTimeout(total=GC_SECONDS, sock_connect=5)
        await self._call("repo/gc", {"silent": "true", "stream-errors": "false"}, limits=limits)

    async def disk(self) -> Disk:
        """Return how much room there is on the disk of the node's repository.

        Raises:
            IpfsUnavailable: The node is away, or does not tell.
        """
        answer = await self._call("diag/sys", {})
        try:
            told = orjson.loads(answer)["diskinfo"]
            # Kubo's total_space is what the file system calls available, that is less than free_space.
            return Disk(int(told["free_space"]), min(int(told["free_space"]), int(told["total_space"])))
        except (ValueError, KeyError, TypeError):
            raise IpfsUnavailable(f"Kubo's diag/sys tells nothing of its disk: {answer[:200]!r}") from None

    async def block(self, cid: str) -> bytes:
        """Return the block of a CID, from the node's own store.

        Raises:
            IpfsUnavailable: The node is away, or does not have it whole.
        """
        block = await self._call("block/get", {"arg": cid, "offline": "true"}, most=CHUNK_BYTES)
        if not Cid.parse(cid).fits(block):
            raise IpfsUnavailable(f"Kubo's block/get: what it gave is not {cid}")
        return block

    async def broken_leaves(self, cid: str, progress: Callable[[], None]) -> list[str]:
        """Read a file's leaves from the node's own store; return the CIDs of those that it can't give, or not whole.

        What lies under an inner node that is not there is not known: it will be fetched anyway.
        """
        try:
            leaves = await self._leaves(cid)
        except IpfsUnavailable as error:
            if _NOT_HERE not in str(error):
                raise
            return []
        broken = []
        for leaf in leaves:
            if not await self._has_whole(leaf):
                broken.append(leaf)
            progress()
        return broken

    async def _leaves(self, cid: str) -> list[str]:
        """Return the CIDs of the raw leaves below a node, each once."""
        if Cid.parse(cid).codec == RAW:
            return [cid]
        node = orjson.loads(await self._call("dag/get", {"arg": cid, "offline": "true"}))
        found: dict[str, None] = {}
        for link in node["Links"]:
            found |= dict.fromkeys(await self._leaves(link["Hash"]["/"]))
        return list(found)

    async def _has_whole(self, leaf: str) -> bool:
        # Where the node does not answer, it may be whole.
        block = await self._call_unless(_ANSWERED, "block/get", {"arg": leaf, "offline": "true"}, most=CHUNK_BYTES)
        return block is not None and Cid.parse(leaf).fits(block)

    async def forget(self, cids: Sequence[str]) -> None:
        """Remove blocks that no pin holds from the node's store; what it refers to elsewhere stays there.

        Raises:
            IpfsUnavailable: The node is away, or a pin holds one of them.
        """
        for cid in cids:
            answer = await self._call("block/rm", {"arg": cid, "force": "true"})
            errors = [line["Error"] for line in map(orjson.loads, answer.splitlines()) if line.get("Error")]
            if errors:
                raise IpfsUnavailable(f"Kubo's block/rm: {errors[0]}")

    async def ask(self, command: str, parameters: dict[str, str] | None = None) -> dict[str, Any]:
        """Return what the node answers to something small.

        Raises:
            IpfsUnavailable: The node is away, refuses, or answers something else.
        """
        answer = await self._call(command, parameters or {}, limits=self._soon)
        try:
            told: dict[str, Any] = dict(orjson.loads(answer))
        except (ValueError, TypeError):
            raise IpfsUnavailable(f"Kubo's {command} answers {answer[:200]!r}") from None
        return told

    async def peer_id(self) -> str:
        """Return the node's name among its peers."""
        return str((await self.ask("id"))["ID"])

    async def ping(self) -> None:
        """Raise IpfsUnavailable unless the node answers."""
        await self._call("version", {})

    async def check(self) -> None:
        """Have the node store a block, which takes its process and its disk, and none of its locks.

        The block has to be a new one, since a node does not write what it has, and stays until the next garbage
        collection: only that, and block/rm, which waits like it for all adds to end and holds up those that come,
        remove any.

        Raises:
            IpfsAway: It can't: whatever went wrong before, went wrong for everybody.
            DiskFull: It can't because its disk is full; what makes room there needs no new block.
        """
        with aiohttp.MultipartWriter("form-data") as form:
            form.append(secrets.token_bytes(_CHECK_BYTES)).set_content_disposition("form-data", name="data")
        try:
            await self._call("version", {}, limits=self._soon)  # a refused token is told from a body that nobody takes
            await self._call("block/put", {"pin": "false"}, form, self._soon)
        except IpfsUnavailable as error:
            raise IpfsAway(f"Kubo can't store a block: {brief(error)}") from error

    async def check_pinning(self) -> None:
        """Check the node, and that it adds, pins and unpins now: a garbage collection holds all of these up.

        What is asked for shares the lock that they share, and so holds nobody up.

        Raises:
            IpfsAway: It can't, or doesn't.
        """
        await self.check()
        try:
            await self._call_unless(_NOT_PINNED, "pin/rm", {"arg": _NEVER_PINNED}, limits=self._soon)
        except IpfsUnavailable as error:
            raise IpfsAway(f"Kubo pins nothing now, perhaps it collects garbage: {brief(error)}") from error

    async def check_peers(self) -> None:
        """See that the node has a peer.

        Raises:
            NetworkAway: It has none: nothing can be brought from the network.
            IpfsUnavailable: The node can't be asked.
        """
        answer = orjson.loads(await self._call("swarm/peers", {}, limits=self._soon))
        if not answer.get("Peers"):
            raise NetworkAway("our Kubo has no peer: see its swarm port, and the way to the internet")

    async def meet_providers(self, cid: str) -> None:
        """Have the node connect to some who announce a CID: of one that it has itself it looks for nobody.

        Raises:
            IpfsUnavailable: The node is away, or has no way to look for anybody.
        """
        parameters = {"arg": cid, "num-providers": f"{_PROVIDERS}", "timeout": f"{_SEARCH_SECONDS}s"}
        answer = await self._call("routing/findprovs", parameters)
        events = [orjson.loads(line) for line in answer.splitlines()]
        for peer in [peer for event in events if event["Type"] == _PROVIDER for peer in event["Responses"]]:
            for address in peer["Addrs"] or [""]:
                with suppress(IpfsUnavailable):  # of others, or by another way, it may come all the same
                    await self._call("swarm/connect", {"arg": f"{address}/p2p/{peer['ID']}"}, limits=self._soon)
                    break

    async def _call_unless(self, said: str, command: str, parameters: dict[str, str], **more: Any) -> bytes | None:  # noqa: ANN401
        """As `_call`, but return None if the node says what is `said`."""
        try:
            return await self._call(command, parameters, **more)
        except IpfsUnavailable as error:
            if said not in str(error):
                raise
            return None

    async def _call(
        self,
        command: str,
        parameters: dict[str, str],
        body: aiohttp.MultipartWriter | None = None,
        limits: aiohttp.ClientTimeout | None = None,
        most: int = _ANSWER_BYTES,
    ) -> bytes:
        try:
            async with self._session.post(
                command, params=parameters, data=body, timeout=limits or self._session.timeout
            ) as response:
                _see_token(response)
                answer = await read_body(response, most)
                if response.status != 200:  # noqa: PLR2004 - Kubo answers 200 or an error
                    base = str(response.url).partition("/api/v0/")[0]
                    message = without_secrets(_message(answer, response.status), base)
                    raise _refused(command, message)
                return answer
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsUnavailable(f"Kubo's {command} got no answer: {brief(error)}") from error


def _part(data: bytes) -> aiohttp.MultipartWriter:
    """Return a body of one file."""
    form = aiohttp.MultipartWriter("form-data")
    form.append(data).set_content_disposition("form-data", name="file", filename="file")
    return form


def _see_token(response: aiohttp.ClientResponse) -> None:
    """Raise IpfsAway unless the node takes our token: one wrong setting must not fail every archive."""
    if response.status in _REFUSED:
        raise IpfsAway(
            f"Kubo refuses the token ({response.status}): see ROADVAULT_IPFS_RPC_TOKEN, or that of the witness,"
            " ROADVAULT_WITNESS_RPC_TOKEN"
        )


def _refused(command: str, message: str) -> TransientError:
    """Return what it means that the node does not do something; on a full disk it still unpins and collects garbage."""
    kind = DiskFull if _NO_SPACE in message else IpfsUnavailable
    return kind(f"Kubo's {command}: {message}")


def _message(answer: bytes, status: int) -> str:
    try:
        return str(orjson.loads(answer)["Message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {status} {answer[:200]!r}"
