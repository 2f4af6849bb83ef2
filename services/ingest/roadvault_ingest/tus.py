"""tus 1.0, the protocol of uploads that go on where they stopped: what comes in over HTTP."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from email.utils import format_datetime
from functools import partial

from aiohttp import hdrs, web

from roadvault_common.web.digests import repr_digest
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.clients import client_of
from roadvault_ingest.problems import (
    Forbidden,
    NotFound,
    Problem,
    TooSlow,
    Unavailable,
    WrongType,
    WrongVersion,
    answer,
)
from roadvault_ingest.uploads.checksums import ALGORITHMS, Checksum, upload_checksum
from roadvault_ingest.uploads.form import content_type
from roadvault_ingest.uploads.joining import Joining
from roadvault_ingest.uploads.names import shown
from roadvault_ingest.uploads.receive import Body, expect
from roadvault_ingest.uploads.same import hashed
from roadvault_ingest.uploads.upload_store import PARTIAL, Upload

FILES = "/api/open/files"
"""Where uploads are begun; each has its URL below."""
VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration,concatenation"
_SLOW_SECONDS = 1
_TYPE = "application/offset+octet-stream"
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PART = re.compile(rf"(?:https?://[^/?#]+)?{FILES}/([0-9a-f]{{32}})", re.ASCII)

_Handle = Callable[[web.Request], Awaitable[web.Response]]


class Tus:
    """The protocol's requests."""

    def __init__(self, uploads: Joining) -> None:
        self._uploads = uploads
        self._peer = partial(client_of, proxies=uploads.settings.proxy_networks)

    async def options(self, _: web.Request) -> web.Response:
        """Tell what is understood here."""
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(self._uploads.largest),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        return web.Response(status=204, headers=headers)

    async def begin(self, request: web.Request) -> web.Response:
        """Begin an upload, and take what the request has of it; or join uploads to one."""
        key, peer = hashed(request.headers.getall("Idempotency-Key", ())), self._peer(request)
        metadata, concat = request.headers.get("Upload-Metadata", ""), request.headers.get("Upload-Concat")
        if concat not in {None, PARTIAL}:
            upload = await self._uploads.join(concat, _parts(concat), metadata, peer, key)
            return _answer(request, None, _created(upload), upload)
        size, deferred = _number(request, "Upload-Length"), request.headers.get("Upload-Defer-Length")
        if deferred not in {None, "1"} or (size is None) == (deferred is None):
            raise Problem("send either Upload-Length, or Upload-Defer-Length: 1 as long as it is not known")
        body = self._body(request)
        if body.length != 0:
            _check_type(request)
        checksum = _checksum(request)
        upload = await self._uploads.begin(size, metadata, peer, key, concat)
        if body.length != 0 and not upload.offset:
            upload = await self._uploads.go_on(upload.upload_id, 0, None, body, peer, checksum)
        return _answer(request, body, _created(upload), upload)

    async def head(self, request: web.Request) -> web.Response:
        """Tell where an upload goes on."""
        upload = await self._uploads.settled(_id(request))
        response = web.Response(headers={"Cache-Control": "no-store"})
        if upload.metadata:
            response.headers["Upload-Metadata"] = upload.metadata
        if upload.concat is not None:
            response.headers["Upload-Concat"] = upload.concat
        if upload.size is None:
            response.headers["Upload-Defer-Length"] = "1"
        else:
            response.headers["Upload-Length"] = str(upload.size)
        return _answer(request, None, response, upload)

    async def get(self, request: web.Request) -> web.Response:
        """Tell how an upload stands, in the API's shape."""
        upload = await self._uploads.state(_id(request))
        response = answer({"offset": upload.offset, "length": upload.size, "fileID": upload.file_id})
        response.headers["Cache-Control"] = "no-store"
        return response

    async def patch(self, request: web.Request) -> web.Response:
        """Go on with an upload."""
        _check_type(request)
        offset, size = _number(request, "Upload-Offset"), _number(request, "Upload-Length")
        if offset is None:
            raise Problem("Upload-Offset is missing")
        body = self._body(request)
        peer = self._peer(request)
        upload = await self._uploads.go_on(_id(request), offset, size, body, peer, _checksum(request))
        return _answer(request, body, web.Response(status=204), upload)

    async def delete(self, request: web.Request) -> web.Response:
        """Give up an upload."""
        upload = await self._uploads.state(_id(request))
        if upload.file_id is not None:
            raise Forbidden(f"this upload is whole: it is the file {upload.file_id}, and files are kept")
        await self._uploads.remove(_id(request))
        return web.Response(status=204)

    def _body(self, request: web.Request) -> Body:
        return Body(request, self._uploads.settings)


