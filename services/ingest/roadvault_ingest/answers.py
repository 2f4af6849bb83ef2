"""Answers in the API's shape, whatever went wrong; to people before a page, as a page."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from roadvault_common.errors import DatabaseUnavailable, DiskFull, TransientError, brief
from roadvault_common.web.guards import refusal
from roadvault_common.web.traced import route_of
from roadvault_ingest.pages import errors
from roadvault_ingest.problems import Locked, NoLength, NoRoom, Problem, TooLarge, Unavailable
from roadvault_ingest.uploads.names import shown

log = structlog.get_logger()

_WORDS = {404: "no_such_path", 413: TooLarge.error}
"""For what aiohttp refuses by itself."""

PROBLEM = web.RequestKey("problem", Problem)
"""What a request was refused for, once that is answered."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what handlers raise into the API's shape; to people before a page, into a page, within seconds."""
    response, detail = await _answered(request, handler)
    if response.status < 400 or not errors.for_people(request) or response.content_type == "text/html":  # noqa: PLR2004
        return response
    problem = request.get(PROBLEM)
    page = errors.error_page(request, response.status, detail, problem and problem.error)
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in response.headers:
            page.headers[name] = response.headers[name]
    if response.keep_alive is False:
        page.force_close()
    return page


async def _answered(request: web.Request, handler: Handler) -> tuple[web.StreamResponse, str | None]:
    """Return the answer in the API's shape, and what there is to say besides if it is a refusal."""
    try:
        return await _in_time(request, handler), None
    except Problem as problem:
        request[PROBLEM] = problem
        response = refusal(problem.status, problem.error, brief(problem), problem.retry_after)
        response.headers.update(problem.headers)
        if not request.content.is_eof() or isinstance(problem, NoLength):
            response.force_close()  # the rest of the body may never come: no other request can follow it
        return response, brief(problem)
    except DiskFull:
        response = refusal(507, NoRoom.error, "the disk is full; try again later", 60)
    except TransientError as error:
        log.warning("request failed", route=route_of(request), error=brief(error))
        # tus-js-client, and so Uppy, takes any other error than 423 for the end of an upload that it asks for, and
        # begins it anew.
        asks = request.method == hdrs.METH_HEAD and request.path.startswith("/api/open/files/")
        kind = Locked if asks else Unavailable
        response = refusal(kind.status, kind.error, "not possible right now; try again", 5)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - redirects and the like are answers
            raise
        response = _refused(request, error)
    except ConnectionError:  # the client hung up; aiohttp says so
        raise
    except Exception:  # a defect of ours: the client gets the API's shape for it, the log gets the trace
        log.exception("request failed", route=route_of(request))
        response = refusal(500, "internal", "internal error; it has been logged")
    return response, None


def _refused(request: web.Request, error: web.HTTPException) -> web.Response:
    """Return what aiohttp refuses in the API's shape."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = refusal(error.status, "wrong_method", f"{shown(error.method)} is not taken here; use {allowed}")
        response.headers["Allow"] = allowed
    else:
        response = refusal(error.status, _WORDS.get(error.status, Problem.error), error.reason)
    if not request.content.is_eof():
        response.force_close()
    return response


async def _in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the answer; a page does not wait long for a database that is away.

    Raises:
        DatabaseUnavailable: It took too long.
    """
    if not errors.bounded(request):
        return await handler(request)
    try:
        async with asyncio.timeout(errors.SECONDS):
            return await handler(request)
    except TimeoutError:
        raise DatabaseUnavailable(f"a page was not there within {errors.SECONDS:.0f} s") from None
