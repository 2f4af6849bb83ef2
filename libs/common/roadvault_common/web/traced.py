"""Requests as spans, where traces are on: they go on a client's trace, if it names one, and every answer names it."""

from aiohttp import hdrs, web

from roadvault_common.tracing import spans
from roadvault_common.web.health import PATHS, RequestHandler

_STATUS = "http.response.status_code"
_METHODS = frozenset(hdrs.METH_ALL)
_ANSWER = "traceresponse"
"""The W3C's name for it (drafts of Trace Context, level 2), and the only one that tools other than ours may know."""
_KEY: web.RequestKey[str | None] = web.RequestKey("trace")


def route_of(request: web.Request) -> str:
    """Return the pattern of a request's route, such as /d/{token}: the path itself may be a secret, and has no end."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


@web.middleware
async def traced(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Make a request a span, below the client's if it says so; those for the health of the service are none."""
    if request.path in PATHS:
        return await handler(request)
    method, route = request.method if request.method in _METHODS else "_OTHER", route_of(request)
    parent = spans.read(request.headers.getall("traceparent", ()))
    facts = {"http.request.method": method, "http.route": route}
    with spans.span(f"{method} {route}", kind="server", parent=parent or spans.ROOT, facts=facts) as span:
        request[_KEY] = spans.current()
        try:
            response = await handler(request)
        except web.HTTPException as error:
            span.note({_STATUS: error.status})
            raise
        span.note({_STATUS: response.status})
        if response.status >= 500:  # noqa: PLR2004 - ours, not the client's
            span.fail(str(response.status))
        return response


async def name_trace(request: web.Request, response: web.StreamResponse) -> None:
    """Name the trace in an answer."""
    if (parent := request.get(_KEY)) is not None:
        response.headers[_ANSWER] = parent
