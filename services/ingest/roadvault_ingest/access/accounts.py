"""Looks at names and passwords, and bounds how often they are tried."""

import asyncio

from roadvault_common.access import passwords, user_store
from roadvault_common.access.scopes import Role
from roadvault_common.access.session_store import Person
from roadvault_common.access.tokens import is_name
from roadvault_common.sql.db import Database
from roadvault_common.web.connections import counts_for
from roadvault_ingest.access import guess_store
from roadvault_ingest.access.refused import WrongPassword
from roadvault_ingest.problems import TooMany

_OF_BOTH, _OF_ADDRESS, _OF_NAME = 5, 30, 100
"""Tries within the window: of a name from an address, from an address, of a name. So a stranger who tries a name does
not shut out who has it, unless from a hundred places."""
_AT_ONCE, _WAITING = 2, 16
"""Passwords that are looked at at a time, each with 64 MiB, and that wait for it."""


class Accounts:
    """The accounts of our own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def person(self, name: str, password: str, peer: str) -> Person:
        """Return whose name and password these are.

        Raises:
            WrongPassword: Nobody's.
            TooMany: It was tried too often, or too much is tried at once.
            DatabaseUnavailable: That can't be told now.
        """
        name = name if is_name(name) else ""
        whose = {f"address {counts_for(peer)}": _OF_ADDRESS}
        if name:
            whose |= {f"name {name}": _OF_NAME, f"{name} from {counts_for(peer)}": _OF_BOTH}
        # Counted before it is looked at: of many that are tried at once, no more get through.
        counted = await self._db.transact(lambda tx: guess_store.count(tx, list(whose)))
        if any(counted[one] > most for one, most in whose.items()):
            raise TooMany("too many wrong passwords; try again later", guess_store.WINDOW_SECONDS)
        row = await user_store.find(self._db, name) if name else None
        if not await self._right(None if row is None else row["password"], password) or row is None:
            raise WrongPassword(None if row is None else name)
        await guess_store.forgive(self._db, list(whose))
        return Person(name, Role(row["role"]), row["user_id"], peer)

    async def forget_old(self) -> None:
        """Remove counts that are over."""
        await guess_store.remove_old(self._db)

    async def _right(self, kept: str | None, password: str) -> bool:
        if self._waiting >= _WAITING:
            raise TooMany("too many log-ins at once; try again in a moment", 5)
        self._waiting += 1
        try:
            async with self._room:
                return await asyncio.to_thread(passwords.right, kept, password)
        finally:
            self._waiting -= 1
