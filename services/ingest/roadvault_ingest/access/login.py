"""Pages to log in and out. They work without scripts, and what goes wrong is a page, too."""

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from aiohttp import web

from roadvault_common import metrics
from roadvault_common.access.session_store import Person
from roadvault_common.access.tokens import Grant
from roadvault_common.errors import TransientError, brief
from roadvault_common.plain import plain
from roadvault_ingest.access.accounts import Accounts
from roadvault_ingest.access.acts import ActLog
from roadvault_ingest.access.oidc import BadLogin, NotBegun, Oidc, ProviderAway
from roadvault_ingest.access.refused import WrongPassword
from roadvault_ingest.access.sessions import Sessions
from roadvault_ingest.access.who import ANYBODY, Kind, Who
from roadvault_ingest.clients import client_of
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.fields import request_fields
from roadvault_ingest.pages.render import Renderer
from roadvault_ingest.problems import Problem, TooMany

log = structlog.get_logger()

_ACT = "log in"


class Login:
    """One method for each page."""

    def __init__(
        self, settings: IngestSettings, sessions: Sessions, accounts: Accounts, oidc: Oidc | None, acts: ActLog
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._accounts = accounts
        self._oidc = oidc
        self._acts = acts
        self._peer = partial(client_of, proxies=settings.proxy_networks)
        self._renderer = Renderer(auth=settings.auth)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes; they lead on where nobody has to log in."""
        return [
            web.get("/login", self._told(self._form)),
            web.post("/login", self._told(self._log_in)),
            web.get("/login/oidc", self._told(self._to_the_provider)),
            web.get("/login/callback", self._told(self._from_the_provider)),
            web.post("/logout", self._told(self._log_out)),
        ]

    def _told(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Have what goes wrong told on the page."""

        async def told(request: web.Request) -> web.StreamResponse:
            if not self._settings.auth:
                raise web.HTTPSeeOther("/")
            try:
                return await handler(request)
            except BadLogin as error:
                return await self._refuse(request, error)
            except (ProviderAway, TransientError) as error:
                log.warning("log-in failed", error=brief(error))
                return self._page(request, "login_away", 503)
            except TooMany as error:
                self._refused(request, "guesses", str(error))
                response = self._page(request, "login_too_many", error.status)
                response.headers["Retry-After"] = str(error.retry_after)
                return response
            except Problem:
                return self._page(request, "login_wrong", 403)

        return told

    async def _form(self, request: web.Request) -> web.StreamResponse:
        if await self._sessions.find(request) is not None:
            raise web.HTTPSeeOther(_ours(request.query.get("next", "/")))
        return self._page(request, None)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        fields = (await request_fields(request, self._settings)).values
        name, password = (str(fields.get(key, "")) for key in ("name", "password"))
        try:
            person = await self._accounts.person(name.strip(), password, self._peer(request))
        except WrongPassword as wrong:
            # What was typed for a name may be a password: only a name that there is goes into the log.
            self._refused(request, "password", "wrong password" if wrong.account else "no such name", wrong.account)
            raise
        return await self._begin(request, person, request.query.get("next", "/"))

    async def _to_the_provider(self, request: web.Request) -> web.StreamResponse:
        if self._oidc is None:
            raise web.HTTPSeeOther("/login")
        response = web.HTTPSeeOther("/")
        if await self._sessions.find(request) is not None and not await self._oidc.answers():
            raise ProviderAway("the provider, which has to say anew who somebody is, does not answer")
        await self._oidc.begin(response, _ours(request.query.get("next", "/")))
        raise response

    async def _from_the_provider(self, request: web.Request) -> web.StreamResponse:
        if self._oidc is None:
            raise web.HTTPSeeOther("/login")
        person, wanted = await self._oidc.person(request, self._peer(request))
        return await self._begin(request, person, wanted)

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        session = await self._sessions.find(request)
        response = web.HTTPSeeOther("/login?notice=logged_out")
        await self._sessions.end(request, response)
        if session is not None:
            await self._acts.done(_who(session.name), self._peer(request), "log out")
        raise response

    async def _begin(self, request: web.Request, person: Person, wanted: str) -> web.StreamResponse:
        response = web.HTTPSeeOther(_ours(wanted))
        await self._acts.done(_who(person.name), self._peer(request), _ACT, f"as {person.role.value}")
        await self._sessions.begin(request, response, person)
        if self._oidc is not None:
            self._oidc.forget(response)
        raise response

    async def _refuse(self, request: web.Request, error: BadLogin) -> web.StreamResponse:
        """Tell that the provider lets somebody in no more; a session by its word ends with that."""
        session = await self._sessions.find(request)
        if isinstance(error, NotBegun) and session is not None:
            raise web.HTTPSeeOther("/")  # they have begun twice, on two pages, and the other one has come back
        self._refused(request, "oidc", str(error))
        if session is None or session.vouched_seconds is None:
            return self._page(request, "login_refused", 403)
        response = self._page(request, "login_ended", 403)
        await self._sessions.end(request, response)
        return response

    def _refused(self, request: web.Request, why: str, told: str, name: str | None = None) -> None:
        metrics.REFUSED.labels(why).inc()
        self._acts.refused(ANYBODY if name is None else _who(name), self._peer(request), _ACT, plain(told))

    def _page(self, request: web.Request, wrong: str | None, status: int = 200) -> web.Response:
        wanted = _ours(request.query.get("next", "/"))
        return self._renderer.render(
            request,
            "access/login.html",
            status=status,
            wrong=wrong,
            wanted=wanted,
            oidc=self._oidc is not None,
            notice=request.query.get("notice"),
        )


def _who(name: str) -> Who:
    return Who(Kind.PERSON, name, Grant(frozenset()))


def _ours(wanted: str) -> str:
    """Return a path of ours to go on at; of anything else, the first page."""
    ours = wanted.startswith("/") and wanted[1:2] not in {"/", "\\"} and wanted.isascii() and wanted.isprintable()
    return wanted if ours else "/"
