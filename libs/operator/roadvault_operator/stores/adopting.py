"""Takes a store back that was written off: with its disk, or what is left of that."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from roadvault_common.errors import IdentityMismatch, PermanentError, brief
from roadvault_common.files import identity as identities
from roadvault_common.files import identity_store, set_aside_store
from roadvault_common.files.identity import Stamp
from roadvault_common.files.set_aside import folders
from roadvault_common.files.vault import Vault
from roadvault_common.retention import asking
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import StoreState
from roadvault_common.work import stores
from roadvault_operator.mend import ring
from roadvault_operator.shell import console, say
from roadvault_operator.stores import lost_store, moving_store
from roadvault_operator.stores.adopt_store import AdoptStore
from roadvault_operator.verify import Verifier


@dataclass(frozen=True)
class Back:
    """What lies on the disk after all."""

    archives: int
    files: int


class Adopting:
    """A store, and its data directory."""

    def __init__(self, db: Database, root: Path, store: str) -> None:
        self._db = db
        self._root = root
        self._name = store
        self._vault = Vault(root, store)
        self._store = AdoptStore(db, store)

    async def check(self) -> None:
        """See that the directory is this store's.

        Raises:
            PermanentError: It is another's, or can't be read.
        """
        if not await asyncio.to_thread(self._root.is_dir):
            raise PermanentError(f"{self._root} is not there: it has to be the data directory of {self._name}")
        try:
            stamp = await asyncio.to_thread(identities.read_stamp, self._root)
        except IdentityMismatch as error:
            say(brief(error))
            return
        if stamp is not None and stamp.store != self._name:
            raise PermanentError(f"{self._root} is the data directory of {stamp.store}, not of {self._name}")

    async def take_back(self) -> Back:
        """Have what was lost and is there be the store's again: archives whole, other uploads set aside."""
        archives = files = last = 0
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("looking for what was lost", total=None)
            while rows := await self._store.archives(last):
                for row in rows:
                    archives += await self._archive(row)
                last = rows[-1]["zip_id"]
                progress.update(bar, description=f"{archives} archives are there")
            last = 0
            while rows := await lost_store.lost_files(self._db, self._name, last):
                there = await asyncio.to_thread(self._there, rows)
                if there:
                    await self._store.take_files(there)
                files, last = files + len(there), rows[-1]["file_id"]
                progress.update(bar, description=f"{archives} archives and {files} uploads are there")
        return Back(archives, files)

    async def _archive(self, row: Row) -> bool:
        if not await asyncio.to_thread(self._there, [row]):
            return False
        uploads = await self._store.uploads_of(row["zip_id"])
        there = await asyncio.to_thread(self._there, uploads)
        return await self._store.take_archive(row["zip_id"], {one["file_id"] for one in there})

    def _there(self, rows: Sequence[Row]) -> list[Row]:
        """Return those whose bytes lie where they lay; whether they are whole is seen when they are read."""
        return [row for row in rows if row["path"] is not None and self._vault.path(row["path"]).is_file()]

    async def open(self) -> Stamp:
        """Have database and directory belong together, unless they do, and the store be open."""
        stamp = await asyncio.to_thread(_stamp, self._root)
        state, _ = await stores.state(self._db, self._name)
        row = await identity_store.read(self._db, self._name)
        known = {**row, "lost": 0} if row is not None else None
        if (
            stamp is None
            or state == StoreState.LOST
            or identities.trouble_between(stamp, known, self._name) is not None
        ):
            stamp = await identities.adopt(self._db, self._root, self._name)
            if not await asking.trust(self._db):
                say("no archive ends before `roadvault retention allow`: a person has to look first")
        await moving_store.set_state(self._db, self._name, StoreState.OPEN, before=(StoreState.LOST,))
        return stamp

    async def pack(self) -> tuple[int, int]:
        """Have uploads packed after all that are whole; return how many are, and how many are not."""
        whole, last = list[Row](), 0
        with Progress(console=console, transient=True) as bars:
            verifier = Verifier(self._db, self._vault, None, bars)
            while rows := await self._store.waiting(last):
                for row in rows:
                    wrong = verifier.wrong
                    await verifier.upload(row)
                    if verifier.wrong == wrong:
                        whole.append(row)
                last = rows[-1]["file_id"]
        await ring([await set_aside_store.pack_after_all(self._db, some) for some in folders(whole)])
        return len(whole), verifier.wrong


def _stamp(root: Path) -> Stamp | None:
    try:
        return identities.read_stamp(root)
    except IdentityMismatch:
        return None
