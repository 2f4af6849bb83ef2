"""A new database takes a data directory over, whose own is lost: numbers go on behind those that were given out."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from roadvault_common.catalogue import left_out
from roadvault_common.errors import IdentityMismatch, PermanentError
from roadvault_common.files import identity as identities
from roadvault_common.files import identity_store, numbers
from roadvault_common.sql.db import Database

_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
"""Nothing was given out before."""


class Takeover:
    """Begins before there is any row, ends when all are there; may be killed and begun again in between."""

    def __init__(self, db: Database, root: Path) -> None:
        self._db = db
        self._root = root

    async def owner(self) -> str | None:
        """Return the identity of the database that loses the directory to this new one; None if none does.

        Raises:
            IdentityMismatch: The database is another directory's, or went back in time.
        """
        stamp = await asyncio.to_thread(identities.read_stamp, self._root)
        return stamp.identity if stamp is not None and await self._is_new() else None

    async def begin(self, catalogue: Mapping[str, int], *given_out: Mapping[str, int]) -> None:
        """Have new numbers be higher than any that was given out, before there is a row that a service could serve.

        These are the highest that the catalogue, if there is one, and other sources know, besides the directory, by the
        names of their columns. A new database is no service's until the end; in one that services have begun with,
        numbers are raised as well if a source knows higher ones. No archive ends in either before a person has looked.

        Raises:
            IdentityMismatch: As `owner` does.
        """
        if await self._is_new() and await identity_store.read(self._db) is None:
            await identity_store.make(self._db, "")
        new = await self._is_new()  # a service may have been quicker
        stamp = await asyncio.to_thread(identities.read_stamp, self._root)
        sources = [catalogue, *given_out, stamp.given_out if stamp else {}]
        if new and stamp is None and not catalogue:
            sources.append(dict.fromkeys(identity_store.COUNTED.values(), _by_the_clock()))
        known = {name: max(one.get(name, 0) for one in sources) for name in identity_store.COUNTED.values()}
        if not new:
            await numbers.keep_ahead(self._db)
        await numbers.go_on_behind(self._db, known, new=new)
        if not new:
            await identity_store.doubt(self._db)

    async def end(self) -> None:
        """Have database and directory belong together, if the database was new: services go on by themselves then.

        Raises:
            PermanentError: A recovery from the catalogue was cut short, and this one did not go on with it.
        """
        if not await self._is_new():
            return
        if (missing := await left_out.cut_short(self._db)) is not None:
            raise PermanentError(
                f"services wait on: a recovery before this one was cut short, and has not read {missing}. Run it again"
                " with its source, as `roadvault recover --catalogue`; or give these up (`roadvault status` lists them,"
                " `recover --without CID`), and run this again"
            )
        await identities.adopt(self._db, self._root)

    async def _is_new(self) -> bool:
        stamp = await asyncio.to_thread(identities.read_stamp, self._root)
        row = await identity_store.read(self._db)
        if row is None or not row["identity"]:
            return True
        if (trouble := identities.trouble_between(stamp, row)) is not None:
            raise IdentityMismatch(
                f"{trouble}; recover into a new database (`roadvault migrate` makes its tables), or, if this one is to"
                " stay, accept it first: `roadvault identity`"
            )
        return False


def _by_the_clock() -> int:
    """Return a number behind all that can have been given out by now, also after other recoveries without a catalogue.

    Of a machine and a catalogue that are lost nobody knows what they gave out.
    """
    return int((datetime.now(UTC) - _SINCE).total_seconds() * numbers.MOST_A_SECOND)
