"""A form that brings a file: a program's, or a page's."""

from aiohttp import web

from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import query_fields
from roadvault_ingest.problems import NoLength, Problem, WrongType
from roadvault_ingest.service import Ingest
from roadvault_ingest.tus import FILES
from roadvault_ingest.uploads import facts
from roadvault_ingest.uploads.form import Form, content_type
from roadvault_ingest.uploads.intake import Taken
from roadvault_ingest.uploads.names import shown
from roadvault_ingest.uploads.receive import Body, Incoming, Received, receive
from roadvault_ingest.uploads.same import hashed
from roadvault_ingest.uploads.wire import Room


async def take_form(request: web.Request, ingest: Ingest, kind: type[Form] = Form) -> tuple[Body, Taken]:
    """Take the file that a form brings.

    Raises:
        Problem: It can't be taken.
    """
    form = _form(request, ingest.settings.largest_upload, kind)
    body = Body(request, ingest.settings)

    async def take(incoming: Incoming, room: Room) -> Received:
        return await receive(body, form, incoming, ingest.disk, room)

    peer = client_of(request, ingest.settings.proxy_networks)
    return body, await ingest.upload(body.length, peer, client_key(request), take)


async def answer_form(request: web.Request, response: web.Response) -> web.Response:
    """Answer a client; if it promised more than the form that it sent, nobody knows where its next request begins.

    Some read until the connection ends, so this side of it ends at once; aiohttp waits a while for what was promised.
    """
    if request.content.is_eof():
        return response
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    if request.transport is not None and request.transport.can_write_eof():
        request.transport.write_eof()
    return response


def client_key(request: web.Request) -> str | None:
    """Return the hash of a request's Idempotency-Key."""
    return hashed(request.headers.getall("Idempotency-Key", ()))


def check_whole(request: web.Request) -> None:
    """Refuse a part of a file (RFC 9110, 14.5): it would become a file that looks whole.

    Raises:
        Problem: It says that it is one.
    """
    part = request.headers.get("Content-Range")
    if part is not None:
        raise Problem(
            f"Content-Range says that this is a part of a file, {shown(part)}: send all of it, or begin it at {FILES},"
            " where an upload goes on where it stopped"
        )


def _form(request: web.Request, largest: int, form_class: type[Form]) -> Form:
    check_whole(request)
    # aiohttp's own `content_type` takes a third of a small upload's time, as each client's boundary is another.
    kind, options = content_type(request.headers.get("Content-Type", ""))
    if kind != "multipart/form-data":
        called = f"it came as {shown(kind)}" if kind else "it came without a Content-Type"
        raise WrongType(f"send the file as multipart/form-data, with the parts file and filename; {called}")
    if not request.body_exists and request.content_length is None:
        raise NoLength("the request says nothing of its body's length: send Content-Length, or the body in chunks")
    form = form_class(options.get("boundary", ""), largest, request.content_length)
    if request.query_string:  # what is known of the file may stand there, too
        form.fields |= {name: text for name, text in query_fields(request).items() if name in facts.FIELDS}
    return form
