"""One file's bytes, any of them, from wherever they are: upload, local archive or network. Nothing is extracted.

What the network gives is checked block by block against the archive's CID. Of a local copy no part can be checked by
itself, as there is but one SHA-256, of the whole file: its length is looked at, and that it can be read.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC
from http import HTTPStatus
from pathlib import Path

import structlog
from prometheus_client import Counter

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.errors import (
    DiskFull,
    Ended,
    IntegrityError,
    IpfsRotten,
    IpfsUnavailable,
    PermanentError,
    TransientError,
    brief,
)
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.reading import Reader
from roadvault_common.sql.db import Database
from roadvault_retriever.located import Located
from roadvault_retriever.sources import Missing, Unreadable
from roadvault_retriever.streaming.store import StreamStore

log = structlog.get_logger()

READ = Counter("roadvault_stream_read_bytes", "Bytes read for who watches, by where they came from", ["source"])
_LOOK_SECONDS = 10.0
"""After so long the row is looked at again: a file that ended meanwhile is shown no further."""

_PLACES = ("received", "archive", "ipfs")
"""Nearest first."""

for _source in _PLACES:
    READ.labels(_source)

Mend = Callable[[int | None], Awaitable[None]]


class Refused(PermanentError):
    """The file is not there to be read, and will not be; `status` is what a client is answered with.

    If it is at another store, `there` is the base URL at which that one's retriever gives it.
    """

    def __init__(self, status: HTTPStatus, message: str, there: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.there = there


class Sources:
    """What files are read from."""

    def __init__(
        self, db: Database, vault: Vault, keys: MasterKeys, reader: Reader, ledger: Ledger, mend: Mend
    ) -> None:
        """`mend` has the pinner look at an archive of which a copy seems to have rotted."""
        self.db = db
        self._store = StreamStore(db, vault.store)
        self.vault = vault
        self.keys = keys
        self.reader = reader
        self.ledger = ledger
        self.mend = mend

    async def open(self, file_id: int) -> "Source":
        """Return a file's bytes, whatever part of them will be wanted.

        Raises:
            Refused: There is no such file, or it has ended, or no copy of it is left.
        """
        return Source(self, await self.locate(file_id))

    async def locate(self, file_id: int) -> Located:
        """Return where a file is by now.

        Raises:
            Refused: As `open` does.
        """
        located = await self._store.located(file_id)
        if located is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
        if located.shredded_at is not None:
            raise _ended(located)
        if located.zip_id is None and located.set_aside is not None:
            raise Refused(HTTPStatus.NOT_FOUND, "its upload had rotted before it was packed, and was set aside")
        if located.elsewhere is not None and located.path is None and located.zip_path is None:
            there = await self._store.stream_url(located.elsewhere)
            if there is not None:
                raise Refused(HTTPStatus.TEMPORARY_REDIRECT, f"it is at the store {located.elsewhere}", there)
            if located.on_ipfs is None:
                words = f"it is at the store {located.elsewhere} alone, which says nothing of where its videos are"
                raise TransientError(words)
        if located.path is None and located.zip_path is None and located.on_ipfs is None:
            raise _lost()
        return located


class Source:
    """A file that can be read from anywhere in it. Use `Sources.open`."""

    def __init__(self, sources: Sources, located: Located) -> None:
        self._sources = sources
        self._located = located
        self._looked = time.monotonic()
        self._mended = False
        self.farthest: str | None = None
        """Of the places that bytes came from."""
        self.file_id = located.file_id
        self.size = located.size
        """Bytes."""
        self.start = located.zip_offset or 0
        """Where the file begins in its archive; 0 while it is in none."""

    @property
    def is_here(self) -> bool:
        """Whether a copy should be on our disk."""
        return self._located.is_here

    @property
    def facts(self) -> dict[str, str | int]:
        """What a client is told of the file besides its bytes; times in seconds since 1970."""
        located = self._located
        created = int(located.create_time.replace(tzinfo=UTC).timestamp())
        return {"name": located.file_name, "size": located.size, "sha256": located.sha256, "created": created}

    async def see(self) -> None:
        """See that the file may still be read; its row is looked at now and then.

        Raises:
            Refused: It may not.
            TransientError: That can't be seen now.
        """
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            await self._look()

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, or as many as there are.

        Raises:
            Refused: The file has ended meanwhile, or no copy is left.
            TransientError: They can't be had now; another time they may.
        """
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        await self.see()
        before = self._located
        try:
            return await self._read(offset, size)
        except (Refused, Ended, TransientError):
            # Its copies may have gone to other places since the row was looked at.
            await self._look()
            if self._located == before:
                raise
            return await self._read(offset, size)

    async def _look(self) -> None:
        self._located = await self._sources.locate(self.file_id)
        self._looked = time.monotonic()

    async def _read(self, offset: int, size: int) -> bytes:
        """Read from the first place that has it."""
        damaged, unreadable = False, None
        for name, read in self._places(offset, size):
            try:
                data = await read()
            except Missing:
                continue
            except IntegrityError as error:
                log.warning("a copy is damaged", source=name, file_id=self.file_id, error=brief(error))
                damaged = True
            except Unreadable as error:
                log.warning("a copy can't be read", source=name, file_id=self.file_id, error=brief(error))
                unreadable = error
            except IpfsUnavailable as error:
                if damaged or unreadable is not None or isinstance(error, IpfsRotten):
                    await self._mend()
                raise
            else:
                READ.labels(name).inc(len(data))
                self.farthest = max(self.farthest or name, name, key=_PLACES.index)
                return data
        if damaged or unreadable is not None:
            await self._mend()
        raise unreadable or _lost()

    async def _mend(self) -> None:
        if not self._mended:
            self._mended = True
            await self._sources.mend(self._located.zip_id)

    def _places(self, offset: int, size: int) -> Iterator[tuple[str, Callable[[], Awaitable[bytes]]]]:
        """Yield where the bytes may be, nearest first."""
        located, vault = self._located, self._sources.vault
        if located.path is not None:
            path, whole = vault.path(located.path), located.size
            yield "received", lambda: asyncio.to_thread(_read_file, path, whole, offset, size)
        if located.key is None or located.iv is None or located.zip_offset is None:
            return
        try:
            key = self._sources.keys.unwrap(located.key, located.iv, located.master_key, located.period_key)
        except Ended:
            raise _ended(located) from None
        begin = located.zip_offset + offset
        if located.zip_path is not None and located.zip_size is not None:
            archive, all_of_it = vault.path(located.zip_path), located.zip_size
            yield (
                "archive",
                lambda: asyncio.to_thread(
                    lambda: key.stream(begin).update(_read_file(archive, all_of_it, begin, size))
                ),
            )
        if located.on_ipfs is not None:
            network = located.on_ipfs

            async def read() -> bytes:
                await self._see_room()
                pieces = [piece async for piece in self._sources.reader.read(network, begin, size)]
                return await asyncio.to_thread(lambda: key.stream(begin).update(b"".join(pieces)))

            yield "ipfs", read

    async def _see_room(self) -> None:
        """See that our node, which keeps for a while what it fetches, has room where that is this disk."""
        ledger, vault = self._sources.ledger, self._sources.vault
        if ledger.kubo_keeps(1) and await asyncio.to_thread(vault.free_bytes) < ledger.margin_bytes:
            raise DiskFull("the disk is short, and what comes from the network would take room on it")


def _ended(located: Located) -> Refused:
    when = f" on {located.shredded_at:%Y-%m-%d}" if located.shredded_at else ""
    return Refused(HTTPStatus.GONE, f"the file ended{when}: its key was destroyed")


def _lost() -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "no whole copy of this file is left")


def _read_file(path: Path, whole: int, offset: int, size: int) -> bytes:
    """Return a part of a local file, which has to be `whole` bytes long.

    Raises:
        Missing: There is no such file.
        IntegrityError: It is shorter or longer.
        Unreadable: It can't be opened or read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            there = os.fstat(file.fileno()).st_size
            data = os.pread(file.fileno(), size, offset) if there == whole else b""
    except FileNotFoundError as error:
        raise Missing(f"{path.name} is not on the disk") from error
    except OSError as error:
        raise Unreadable(f"{path.name} can't be read: {error.strerror or error}") from error
    if len(data) != size:
        raise IntegrityError(f"{path.name} has {there} bytes, its row says {whole}")
    return data