def tus_routes(uploads: Joining) -> list[web.RouteDef]:
    """Return the routes of the protocol."""
    tus = Tus(uploads)
    of_all = {hdrs.METH_OPTIONS: tus.options, hdrs.METH_POST: tus.begin}
    of_one = {
        hdrs.METH_OPTIONS: tus.options,
        hdrs.METH_HEAD: tus.head,
        hdrs.METH_GET: tus.get,
        hdrs.METH_PATCH: tus.patch,
        hdrs.METH_DELETE: tus.delete,
    }
    return [
        *(web.route(method, FILES, partial(_by_method, of_all), expect_handler=expect) for method in of_all),
        *(
            web.route(method, f"{FILES}/{{upload_id}}", partial(_by_method, of_one), expect_handler=expect)
            for method in {*of_one, hdrs.METH_POST} - {hdrs.METH_HEAD}  # which aiohttp adds to GET
        ),
    ]


async def _by_method(handlers: Mapping[str, _Handle], request: web.Request) -> web.StreamResponse:
    """Answer by the method that a client means, some of which networks don't let through."""
    method = request.headers.get("X-HTTP-Method-Override", request.method).upper()

    async def handle(request: web.Request) -> web.Response:
        handler = handlers.get(method)
        if handler is None:
            raise web.HTTPMethodNotAllowed(method, list(handlers))
        if method not in {hdrs.METH_OPTIONS, hdrs.METH_GET} and request.headers.get("Tus-Resumable") != VERSION:
            came = request.headers.get("Tus-Resumable")
            told = "it is missing" if came is None else f"{shown(came)} came"
            raise WrongVersion(f"Tus-Resumable must be {VERSION}, the version that is spoken here; {told}")
        try:
            return await handler(request)
        except TooSlow as slow:  # of a 4xx clients think that it is of no use to go on, but for 409 and 423
            raise Unavailable(f"{slow}; go on", _SLOW_SECONDS) from slow

    response = await answer_problems(request, handle)
    response.headers["Tus-Resumable"] = VERSION
    if response.status == WrongVersion.status:
        response.headers["Tus-Version"] = VERSION
    return response


def _answer(request: web.Request, body: Body | None, response: web.Response, upload: Upload) -> web.Response:
    if upload.concat in {None, PARTIAL} or upload.file_id is not None:
        response.headers["Upload-Offset"] = str(upload.offset)
    if upload.file_id is None:
        response.headers["Upload-Expires"] = format_datetime(upload.expires_at.replace(tzinfo=UTC), usegmt=True)
    else:
        response.headers["RoadVault-File-ID"] = str(upload.file_id)
    if upload.sha256 is not None:
        response.headers["Repr-Digest"] = repr_digest(upload.sha256)
    if (body is not None and body.taken_over) or not request.content.is_eof():
        response.force_close()
    return response


def _created(upload: Upload) -> web.Response:
    return web.Response(status=201, headers={"Location": f"{upload.upload_url or ''}{FILES}/{upload.upload_id}"})


def _parts(concat: str) -> list[str]:
    """Return the ids of the uploads that an Upload-Concat names, by URLs with or without a host."""
    kind, _, names = concat.partition(";")
    found = [_PART.fullmatch(url) for url in names.split()]
    if kind != "final" or not found or None in found:
        raise Problem(f"Upload-Concat must be {PARTIAL}, or final;{FILES}/… and so on, not {shown(concat)}")
    return [match[1] for match in found if match is not None]


def _id(request: web.Request) -> str:
    upload_id = request.match_info["upload_id"]
    if not _ID.fullmatch(upload_id):
        raise NotFound("there is no such upload; begin it again")
    return upload_id


def _number(request: web.Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise Problem(f"{name} must be a whole number of bytes, not {shown(text)}")
    return int(text)


def _checksum(request: web.Request) -> Checksum | None:
    header = request.headers.get("Upload-Checksum")
    return None if header is None else upload_checksum(header)


def _check_type(request: web.Request) -> None:
    kind, _ = content_type(request.headers.get("Content-Type", ""))
    if kind != _TYPE:
        called = f"it came as {shown(kind)}" if kind else "it came without a Content-Type"
        raise WrongType(f"the bytes of an upload must come as {_TYPE}; {called}")
