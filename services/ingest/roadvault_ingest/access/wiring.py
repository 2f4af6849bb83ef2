"""Puts together what asks who somebody is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from aiohttp import web

from roadvault_common.loops import repeat
from roadvault_common.sql.db import Database
from roadvault_ingest.access.acts import ActLog
from roadvault_ingest.access.config import AccessSettings
from roadvault_ingest.access.guard import Guard
from roadvault_ingest.pages.render import Renderer

_NOTE_SECONDS = 60
_REMOVE_SECONDS = 3600


class Access:
    """Guards the routes of ingest, and does what there is to do besides."""

    def __init__(self, settings: AccessSettings, db: Database) -> None:
        self._on = settings.auth
        self.log = ActLog(db, settings.acts_days)
        self.guard = Guard(db, self.log, Renderer(auth=settings.auth), on=settings.auth)

    def routes(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """Return all routes that there are to be, each of them guarded."""
        return self.guard.routes(routes)

    def jobs(self) -> list[Callable[[asyncio.Event], Awaitable[None]]]:
        """Return what goes on beside the requests."""
        if not self._on:
            return [partial(repeat, self.log.remove_old, seconds=_REMOVE_SECONDS)]
        return [
            partial(repeat, self.guard.note_uses, seconds=_NOTE_SECONDS),
            partial(repeat, self.log.write_refused, seconds=_NOTE_SECONDS),
            partial(repeat, self.log.remove_old, seconds=_REMOVE_SECONDS),
        ]
