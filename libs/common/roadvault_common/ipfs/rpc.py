"""Kubo's HTTP RPC API, as far as RoadVault needs it (https://docs.ipfs.tech/reference/kubo/rpc/)."""

import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp.http import HttpProcessingError
from pydantic import SecretStr

from roadvault_common.errors import IpfsAway, IpfsUnavailable, brief
from roadvault_common.urls import without_secrets

CHUNK_BYTES = 1 << 20
"""Size of a leaf of the DAG: 1 MiB, the largest block that every IPFS node takes."""
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What aiohttp raises when no connection comes about."""
_NOT_PINNED = "not pinned"
_ANSWER_BYTES = 1 << 20
"""No answer of the RPC API that is asked for here is longer."""
PLAIN = {"Accept-Encoding": "identity"}
"""What is asked for with each request: a compressed answer may be any size once it is unpacked, and is refused."""
_REFUSED = frozenset({401, 403})
_CHECK_SECONDS = 10.0
"""A node that takes longer for one small block is in trouble, whatever it is asked."""


@dataclass(frozen=True)
class Added:
    """What an add came to: the root's CID (version 1)."""

    cid: str


class Ipfs:
    """A client of one Kubo node. Use `Ipfs.open`."""

    def __init__(self, session: aiohttp.ClientSession, stall_seconds: float) -> None:
        self._session = session
        self._stall_seconds = stall_seconds

    @classmethod
    @asynccontextmanager
    async def open(cls, rpc_url: str, stall_seconds: float, token: SecretStr | None = None) -> AsyncIterator["Ipfs"]:
        """Make a client; `stall_seconds` is how long the node may be silent, `token` what it asks for."""
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=stall_seconds)
        async with aiohttp.ClientSession(
            base_url=rpc_url.rstrip("/") + "/api/v0/",
            timeout=timeout,
            headers={**PLAIN, **headers},
            auto_decompress=False,
            json_serialize=_dumps,
        ) as session:
            yield cls(session, stall_seconds)

    async def add(self, content: AsyncIterable[bytes], path: Path | None) -> Added:
        """Add and pin a file. With `path` the node's filestore refers to the file there instead of copying it.

        `path` must be what `content` is read from, under the parent of the node's IPFS_PATH.

        Raises:
            IpfsUnavailable: The node is away or refused; `add` may be repeated, the same bytes give the same CID.
        """
        parameters = {
            "cid-version": "1",
            "raw-leaves": "true",
            "chunker": f"size-{CHUNK_BYTES}",
            "pin": "true",
            "quieter": "true",
            "nocopy": "false" if path is None else "true",
        }
        headers = {} if path is None else {"Abspath": quote(str(path))}
        with aiohttp.MultipartWriter("form-data") as form:
            part = form.append(content, {"Content-Type": "application/octet-stream", **headers})
            part.set_content_disposition("form-data", name="file", filename="archive")
        # The node is silent while it takes the body: the body's own progress is what the caller's lease watches.
        limits = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
        answer = await self._call("add", parameters, form, limits)
        lines = [orjson.loads(line) for line in answer.splitlines() if line.strip()]
        if not lines or "Hash" not in lines[-1]:
            raise IpfsUnavailable(f"Kubo's add ended without a CID: {answer[:200]!r}")
        return Added(lines[-1]["Hash"])

    async def dag_size(self, cid: str) -> int:
        """Return `cumulativeSize` of a CID in bytes: all its blocks together."""
        answer = orjson.loads(await self._call("files/stat", {"arg": f"/ipfs/{cid}"}))
        return int(answer["CumulativeSize"])

    async def fetch_and_pin(self, cid: str, progress: Callable[[], None]) -> None:
        """Bring a CID's blocks from the network and pin them; `progress` is called as blocks arrive.

        Raises:
            IpfsUnavailable: The node is away, or no block came for as long as the node may be silent.
        """
        parameters = {"arg": cid, "progress": "true"}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
        seen, pinned = 0, False
        try:
            async with self._session.post("pin/add", params=parameters, timeout=limits) as response:
                _see_token(response)
                # The node reports every half second; what counts is that its number of blocks grows.
                async for line in response.content:
                    report = orjson.loads(line)
                    if "Message" in report:
                        raise IpfsUnavailable(f"Kubo's pin/add: {report['Message']}")
                    pinned = pinned or bool(report.get("Pins"))
                    if report.get("Progress", 0) > seen:
                        seen = report["Progress"]
                        progress()
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError, TypeError) as error:
            raise IpfsUnavailable(f"Kubo's pin/add broke off: {brief(error)}") from error
        if not pinned:
            raise IpfsUnavailable(f"Kubo's pin/add ended without a pin after {seen} blocks")

    async def unpin(self, cid: str) -> None:
        """Unpin a CID; one that is not pinned is fine."""
        try:
            await self._call("pin/rm", {"arg": cid})
        except IpfsUnavailable as error:
            if _NOT_PINNED not in str(error):
                raise

    async def has_pinned(self, cid: str) -> bool:
        """Tell whether a CID is pinned, with all that is below it."""
        try:
            await self._call("pin/ls", {"arg": cid, "type": "recursive"})
        except IpfsUnavailable as error:
            if _NOT_PINNED not in str(error):
                raise
            return False
        return True

    async def collect_garbage(self) -> None:
        """Remove all that is not pinned from the node's store; takes a while, and holds up adds."""
        limits = aiohttp.ClientTimeout(total=3600, sock_connect=5)
        await self._call("repo/gc", {"silent": "true", "stream-errors": "false"}, limits=limits)

    async def ping(self) -> None:
        """Raise IpfsUnavailable unless the node answers."""
        await self._call("version", {})

    async def check(self) -> None:
        """Have the node store one block and forget it again, which takes its process and its disk.

        Raises:
            IpfsAway: It can't: whatever went wrong before, went wrong for everybody.
        """
        limits = aiohttp.ClientTimeout(total=min(_CHECK_SECONDS, self._stall_seconds))
        with aiohttp.MultipartWriter("form-data") as form:
            form.append(secrets.token_bytes(CHUNK_BYTES)).set_content_disposition("form-data", name="data")
        try:
            await self._call("version", {}, limits=limits)  # a refused token is told from a body that nobody takes
            answer = orjson.loads(await self._call("block/put", {"pin": "false"}, form, limits))
            await self._call("block/rm", {"arg": answer["Key"]}, limits=limits)
        except (IpfsUnavailable, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise IpfsAway(f"Kubo can't store a block: {brief(error)}") from error

    async def _call(
        self,
        command: str,
        parameters: dict[str, str],
        body: aiohttp.MultipartWriter | None = None,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> bytes:
        try:
            async with self._session.post(
                command, params=parameters, data=body, timeout=limits or self._session.timeout
            ) as response:
                _see_token(response)
                answer = await read_body(response, _ANSWER_BYTES)
                if response.status != 200:  # noqa: PLR2004 - Kubo answers 200 or an error
                    base = str(response.url).partition("/api/v0/")[0]
                    message = without_secrets(_message(answer, response.status), base)
                    raise IpfsUnavailable(f"Kubo's {command}: {message}")
                return answer
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsUnavailable(f"Kubo's {command} got no answer: {brief(error)}") from error


async def read_body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body of an answer, at most so many bytes long; nothing more than that is read.

    Raises:
        IpfsUnavailable: It is longer, or compressed.
    """
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise IpfsUnavailable(f"an answer came compressed ({coding[:20]}), which was not asked for")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most:
            raise IpfsUnavailable(f"an answer is longer than the {most} bytes that there can be")
    return bytes(body)


def _see_token(response: aiohttp.ClientResponse) -> None:
    """See that the node takes our token: one wrong setting must not fail every archive.

    Raises:
        IpfsAway: It doesn't.
    """
    if response.status in _REFUSED:
        raise IpfsAway(f"Kubo refuses the token ({response.status}): see ROADVAULT_IPFS_RPC_TOKEN")


def _message(answer: bytes, status: int) -> str:
    try:
        return str(orjson.loads(answer)["Message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {status} {answer[:200]!r}"


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
