"""One identity for database and data directory: where they don't belong together, nothing is served or swept.

Both have it, and a mark that ingest moves on, about once a minute if something was recorded: first in the database,
then in the directory's `identity.json`. So a directory is never ahead of its database, and one that is tells that the
database went back in time: a dump was restored. A dump that is younger than the last mark is not noticed so; what its
rows don't name falls to quarantine.

Each store has a data directory, and so an identity and a mark, of its own.

A dump that is restored together with its `identity.json` is not noticed at all: `numbers.py` is for that.
"""

import asyncio
import os
import secrets
import time
from pathlib import Path

import structlog
from pydantic import BaseModel, Field, ValidationError

from roadvault_common.errors import DatabaseUnavailable, IdentityMismatch
from roadvault_common.files import identity_store as store
from roadvault_common.files.new_file import replace
from roadvault_common.files.numbers import MARGIN, keep_ahead
from roadvault_common.files.quarantine import QUARANTINE
from roadvault_common.files.vault import SWEPT
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.stores import MAIN

log = structlog.get_logger()

FILE = "identity.json"
"""Its name in the data directory."""
_MARK_SECONDS = 60.0
_LOOKS = 3
"""A directory that seems too old is looked at again: between two looks at both sides the mark may have moved on."""
_SAMPLE = 100
"""Paths that are looked for on the disk before a directory without identity is taken for the database's."""
_WHAT_TO_DO = (
    "nothing is served or removed until the right one is back, or `roadvault identity adopt` accepts what is there;"
    " `roadvault identity` shows both sides"
)
_CUT_OFF = "a recovery into this database is under way, or was cut off: run `roadvault recover` again until its end"
_UNTIL_THEN = (
    "nothing is served or removed until then. `roadvault identity adopt`, the last resort, accepts what is there,"
    " without what is still missing"
)


class Stamp(BaseModel):
    """What `identity.json` says: whose directory it is, and how far the database had come."""

    identity: str = Field(pattern="^[0-9a-f]{32}$")
    mark: int = Field(ge=0)
    store: str = MAIN
    """Whose directory it is."""
    given_out: dict[str, int] = {}
    """The highest ids that are known to have been given out, by their columns' names."""


class Identity:
    """Looks at both sides; ingest's moves the mark on, and one that only looks (a read-only disk) makes nothing."""

    def __init__(
        self, db: Database, root: Path, store: str = MAIN, *, moves_on: bool = False, only_looks: bool = False
    ) -> None:
        self._db = db
        self._root = root
        self._name = store
        self._moves_on = moves_on
        self._only_looks = only_looks
        self._moved_at = float("-inf")

    async def settle(self) -> None:
        """See that both sides belong together; where one has no identity yet, give it one, if that is sure.

        Raises:
            IdentityMismatch: They don't.
            TransientError: It can't be told now, or is not for this service to make.
        """
        if not self._only_looks:
            await store.register(self._db, self._name)
        stamp, row = await self._both()
        if not self._only_looks and (stamp is None or row is None):
            if row is None:
                if stamp is not None:
                    raise _mismatch("the data directory has an identity, the database has none: it is new, or older")
                await self._check_local(self._db)
                await store.make(self._db, secrets.token_hex(16), self._name)
            await self._db.transact(self._make_stamp)
        elif stamp is None and (row is None or (row["identity"] and row["mark"] == 0)):
            raise DatabaseUnavailable("database and data directory have no identity yet: who writes makes it")
        await self.look()

    async def look(self) -> None:
        """See that both sides still belong together; move the mark on when it is time.

        Raises:
            IdentityMismatch: They don't.
            TransientError: It can't be told now.
        """
        await self._look()
        if not self._only_looks:
            await keep_ahead(self._db)
        if self._moves_on and time.monotonic() - self._moved_at >= _MARK_SECONDS:
            await self.move_on()
            self._moved_at = time.monotonic()

    async def move_on(self) -> None:
        """Move the mark on if something was recorded since, durably: first the database's, then the directory's.

        Raises:
            IdentityMismatch: They don't belong together.
        """
        given_out = await store.given_out(self._db)
        try:
            if await self._db.transact(lambda tx: self._move_database(tx, given_out)):
                await self._db.transact(lambda tx: self._move_directory(tx, given_out))
        except IdentityMismatch:
            await self._look()  # another process moved both just now, at another node of a cluster; or so it is

    async def _look(self) -> None:
        for _ in range(_LOOKS):
            trouble = trouble_between(*await self._both(), self._name)
            if trouble is None:
                return
        raise _mismatch(trouble or "")

    async def _both(self) -> tuple[Stamp | None, Row | None]:
        # In this order the directory's mark is never seen ahead of the database's, as long as all is well.
        stamp = await asyncio.to_thread(read_stamp, self._root)
        await self._db.catch_up()
        return stamp, await store.read(self._db, self._name)

    async def _move_database(self, tx: Transaction, given_out: dict[str, int]) -> bool:
        stamp, row = await self._checked(tx)
        if row["mark"] == stamp.mark:
            if all(number <= stamp.given_out.get(name, 0) for name, number in given_out.items()):
                return False
            await store.move_on(tx, self._name)
        return True

    async def _move_directory(self, tx: Transaction, given_out: dict[str, int]) -> None:
        stamp, row = await self._checked(tx)
        if stamp.mark < row["mark"]:
            known = {name: max(number, stamp.given_out.get(name, 0)) for name, number in given_out.items()}
            new = Stamp(identity=stamp.identity, mark=row["mark"], store=self._name, given_out=known)
            await asyncio.to_thread(_write, self._root, new)

    async def _checked(self, tx: Transaction) -> tuple[Stamp, Row]:
        """Return both sides; whoever writes the directory's has to hold the lock on the database's."""
        row = await store.lock(tx, self._name)
        stamp = await asyncio.to_thread(read_stamp, self._root)
        if (trouble := trouble_between(stamp, row, self._name)) is not None or stamp is None or row is None:
            raise _mismatch(trouble or "")
        return stamp, row

    async def _make_stamp(self, tx: Transaction) -> None:
        row = await store.lock(tx, self._name)
        if row is None or not row["identity"] or await asyncio.to_thread(read_stamp, self._root) is not None:
            return  # `look` tells
        if row["mark"] > 0:
            raise _mismatch(
                f"the database has an identity, {self._root} has none: it is not this database's, or not mounted"
            )
        await self._check_local(tx)
        stamp = Stamp(identity=row["identity"], mark=0, store=self._name)
        await asyncio.to_thread(_write, self._root, stamp)
        log.info("database and data directory have an identity", identity=stamp.identity, data_dir=str(self._root))

    async def _check_local(self, db: Database | Transaction) -> None:
        """See that a directory without identity may be the database's: both are empty, or what rows name is there."""
        paths = await store.local_paths(db, _SAMPLE, self._name)
        if not await store.has_rows(db, self._name) and await asyncio.to_thread(_has_files, self._root):
            raise _mismatch(f"the database has nothing of the store {self._name}, and {self._root} has files")
        if paths and not await asyncio.to_thread(lambda: any((self._root / path).exists() for path in paths)):
            raise _mismatch(f"of {len(paths)} files that the database names, {self._root} has none: is it mounted?")


