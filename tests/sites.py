"""A listener of a test's own, as services open theirs; and the page of another site."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Middleware

from roadvault_common.web.connections import Limits
from roadvault_common.web.listener import Listener, open_site


@asynccontextmanager
async def site(
    routes: Sequence[web.AbstractRouteDef],
    middlewares: Sequence[Middleware] = (),
    drain_seconds: float = 0.1,
    limits: Limits = Limits(),  # noqa: B008 - it can't be changed
    port: int = 0,
) -> AsyncIterator[str]:
    """Serve `routes` and yield the base URL; at the end requests in hand have `drain_seconds` to finish."""
    listener = Listener(routes, "127.0.0.1", port, limits)
    async with open_site(listener, middlewares, drain_seconds, asyncio.Event()) as opened:
        yield opened.url
        await opened.drain()


PAGE = "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>portal</title>"


@asynccontextmanager
async def portal() -> AsyncIterator[str]:
    """Serve a page of another site than those at 127.0.0.1."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async with site([web.get("/", page)]) as url:
        yield url.replace("127.0.0.1", "localhost")
