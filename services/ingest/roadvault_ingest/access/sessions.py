"""Sessions of people: what their browsers' cookies stand for."""

import hashlib
import re
import secrets
from urllib.parse import urlsplit

from aiohttp import web

from roadvault_common.access import session_store as store
from roadvault_common.access.session_store import Life, Person, Session
from roadvault_common.sql.db import Database
from roadvault_ingest.access.cache import Cache
from roadvault_ingest.access.config import AccessSettings
from roadvault_ingest.pages.render import renews

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, settings: AccessSettings, db: Database) -> None:
        self._db = db
        self._life = Life(settings.session_idle_seconds, settings.session_seconds)
        self._recheck = settings.oidc_recheck_seconds
        self._secure = urlsplit(settings.intranet_url).scheme == "https"
        # A browser takes such a name only from this very host, over TLS, for all of its paths.
        self._cookie = "__Host-roadvault" if self._secure else "roadvault"
        self._known: Cache[Session] = Cache(lambda key: store.find(db, key))
        self._used: set[int] = set()

    async def find(self, request: web.Request) -> Session | None:
        """Return the session that a request belongs to; a page that renews itself does not keep it from ending.

        Raises:
            DatabaseUnavailable: That can't be told now.
        """
        key = self._key(request)
        session = None if key is None else await self._known.get(key)
        if session is not None and not renews(request):
            self._used.add(session.session_id)
        return session

    def due(self, session: Session, times: int = 1) -> bool:
        """Tell whether the provider has to say anew who somebody is; with 2 for `times`, whether it is too late."""
        return session.vouched_seconds is not None and session.vouched_seconds >= times * self._recheck

    async def begin(self, request: web.Request, response: web.StreamResponse, person: Person) -> None:
        """Begin a session in place of the one that there may be; the response takes it to the browser."""
        await self.end(request, response)
        secret = secrets.token_urlsafe(32)
        await self._db.transact(lambda tx: store.begin(tx, _hash(secret), person, self._life))
        response.set_cookie(self._cookie, secret, path="/", httponly=True, secure=self._secure, samesite="Lax")

    async def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the session that a request belongs to, if any."""
        key = self._key(request)
        if key is not None:
            await store.end(self._db, key)
            self._known.forget(key)
        response.del_cookie(self._cookie, path="/", httponly=True, secure=self._secure, samesite="Lax")

    async def note_uses(self) -> None:
        """Have those that were used go on."""
        if self._used:
            await store.used(self._db, sorted(self._used), self._life)
            self._used.clear()

    async def remove_ended(self) -> None:
        """Remove those that are over."""
        while await store.remove_ended(self._db) == store.AT_ONCE:
            pass

    def _key(self, request: web.Request) -> bytes | None:
        secret = request.cookies.get(self._cookie, "")
        return _hash(secret) if _SECRET.fullmatch(secret) else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
