"""What comes in over HTTP: the API on the intranet's port, signed links on the public one."""

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import orjson
import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multipart import parse_options_header
from prometheus_client import Counter

from roadvault_common.app import route_of
from roadvault_common.errors import DiskFull, TransientError, brief
from roadvault_common.links import BadLink, Links
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.vault import Vault
from roadvault_ingest.problems import NotMultipart, Problem, TooLarge, answer, refusal
from roadvault_ingest.receive import Incoming, Received, form_fields, receive, timely
from roadvault_ingest.service import Ingest
from roadvault_ingest.states import describe

log = structlog.get_logger()

_REQUEST_BYTES = 16_384
"""Longest body of a download request."""
_ID_DIGITS = 19
"""Of the highest id that the database has; Python itself refuses to read thousands of digits."""
_SHOWN_TYPES = ("video/", "image/", "audio/")
"""Media types that a link names to the browser; all else is a plain download."""


def api_routes(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of the API."""

    async def upload(request: web.Request) -> web.Response:
        boundary = _boundary(request)
        largest, stall = ingest.settings.largest_upload, ingest.settings.upload_stall_seconds

        async def take(incoming: Incoming) -> Received:
            return await receive(request.content, boundary, incoming, largest, stall, ingest.disk)

        return answer({"fileID": await ingest.upload(request.content_length, take)})

    async def download(request: web.Request) -> web.Response:
        fields = await _fields(request, ingest.settings.upload_stall_seconds)
        await ingest.request_download(_file_id(fields.get("fileID")), str(fields.get("cbUrl", "")))
        return answer("ok")

    async def file(request: web.Request) -> web.Response:
        row, requests = await ingest.file(_file_id(request.match_info["file_id"]))
        return answer(describe(row, requests))

    async def expect(request: web.Request) -> None:
        """Ask for the body (Expect: 100-continue) unless `upload` is going to refuse its length."""
        with suppress(TooLarge):
            ingest.check_length(request.content_length)
            if request.transport is not None:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    return [
        web.post("/api/open/upload", upload, expect_handler=expect),
        web.post("/api/open/downFile", download),
        web.get("/api/open/file/{file_id}", file),
    ]


def link_routes(ingest: Ingest, links: Links, vault: Vault) -> list[web.RouteDef]:
    """Return the one route of the public listener."""
    sent = STAGE_BYTES.labels("serve")

    async def link(request: web.Request) -> web.StreamResponse:
        try:
            download_id, expires_at = links.read(request.match_info["token"])
        except BadLink as error:
            return web.Response(status=403, text=f"{error}\n")
        row = await ingest.extraction(download_id)
        if row is not None and row["now"].replace(tzinfo=UTC) >= expires_at:
            return web.Response(status=403, text="this link has expired; ask for the file again\n")
        if row is None or row["path"] is None:
            return web.Response(status=404, text="this file is no longer here; ask for it again\n")
        seconds = ingest.settings.download_seconds(row["size"])
        return _TimelyFile(vault.path(row["path"]), seconds, _download_headers(row["file_name"]), sent)

    return [web.get("/d/{token}", link)]


class _TimelyFile(web.FileResponse):
    """A file that is sent within its time; a slower client is cut off, so that it holds no file open for ever."""

    def __init__(self, path: Path, seconds: float, headers: dict[str, str], sent: Counter) -> None:
        super().__init__(path, headers=headers)
        self._seconds = seconds
        self._sent = sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            async with asyncio.timeout(self._seconds):
                writer = await super().prepare(request)
        except TimeoutError:
            log.info("a client was too slow", seconds=self._seconds)
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client was too slow") from None
        if request.method == "GET" and self.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            self._sent.inc(self.content_length or 0)
        return writer


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn what handlers raise into the API's shape."""
    try:
        return await handler(request)
    except Problem as problem:
        response = refusal(problem.status, brief(problem), problem.retry_after)
        if not request.content.is_eof():
            response.force_close()  # the rest of the body may never come: no other request can follow it
        return response
    except DiskFull:
        return refusal(507, "the disk is full; try again later", 60)
    except TransientError as error:
        log.warning("request failed", route=route_of(request), error=brief(error))
        return refusal(503, "not possible right now; try again", 5)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - redirects and the like are answers
            raise
        return refusal(error.status, error.reason)
    except ConnectionError:
        log.info("client hung up", route=route_of(request))
        raise
    except Exception:  # a defect of ours: the client gets the API's shape for it, the log gets the trace
        log.exception("request failed", route=route_of(request))
        return refusal(500, "internal error; it has been logged")


def _boundary(request: web.Request) -> str:
    # aiohttp's own `content_type` takes a third of a small upload's time, as each client's boundary is another.
    kind, options = parse_options_header(request.headers.get("Content-Type", ""))
    if kind != "multipart/form-data":
        raise NotMultipart("send the file as multipart/form-data, with the parts file and filename")
    return str(options.get("boundary", ""))


async def _fields(request: web.Request, stall_seconds: float) -> dict[str, object]:
    """Return the fields of a JSON object or a form."""
    if request.content_type != "application/json":
        return {**await form_fields(request, stall_seconds)}
    try:
        fields = orjson.loads(await _body(request, stall_seconds))
    except orjson.JSONDecodeError:
        raise Problem("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Problem("the body must be a JSON object with fileID and cbUrl")
    return fields


async def _body(request: web.Request, stall_seconds: float) -> bytes:
    """Return a short body, which may come in several pieces."""
    body = b""
    while piece := await timely(request.content.readany(), stall_seconds):
        body += piece
        if len(body) > _REQUEST_BYTES:
            raise TooLarge(f"the body is longer than {_REQUEST_BYTES} bytes")
    return body


def _file_id(value: object) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not text.isascii() or not text.isdigit() or len(text) > _ID_DIGITS or not 0 < int(text) < 1 << 63:
        raise Problem("fileID must be a positive number")
    return int(text)


def _download_headers(name: str) -> dict[str, str]:
    guessed = mimetypes.guess_type(name)[0] or ""
    return {
        "Content-Type": guessed if guessed.startswith(_SHOWN_TYPES) else "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
