"""Somebody who has logged in to an ingest that asks who they are, and sits before its forms."""

import asyncio
from dataclasses import dataclass

import pytest
from servers_access import Guarded

from roadvault_common.access import passwords, user_store
from roadvault_common.access.scopes import Role
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database, Row

WORDS = "correct horse battery staple"


@dataclass
class Seat:
    """The pages, as a person's browser asks for them."""

    guarded: Guarded
    vault: Vault

    @property
    def db(self) -> Database:
        return self.guarded.db

    async def enter(self, name: str, role: Role = Role.OPERATOR) -> None:
        """Log in with a new account."""
        hashed = await asyncio.to_thread(passwords.hashed, WORDS, name)
        await self.db.transact(lambda tx: user_store.add(tx, name, role, hashed))
        await self.log_in(name)

    async def log_in(self, name: str, password: str = WORDS) -> int:
        return (await self.post("/login", name=name, password=password))[0]

    async def get(self, path: str, language: str = "en") -> str:
        async with self.guarded.http.get(self.guarded.url + path, headers={"Accept-Language": language}) as response:
            assert response.status == 200, await response.text()
            return await response.text()

    async def post(self, path: str, site: str = "same-origin", **fields: str) -> tuple[int, str]:
        named = {name.replace("pick_", "pick-").replace("scope_", "scope-"): value for name, value in fields.items()}
        headers = {"Sec-Fetch-Site": site, "Accept": "text/html"}
        async with self.guarded.http.post(self.guarded.url + path, data=named, headers=headers) as response:
            return response.status, await response.text()

    async def acts(self) -> list[Row]:
        """Return what was written down of acts, but for log-ins and refusals at the door."""
        found = await self.guarded.acts()
        return [row for row in found if row["act"] not in ("log in", "log out", "refused")]

    async def last(self) -> tuple[str, str, str]:
        """Return who did which act last, on what, and how it ended."""
        row = (await self.acts())[-1]
        return f"{row['name']}: {row['act']}", row["subject"], row["outcome"]


@pytest.fixture
async def seat(guarded: Guarded) -> Seat:
    """An operator before the pages."""
    found = Seat(guarded, Vault(guarded.ingest.settings.data_dir))
    await found.enter("anna")
    return found
