"""Answers in the API's shape, whatever went wrong."""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from roadvault_common.errors import DiskFull, TransientError, brief
from roadvault_common.web.guards import refusal
from roadvault_common.web.traced import route_of
from roadvault_ingest.problems import Locked, NoLength, NoRoom, Problem, TooLarge, Unavailable
from roadvault_ingest.uploads.names import shown

log = structlog.get_logger()

_WORDS = {404: "no_such_path", 413: TooLarge.error}
"""For what aiohttp refuses by itself."""

PROBLEM = web.RequestKey("problem", Problem)
"""What a request was refused for, once that is answered."""


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn what handlers raise into the API's shape."""
    try:
        return await handler(request)
    except Problem as problem:
        request[PROBLEM] = problem
        response = refusal(problem.status, problem.error, brief(problem), problem.retry_after)
        response.headers.update(problem.headers)
        if not request.content.is_eof() or isinstance(problem, NoLength):
            response.force_close()  # the rest of the body may never come: no other request can follow it
        return response
    except DiskFull:
        return refusal(507, NoRoom.error, "the disk is full; try again later", 60)
    except TransientError as error:
        log.warning("request failed", route=route_of(request), error=brief(error))
        # tus-js-client, and so Uppy, takes any other error than 423 for the end of an upload that it asks for, and
        # begins it anew.
        asks = request.method == hdrs.METH_HEAD and request.path.startswith("/api/open/files/")
        kind = Locked if asks else Unavailable
        return refusal(kind.status, kind.error, "not possible right now; try again", 5)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - redirects and the like are answers
            raise
        return _refused(request, error)
    except ConnectionError:  # the client hung up; aiohttp says so
        raise
    except Exception:  # a defect of ours: the client gets the API's shape for it, the log gets the trace
        log.exception("request failed", route=route_of(request))
        return refusal(500, "internal", "internal error; it has been logged")


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
