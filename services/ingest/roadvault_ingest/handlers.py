"""What comes in over HTTP: the API."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from aiohttp import web

from roadvault_common.errors import DiskFull, TransientError, brief
from roadvault_common.web.guards import refusal
from roadvault_common.web.listener import route_of
from roadvault_ingest.fields import NUMBER_BYTES, batch_id, file_id, position, query_fields, request_fields
from roadvault_ingest.filters import read_list, read_page
from roadvault_ingest.problems import NoLength, NotMultipart, Problem, TooLarge, answer
from roadvault_ingest.service import Ingest
from roadvault_ingest.states import batch, describe, line, listed
from roadvault_ingest.uploads import facts
from roadvault_ingest.uploads.form import Form, content_type
from roadvault_ingest.uploads.names import shown
from roadvault_ingest.uploads.receive import Body, Incoming, Received, receive
from roadvault_ingest.uploads.wire import Room

log = structlog.get_logger()


def api_routes(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of the API."""

    async def upload(request: web.Request) -> web.Response:
        form = _form(request, ingest.settings.largest_upload)
        body = Body(request, ingest.settings)

        async def take(incoming: Incoming, room: Room) -> Received:
            return await receive(body, form, incoming, ingest.disk, room)

        response = answer({"fileID": await ingest.upload(request.content_length, request.remote or "", take)})
        if body.taken_over:
            response.force_close()
        if not request.content.is_eof():
            await _answer_and_end(request, response)
        return response

    async def download(request: web.Request) -> web.Response:
        fields = await request_fields(request, ingest.settings)
        await ingest.request_download(fields.file_id(), fields.text("cbUrl"), request.remote)
        return answer("ok")

    async def expect(request: web.Request) -> None:
        """Ask for the body (Expect: 100-continue) unless `upload` is going to refuse its length."""
        with suppress(TooLarge):
            ingest.check_length(request.content_length)
            if request.transport is not None:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    return [
        web.post("/api/open/upload", upload, expect_handler=expect),
        web.post("/api/open/downFile", download),
        *_questions(ingest),
        *_batches(ingest),
    ]


def _batches(ingest: Ingest) -> list[web.RouteDef]:
    """Return the routes of many files that are asked for at once."""

    async def download(request: web.Request) -> web.Response:
        longest = 16_384 + NUMBER_BYTES * ingest.settings.batch_files
        fields = await request_fields(request, ingest.settings, longest)
        number, files = await ingest.request_batch(fields.wanted(), fields.text("cbUrl"), request.remote)
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


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn what handlers raise into the API's shape."""
    try:
        return await handler(request)
    except Problem as problem:
        response = refusal(problem.status, brief(problem), problem.retry_after)
        response.headers.update(problem.headers)
        if not request.content.is_eof() or isinstance(problem, NoLength):
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
        return _refused(request, error)
    except ConnectionError:  # the client hung up; aiohttp says so
        raise
    except Exception:  # a defect of ours: the client gets the API's shape for it, the log gets the trace
        log.exception("request failed", route=route_of(request))
        return refusal(500, "internal error; it has been logged")


def _refused(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return what aiohttp refuses in the API's shape."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = refusal(error.status, f"{shown(error.method)} is not taken here; use {allowed}")
        response.headers["Allow"] = allowed
    else:
        response = refusal(error.status, error.reason)
    if not request.content.is_eof():
        response.force_close()
    return response


async def _answer_and_end(request: web.Request, response: web.Response) -> None:
    """Answer a client that promised more than the form that it sent: where its next request begins is not known.

    Some read until the connection ends, so this side of it ends at once; aiohttp waits a while for what was promised.
    """
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    if request.transport is not None and request.transport.can_write_eof():
        request.transport.write_eof()


def _form(request: web.Request, largest: int) -> Form:
    # aiohttp's own `content_type` takes a third of a small upload's time, as each client's boundary is another.
    kind, options = content_type(request.headers.get("Content-Type", ""))
    if kind != "multipart/form-data":
        called = f"it came as {shown(kind)}" if kind else "it came without a Content-Type"
        raise NotMultipart(f"send the file as multipart/form-data, with the parts file and filename; {called}")
    if not request.body_exists and request.content_length is None:
        raise NoLength("the request says nothing of its body's length: send Content-Length, or the body in chunks")
    form = Form(options.get("boundary", ""), largest, request.content_length)
    if request.query_string:  # what is known of the file may stand there, too
        form.fields |= {name: text for name, text in query_fields(request).items() if name in facts.FIELDS}
    return form