class NoDirectory:
    """For services that see no data directory: they wait while a recovery works on the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def settle(self) -> None:
        """As `look`."""
        await self.look()

    async def look(self) -> None:
        """See that no recovery is under way, nor was cut off.

        Raises:
            IdentityMismatch: One is, or was.
            TransientError: It can't be told now.
        """
        row = await store.read(self._db)
        if row is not None and not row["identity"]:
            raise _mismatch(_CUT_OFF)
        await keep_ahead(self._db)


async def adopt(db: Database, root: Path, whose: str = MAIN) -> Stamp:
    """Accept the database for the directory, whatever they were; return what stands in both then.

    What it numbers goes on behind the highest number that either side knows, and MARGIN more. It is in doubt: no
    archive ends in it before a person allows that, so that holds and later ends can be brought back.
    """
    await keep_ahead(db)
    await store.register(db, whose)
    row, highest = await store.read(db, whose), await store.given_out(db)
    try:
        known = await asyncio.to_thread(read_stamp, root)
    except IdentityMismatch:  # it can't be read
        known = None
    before = known.given_out if known else {}
    given_out = {name: max(number, before.get(name, 0)) + MARGIN for name, number in highest.items()}
    for table, name in store.COUNTED.items():
        await store.go_on_behind(db, table, given_out[name])
    # A new identity: a database that was here before, and comes back, is refused as well.
    mark = 1 + max(known.mark if known else 0, row["mark"] if row else 0)
    stamp = Stamp(identity=secrets.token_hex(16), mark=mark, store=whose, given_out=given_out)
    await db.transact(lambda tx: store.replace(tx, stamp.identity, stamp.mark, whose))

    async def write(tx: Transaction) -> None:
        await store.lock(tx, whose)
        await asyncio.to_thread(_write, root, stamp)

    await db.transact(write)
    return stamp


def trouble_between(stamp: Stamp | None, row: Row | None, name: str = MAIN) -> str | None:
    """Return what keeps the two sides of a store apart, or None if nothing does."""
    if row is not None and not row["identity"]:
        return _CUT_OFF
    return _other_store(stamp, row, name) or _other_time(stamp, row)


def _other_store(stamp: Stamp | None, row: Row | None, name: str) -> str | None:
    if row is not None and row["lost"]:
        return f"the store {name} was written off as lost: `roadvault store adopt` takes it back"
    if stamp is not None and stamp.store != name:
        return f"the data directory is that of the store {stamp.store}, and ROADVAULT_STORE says {name}"
    return None


def _other_time(stamp: Stamp | None, row: Row | None) -> str | None:
    if stamp is None or row is None:
        return f"{'the data directory' if stamp is None else 'the database'} has no identity, or has lost it"
    if stamp.identity != row["identity"]:
        return f"the data directory belongs to the database {stamp.identity}, this one is {row['identity']}"
    if stamp.mark > row["mark"]:
        return (
            f"the database went back in time: the data directory has seen it at mark {stamp.mark}, it is at"
            f" {row['mark']} (a dump was restored)"
        )
    if stamp.mark + 1 < row["mark"]:
        return f"the data directory is an old copy: its mark is {stamp.mark}, the database's {row['mark']}"
    return None


def _mismatch(trouble: str) -> IdentityMismatch:
    return IdentityMismatch(f"{trouble}; {_UNTIL_THEN if trouble == _CUT_OFF else _WHAT_TO_DO}")


def read_stamp(root: Path) -> Stamp | None:
    """Return what the directory's file says, or None if it has none. Blocks.

    Raises:
        IdentityMismatch: It can't be understood.
    """
    try:
        return Stamp.model_validate_json((root / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise _mismatch(f"{root / FILE} can't be understood") from None


def _write(root: Path, stamp: Stamp) -> None:
    replace(root / FILE, stamp.model_dump_json(indent=1).encode() + b"\n")


def _has_files(root: Path) -> bool:
    return any(names for directory in (*SWEPT, QUARANTINE) for _, _, names in os.walk(root / directory))
