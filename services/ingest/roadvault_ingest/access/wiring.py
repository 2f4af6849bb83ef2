"""Puts together what asks who somebody is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from aiohttp import web

from roadvault_common import metrics
from roadvault_common.loops import repeat
from roadvault_common.sql.db import Database
from roadvault_ingest.access.accounts import Accounts
from roadvault_ingest.access.acts import ActLog
from roadvault_ingest.access.audit import AuditPage
from roadvault_ingest.access.guard import Guard
from roadvault_ingest.access.login import Login
from roadvault_ingest.access.oidc import Oidc
from roadvault_ingest.access.sessions import Sessions
from roadvault_ingest.clients import client_of
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.pages.render import Renderer

_NOTE_SECONDS = 60
_REMOVE_SECONDS = 3600


class Access:
    """Guards the routes of ingest, has those to log in, and does what there is to do besides."""

    def __init__(self, settings: IngestSettings, db: Database) -> None:
        self._on = settings.auth
        renderer = Renderer(auth=settings.auth)
        self.log = ActLog(db, settings.acts_days)
        self.sessions = Sessions(settings, db)
        peer = partial(client_of, proxies=settings.proxy_networks)
        oidc = None if settings.oidc_issuer is None else Oidc(settings)
        self.guard = Guard(db, self.sessions, self.log, peer, oidc, on=settings.auth)
        self._accounts = Accounts(db)
        login = Login(settings, self.sessions, self._accounts, oidc, self.log)
        for why in ("unknown", "forbidden", "password", "guesses", "oidc"):
            metrics.REFUSED.labels(why)  # begins at 0, so that the first is seen
        self.own_routes = [*login.routes(), *AuditPage(db, renderer).routes()]

    def routes(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """Return all routes that there are to be, each of them guarded: those, and our own."""
        return self.guard.routes([*routes, *self.own_routes])

    def jobs(self) -> list[Callable[[asyncio.Event], Awaitable[None]]]:
        """Return what goes on beside the requests."""
        notes = [self.guard.note_uses, self.log.write_refused] if self._on else []
        removes: list[Callable[[], Awaitable[None]]] = [
            self.log.remove_old,
            self.sessions.remove_ended,
            self._accounts.forget_old,
        ]
        return [
            *(partial(repeat, note, seconds=_NOTE_SECONDS) for note in notes),
            *(partial(repeat, remove, seconds=_REMOVE_SECONDS) for remove in removes),
        ]
