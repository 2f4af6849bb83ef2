"""Tokens of programs and accounts of people: made, shown, changed and ended by operators who have logged in."""

import asyncio
from typing import Any

from aiohttp import web

from roadvault_common.access import passwords, session_store, token_store, user_store
from roadvault_common.access.scopes import Role, Scope
from roadvault_common.access.tokens import checked_grant, checked_name, hash_of, new_token
from roadvault_common.errors import PermanentError
from roadvault_ingest.access.acts import note
from roadvault_ingest.access.who import current
from roadvault_ingest.fields import Fields
from roadvault_ingest.pages.office import PAGE, Office, number
from roadvault_ingest.pages.people.rows import token_row
from roadvault_ingest.pages.upkeep.forms import form_of, refusing
from roadvault_ingest.problems import Conflict, Problem

_PROVIDERS = "oidc:"
_LONGEST_DAYS = 36_500.0
_HASHED_AT_ONCE = 2
"""Passwords: each takes 64 MiB."""


def people_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of tokens and accounts."""
    page = People(office)
    return [
        web.get("/access", page.show),
        web.post("/access/token", page.make_token),
        web.post("/access/token/revoke", page.revoke),
        web.post("/access/user", page.add),
        web.post("/access/user/password", page.change_password),
        web.post("/access/user/role", page.change_role),
        web.post("/access/user/remove", page.remove),
    ]


class People:
    """One method for each act."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._db = office.db
        self._hashing = asyncio.Semaphore(_HASHED_AT_ONCE)

    async def show(self, request: web.Request) -> web.Response:
        """Show tokens and accounts, by pages."""
        after, since = number(request, "after") or 0, request.query.get("since", "")
        tokens = await token_store.listed(self._db, after, PAGE + 1)
        users = await user_store.listed(self._db, since, PAGE + 1)
        values: dict[str, Any] = {
            "tokens": [token_row(row) for row in tokens[:PAGE]],
            "more_tokens": tokens[PAGE - 1]["token_id"] if len(tokens) > PAGE else None,
            "users": users[:PAGE],
            "more_users": users[PAGE - 1]["name"] if len(users) > PAGE else None,
            "others": await session_store.of_the_provider(self._db),
            "scopes": [scope.value for scope in Scope],
            "roles": [role.value for role in Role],
            "shortest": passwords.SHORTEST,
            "makes": current().is_person,
            "notice": request.query.get("notice"),
        }
        return self._office.render(request, "people/people.html", **values)

    async def make_token(self, request: web.Request) -> web.StreamResponse:
        """Make a token, and show it, this once: only its hash is kept."""
        fields = await form_of(request, self._office)
        scopes = ",".join(scope.value for scope in Scope if fields.values.get(f"scope-{scope.value}"))
        token, days = new_token(), _days(fields.values.get("days"))
        hashed = hash_of(token)
        assert hashed is not None  # noqa: S101 - it is ours
        with refusing():
            name = checked_name(fields.text("name"))
            grant = checked_grant(scopes, _lines(fields, "cameras"), _lines(fields, "hosts"))
            await self._db.transact(lambda tx: token_store.create(tx, name, hashed, grant, days))
        note(subject=f"{name}: {', '.join(sorted(grant.scopes))}")
        response = self._office.render(
            request, "people/made.html", name=name, token=token, asks=Scope.REQUEST in grant.scopes
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        """End a token for good."""
        name = (await form_of(request, self._office, destroys=True)).text("name")
        with refusing():
            await self._db.transact(lambda tx: token_store.revoke(tx, name))
        note(subject=name)
        raise web.HTTPSeeOther("/access?notice=token_revoked_now")

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Make an account."""
        fields = await form_of(request, self._office)
        role = _role(fields)
        with refusing():
            name = checked_name(fields.text("name"))
            password = await self._hashed(fields, name)
            await self._db.transact(lambda tx: user_store.add(tx, name, role, password))
        note(subject=f"{name}: {role.value}")
        raise web.HTTPSeeOther("/access?notice=user_added")

    async def change_password(self, request: web.Request) -> web.StreamResponse:
        """Give an account another password; whoever is logged in with it is logged out."""
        fields = await form_of(request, self._office)
        name = fields.text("name")
        with refusing():
            password = await self._hashed(fields, name)
            await self._db.transact(lambda tx: user_store.change_password(tx, name, password))
        note(subject=name)
        raise web.HTTPSeeOther("/access?notice=password_changed")

    async def change_role(self, request: web.Request) -> web.StreamResponse:
        """Give an account another role."""
        fields = await form_of(request, self._office)
        name, role = _another(fields), _role(fields)
        with refusing():
            await self._db.transact(lambda tx: user_store.change_role(tx, name, role))
        note(subject=f"{name}: {role.value}")
        raise web.HTTPSeeOther("/access?notice=role_changed")

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Remove an account; of somebody whom the provider named, the sessions."""
        name = _another(await form_of(request, self._office, destroys=True))
        with refusing():
            if not name.startswith(_PROVIDERS):
                await self._db.transact(lambda tx: user_store.remove(tx, name))
            elif not await self._db.transact(lambda tx: session_store.end_named(tx, name)):
                raise PermanentError(f"{name} is not logged in")
        note(subject=name)
        raise web.HTTPSeeOther("/access?notice=user_removed")

    async def _hashed(self, fields: Fields, name: str) -> str:
        password = fields.values.get("password")
        if not isinstance(password, str) or password != fields.values.get("again"):
            raise Problem("the password was not typed twice in the same way; nothing was changed")
        async with self._hashing:
            return await asyncio.to_thread(passwords.hashed, password, name)


def _another(fields: Fields) -> str:
    """Return whose account is changed, which nobody does to their own: the last operator would be out."""
    name = fields.text("name")
    if name == current().name:
        raise Conflict("that is you: another operator does this, or `roadvault user`; nothing was changed")
    return name


def _role(fields: Fields) -> Role:
    try:
        return Role(fields.text("role"))
    except ValueError:
        raise Problem("role must be viewer or operator") from None


def _lines(fields: Fields, name: str) -> list[str]:
    text = fields.values.get(name)
    return [line.strip() for line in text.splitlines() if line.strip()] if isinstance(text, str) else []


def _days(text: object) -> float | None:
    if text in (None, ""):
        return None
    try:
        days = float(str(text))
    except ValueError:
        days = -1.0
    if not 0 < days <= _LONGEST_DAYS:
        raise Problem(f"days must be a number up to {_LONGEST_DAYS:.0f}, or nothing")
    return days
