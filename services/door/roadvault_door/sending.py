"""Sends a file, or the part of it that was asked for, within its time."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import structlog
from aiohttp import web

from roadvault_common.errors import Outage, brief
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.web.digests import repr_digest
from roadvault_door.names import disposition, media_type
from roadvault_door.ranges import File, Part, part_of
from roadvault_door.service import Found, gone

log = structlog.get_logger()

_PIECE_BYTES = 1 << 18
"""Read at a time, in a thread; so much of it waits in memory for a slow client."""
_SENT = STAGE_BYTES.labels("serve")
_REFUSALS = {
    HTTPStatus.PRECONDITION_FAILED: "the file is not the one that these conditions want\n",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "the file has no such bytes\n",
}


async def send(
    request: web.Request, found: Found, headers: Mapping[str, str], bytes_per_second: float, grace_seconds: float
) -> web.StreamResponse:
    """Answer a GET or HEAD with a file; a client that is slower on the average, and later than that, is cut off.

    Raises:
        Refused: It is not there.
        Outage: It can't be read now.
        ConnectionError: It was not sent whole; there is nobody left to be told.
    """
    async with _opened(found.path) as (descriptor, state):
        file = File(state.st_size, found.sha256, datetime.fromtimestamp(int(state.st_mtime), UTC))
        part = part_of(request, file)
        response = response_to(part, file, found.name, headers)
        if request.method == "GET" and part.length:
            await _send_in_time(request, response, descriptor, part, grace_seconds + part.length / bytes_per_second)
            _SENT.inc(part.length)
    return response


def response_to(
    part: Part, file: File, name: str, headers: Mapping[str, str], *, inline: bool = False
) -> web.StreamResponse:
    """Return the answer, not yet sent and without its body; `inline` is for what is to be played where it is."""
    all_headers = {
        **headers,
        "ETag": f'"{file.etag}"',
        "Last-Modified": file.last_modified,
        "Accept-Ranges": "bytes",
    }
    if part.status in _REFUSALS:
        if part.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            all_headers["Content-Range"] = f"bytes */{file.size}"
        return web.Response(status=part.status, headers=all_headers, text=_REFUSALS[part.status])
    if part.status == HTTPStatus.NOT_MODIFIED:
        return web.Response(status=part.status, headers=all_headers)
    # Of the whole file also where a range is sent (RFC 9530): who has put parts together checks the whole with it.
    all_headers["Repr-Digest"] = repr_digest(file.etag)
    if part.status == HTTPStatus.PARTIAL_CONTENT:
        all_headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{file.size}"
    all_headers |= {"Content-Type": media_type(name), "Content-Disposition": disposition(name, inline=inline)}
    response = web.StreamResponse(status=part.status, headers=all_headers)
    response.content_length = part.length
    return response


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[tuple[int, os.stat_result]]:
    try:
        descriptor, state = await asyncio.to_thread(_open, path)
    except (FileNotFoundError, NotADirectoryError):
        raise gone() from None
    except OSError as error:
        raise Outage(f"an extracted file can't be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(state.st_mode):
            raise gone()
        yield descriptor, state
    finally:
        os.close(descriptor)  # it was only read from: nothing is left to do that could take long


def _open(path: Path) -> tuple[int, os.stat_result]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return descriptor, os.fstat(descriptor)


async def _send_in_time(
    request: web.Request, response: web.StreamResponse, descriptor: int, part: Part, seconds: float
) -> None:
    try:
        async with asyncio.timeout(seconds):
            await response.prepare(request)
            await _send_bytes(response, descriptor, part.start, part.length)
            await response.write_eof()
    except OSError as error:  # of which ConnectionError and TimeoutError are kinds
        late = isinstance(error, TimeoutError)
        log.info("a link's file was not sent whole", reason="the client was too slow" if late else brief(error))
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("not sent whole") from error


async def _send_bytes(response: web.StreamResponse, descriptor: int, start: int, count: int) -> None:
    end = start + count
    while start < end:
        # By its place, not in turn: a read that was given up may still come, when its number is another file's.
        piece = await asyncio.to_thread(os.pread, descriptor, min(_PIECE_BYTES, end - start), start)
        if not piece:
            raise OSError("the file has become shorter")
        await response.write(piece)
        start += len(piece)
