"""Asks who sends a request, and whether they may do this, before its route's handler sees it."""

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote

from aiohttp import hdrs, web

from roadvault_common import metrics
from roadvault_common.access import token_store
from roadvault_common.access.session_store import Session
from roadvault_common.access.tokens import Grant, hash_of
from roadvault_common.sql.db import Database
from roadvault_common.web.guards import OTHER_ORIGIN
from roadvault_common.web.health import RequestHandler
from roadvault_common.web.traced import route_of
from roadvault_ingest.access.acts import ActLog
from roadvault_ingest.access.cache import Cache
from roadvault_ingest.access.oidc import Oidc
from roadvault_ingest.access.refused import NotAllowed, Unknown
from roadvault_ingest.access.routes import Rule, rule_of
from roadvault_ingest.access.sessions import Sessions
from roadvault_ingest.access.who import ANYBODY, WHO, Kind, Who
from roadvault_ingest.answers import PROBLEM
from roadvault_ingest.pages.errors import error_page
from roadvault_ingest.pages.render import renews

_SUBJECTS = {"file_id": "file", "zip_id": "archive", "download_id": "request"}
"""What an act is done to, by the part of its route that has the number."""
Expect = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class Guard:
    """Lets in who has a token or a session; `on` tells whether anybody is asked at all."""

    def __init__(
        self,
        db: Database,
        sessions: Sessions,
        log: ActLog,
        peer: Callable[[web.Request], str],
        provider: Oidc | None = None,
        *,
        on: bool,
    ) -> None:
        self._db = db
        self._sessions = sessions
        self._log = log
        self._peer = peer
        self._provider = provider
        self._on = on
        self._tokens: Cache[Who] = Cache(self._token)
        self._used: set[int] = set()

    def routes(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """Return routes that ask what the table says; if nobody is asked, as they are, but that acts are written down.

        Raises:
            LookupError: The table lacks one: none is served whose rule nobody has thought of.
        """
        ruled = [(route, rule_of(route)) for route in routes]
        if self._on:
            return [self._guarded(route, rule) if rule.scope else route for route, rule in ruled]
        return [self._noted(route, rule) if rule.page and rule.act else route for route, rule in ruled]

    async def note_uses(self) -> None:
        """Write down which tokens were used since the last time."""
        if self._used:
            await token_store.used(self._db, sorted(self._used))
            self._used.clear()
        await self._sessions.note_uses()

    def _noted(self, route: web.RouteDef, rule: Rule) -> web.RouteDef:
        """Return the route of an act of anybody's; of what takes somebody who has logged in, one that refuses it."""

        async def handler(request: web.Request) -> web.StreamResponse:
            async with self._note(ANYBODY, request, rule.act or ""):
                _check(ANYBODY, rule)
                return await route.handler(request)

        return web.RouteDef(route.method, route.path, handler, route.kwargs)

    def _guarded(self, route: web.RouteDef, rule: Rule) -> web.RouteDef:
        inner: RequestHandler = route.handler
        asks: Expect = route.kwargs.get("expect_handler", _ask_for_the_body)

        async def handler(request: web.Request) -> web.StreamResponse:
            who = ANYBODY
            try:
                who = await self._who(request, leads=rule.page and request.method == hdrs.METH_GET)
                _check(who, rule)
                reset = WHO.set(who)
                try:
                    if rule.act is None:
                        response = await inner(request)
                        refused = request.get(PROBLEM)  # tus answers what goes wrong by itself
                        if isinstance(refused, NotAllowed):
                            self._count(who, request, refused)
                        return response
                    async with self._note(who, request, rule.act):
                        return await inner(request)
                finally:
                    WHO.reset(reset)
            except (Unknown, NotAllowed) as refused:
                # A part of a page that renews itself is told plainly: whoever sits there is led by the next page.
                led = rule.page and hdrs.AUTHORIZATION not in request.headers and not renews(request)
                if not led or isinstance(refused, NotAllowed):  # to be led to the log-in is no refusal
                    self._count(who, request, refused)
                if led:
                    reset = WHO.set(who)
                    try:
                        return self._tell(request, refused)
                    finally:
                        WHO.reset(reset)
                raise

        async def expect(request: web.Request) -> web.StreamResponse | None:
            """Ask for the body, unless the handler is going to refuse it."""
            try:
                _check(await self._who(request), rule)
            except Exception:  # noqa: BLE001 - whatever it is, the handler meets it too, and says so
                return None
            return await asks(request)

        return web.RouteDef(route.method, route.path, handler, {**route.kwargs, "expect_handler": expect})

    async def _who(self, request: web.Request, *, leads: bool = False) -> Who:
        """Return who a request comes from; `leads` tells that a browser would follow where it is led.

        Raises:
            Unknown: Nobody that is known.
            DatabaseUnavailable: That can't be told now.
        """
        shown = request.headers.getall(hdrs.AUTHORIZATION, [])
        if shown:
            key = hash_of(_shown(shown[0])) if len(shown) == 1 else None
            who = None if key is None else await self._tokens.get(key)
            if who is None or who.token_id is None:
                raise Unknown("the token is not known, or it was revoked, or its time is over", shown=True)
            self._used.add(who.token_id)
            return who
        # Of a page of another origin it would not be the person who asks.
        session = None if OTHER_ORIGIN in request else await self._sessions.find(request)
        if session is not None:
            await self._recheck(session, leads=leads)
            return Who(Kind.PERSON, session.name, Grant(session.role.scopes))
        raise Unknown("send a token (Authorization: Bearer rvt_…), or log in at /login")

    async def _recheck(self, session: Session, *, leads: bool) -> None:
        """Lead somebody whom the provider named a while ago through it once more; it asks for nothing if they are in.

        Raises:
            Unknown: It has not said for too long that they still are who they were, or can say so now.
        """
        if not self._sessions.due(session):
            return
        there = leads and self._provider is not None and await self._provider.answers()
        if there or self._sessions.due(session, 2) or self._provider is None:
            login = "/login" if self._provider is None else "/login/oidc"
            raise Unknown("the provider has to say once more who you are: open a page", login=login)

    async def _token(self, key: bytes) -> Who | None:
        token = await token_store.find(self._db, key)
        return None if token is None else Who(Kind.TOKEN, token.name, token.grant, token.token_id)

    def _note(self, who: Who, request: web.Request, act: str) -> AbstractAsyncContextManager[None]:
        named = (f"{what} {request.match_info[key]}" for key, what in _SUBJECTS.items() if key in request.match_info)
        return self._log.noted(who, self._peer(request), act, next(named, ""))

    def _count(self, who: Who, request: web.Request, refused: Unknown | NotAllowed) -> None:
        metrics.REFUSED.labels("unknown" if isinstance(refused, Unknown) else "forbidden").inc()
        self._log.refused(who, self._peer(request), f"{request.method} {route_of(request)}", str(refused))

    def _tell(self, request: web.Request, refused: Unknown | NotAllowed) -> web.StreamResponse:
        if isinstance(refused, NotAllowed):
            return error_page(request, refused.status, None)
        wanted = request.raw_path if request.method == hdrs.METH_GET else "/"
        raise web.HTTPSeeOther(f"{refused.login}?next={quote(wanted, safe='')}")


def _check(who: Who, rule: Rule) -> None:
    """See whether somebody may do what a route does.

    Raises:
        NotAllowed: They may not.
    """
    if rule.scope is not None and rule.scope not in who.grant.scopes:
        raise NotAllowed(f"this takes the scope {rule.scope.value}, which {who.name} does not have", rule.scope)
    if rule.logged_in and not who.is_person:
        raise NotAllowed(
            "this takes an operator who has logged in, where ROADVAULT_AUTH is on; else `roadvault` does it"
        )
    if rule.page and who.grant.cameras:
        raise NotAllowed(f"pages show the files of all cameras, and {who.name} is for some")


def _shown(header: str) -> str:
    """Return the token of an Authorization header; of Basic, which is all that some cameras can, the password."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _ask_for_the_body(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
