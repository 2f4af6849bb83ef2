"""What comes in over HTTP: the API."""

from functools import partial

from aiohttp import web

from roadvault_common.web.digests import repr_digest
from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import NUMBER_BYTES, batch_id, file_id, position, query_fields, request_fields
from roadvault_ingest.lists.filters import read_list, read_page
from roadvault_ingest.posted import answer_form, client_key, take_form
from roadvault_ingest.problems import NoLength, answer
from roadvault_ingest.requests.clips import read_span
from roadvault_ingest.service import Ingest
from roadvault_ingest.states import batch, describe, line, listed
from roadvault_ingest.tus import tus_routes
from roadvault_ingest.uploads.checksums import digests
from roadvault_ingest.uploads.intake import Taken
from roadvault_ingest.uploads.names import name_in_path
from roadvault_ingest.uploads.plain import Plain
from roadvault_ingest.uploads.receive import Body, Incoming, Received, expect
from roadvault_ingest.uploads.wire import Room

_DIGESTS = ("Repr-Digest", "Content-Digest")
"""RFC 9530; of a body without an encoding both are the same."""


def api_routes(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of the API."""
    peer = partial(client_of, proxies=ingest.settings.proxy_networks)

    async def upload(request: web.Request) -> web.Response:
        body, taken = await take_form(request, ingest)
        return await answer_form(request, _taken(body, taken))

    async def download(request: web.Request) -> web.Response:
        fields = await request_fields(request, ingest.settings)
        span = read_span(fields.values, ingest.settings.clip_seconds)
        await ingest.request_download(fields.file_id(), fields.text("cbUrl"), peer(request), span)
        return answer("ok")

    return [
        web.post("/api/open/upload", upload, expect_handler=expect),
        *_plain(ingest),
        *tus_routes(ingest.resumable),
        web.post("/api/open/downFile", download),
        *_questions(ingest),
        *_batches(ingest),
    ]


def _batches(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of many files that are asked for at once."""
    peer = partial(client_of, proxies=ingest.settings.proxy_networks)

    async def download(request: web.Request) -> web.Response:
        longest = 16_384 + NUMBER_BYTES * ingest.settings.batch_files
        fields = await request_fields(request, ingest.settings, longest)
        span = read_span(fields.values, ingest.settings.clip_seconds)
        number, files = await ingest.request_batch(fields.wanted(), fields.text("cbUrl"), peer(request), span)
        return answer({"batchID": number, "files": files})

    async def described(request: web.Request) -> web.Response:
        after, limit = read_page(query_fields(request))
        rows = await ingest.batch(batch_id(request.match_info["batch_id"]), after, limit)
        return answer(batch(*rows, limit))

    async def cancel(request: web.Request) -> web.Response:
        number = batch_id(request.match_info["batch_id"])
        await ingest.batches.cancel(number)
        return answer(batch(*await ingest.batch(number, 0, 0), 1))

    return [
        web.post("/api/open/downFiles", download),
        web.get("/api/open/batch/{batch_id}", described),
        web.delete("/api/open/batch/{batch_id}", cancel),
    ]


def _plain(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of bodies that are files."""
    peer = partial(client_of, proxies=ingest.settings.proxy_networks)

    async def put(request: web.Request) -> web.Response:
        if not request.body_exists and request.content_length is None:
            raise NoLength("the request says nothing of its body's length: send Content-Length, or the body in chunks")
        plain = Plain(
            name_in_path(request.raw_path),
            query_fields(request),
            [check for name in _DIGESTS for check in digests(name, request.headers.getall(name, ()))],
        )
        body = Body(request, ingest.settings)

        async def take(incoming: Incoming, room: Room) -> Received:
            return await plain.receive(body, incoming, ingest.disk, room, ingest.settings.largest_upload)

        return _taken(body, await ingest.upload(body.length, peer(request), client_key(request), take))

    path = "/api/open/upload/{name:.*}"
    return [web.post(path, put, expect_handler=expect), web.put(path, put, expect_handler=expect)]


def _questions(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of what is asked about a file."""

    async def file(request: web.Request) -> web.Response:
        row, requests = await ingest.file(file_id(request.match_info["file_id"]))
        return answer(describe(row, requests))

    async def files(request: web.Request) -> web.Response:
        rows, after = await ingest.files(*read_list(query_fields(request)))
        return answer({"files": [listed(row) for row in rows], "next": after})

    async def custody(request: web.Request) -> web.Response:
        before = request.query.get("before")
        rows = await ingest.custody(
            file_id(request.match_info["file_id"]), None if before is None else position(before)
        )
        return answer({"lines": [line(row) for row in rows]})

    async def receipt(request: web.Request) -> web.Response:
        number = file_id(request.match_info["file_id"])
        content = await ingest.receipt(number)
        headers = {"Content-Disposition": f'attachment; filename="receipt-{number}.json"'}
        return web.Response(body=content, content_type="application/json", headers=headers)

    return [
        web.get("/api/open/files", files),
        web.get("/api/open/file/{file_id}", file),
        web.get("/api/open/file/{file_id}/custody", custody),
        web.get("/api/open/file/{file_id}/receipt", receipt),
    ]


def _taken(body: Body, taken: Taken) -> web.Response:
    response = answer({"fileID": taken.file_id})
    response.headers["Repr-Digest"] = repr_digest(taken.sha256)
    if body.taken_over:
        response.force_close()
    return response
