"""`roadvault verify`: reads archives and uploads again, and compares every file with its SHA-256."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from enum import StrEnum
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from roadvault_common.archive.crypto import SHREDDED, MasterKeys
from roadvault_common.archive.verify import Member, MemberCheck
from roadvault_common.errors import PermanentError, RoadVaultError, SettingsError, brief
from roadvault_common.files import whole
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.path import archive_path
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.witness import OthersGateway, Way, Witness, open_way
from roadvault_common.settings.archives import KeySettings
from roadvault_common.sql.db import Database, Row
from roadvault_operator import labels, store
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, console, say

_NO_DATA_DIR = "ROADVAULT_DATA_DIR is not set: local copies can't be read"


class From(StrEnum):
    """Where archives are read."""

    DISK = "disk"
    NETWORK = "network"


class Verifier:
    """Re-reads what rows name, and says what is wrong as soon as it is found: a run may take days."""

    def __init__(self, db: Database, vault: Vault | None, way: Way | None, progress: Progress) -> None:
        """Read archives from the network if there is a way to it, else below the vault."""
        self._db = db
        self._vault = vault
        self._way = way
        self._progress = progress
        self.checked = self.skipped = self.wrong = 0

    def _report(self, line: str) -> None:
        self.wrong += 1
        say(line)

    async def archive(self, archive: Row, keys: MasterKeys) -> None:
        """Read one archive, decrypt it, and compare each of its files."""
        name = f"archive {archive['zip_id']}"
        if archive["master_key"] == SHREDDED:
            self.skipped += 1
            return
        try:
            pieces = self._pieces(archive)
            key = keys.unwrap(archive["key"], archive["iv"], archive["master_key"], archive["period_key"])
        except PermanentError as error:
            self._report(f"{name}: {brief(error)}")
            self.checked += 1
            return
        if pieces is None:
            self.skipped += 1
            return
        cipher, damaged = key.stream(), list[Member]()
        check = MemberCheck(await store.members(self._db, archive["zip_id"]), damaged.append)
        length = 0
        task = self._progress.add_task(name, total=archive["size"])

        def feed(piece: bytes) -> None:
            check.feed(cipher.update(piece))

        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    length += len(piece)
                    await asyncio.to_thread(feed, piece)
                    self._progress.advance(task, len(piece))
            check.finish()
            if length != archive["size"]:
                self._report(f"{name}: {length} bytes came, its row says {archive['size']}")
        except (RoadVaultError, OSError) as error:
            self._report(f"{name}: {brief(error)}")
        wrong = await labels.fault(self._db, archive, key, keys)
        if wrong is not None:
            self._report(f"{name}: {wrong}")
        for member in damaged:
            self._report(f"{name}: file {member.file_id} does not have its SHA-256")
        self._progress.remove_task(task)
        self.checked += 1

    def _pieces(self, archive: Row) -> AsyncGenerator[bytes, None] | None:
        """Return the archive's bytes, or None if it has no copy there (any more, or yet)."""
        if self._way is not None:
            if archive["cid"] is None:
                return None
            return _fetch(self._way, archive_path(archive["cid"], archive["format"]), archive["size"])
        if self._vault is None or archive["path"] is None:
            return None
        return whole.pieces(self._vault.path(archive["path"]))

    async def upload(self, file: Row) -> None:
        """Read one upload that is still kept, and compare it."""
        if self._vault is None:
            raise SettingsError(_NO_DATA_DIR)
        name = f"upload of file {file['file_id']}"
        task = self._progress.add_task(name, total=file["size"])
        wrong = await whole.fault(self._vault, file, lambda read: self._progress.advance(task, read))
        if wrong is not None:
            self._report(f"{name}: {wrong}")
        self._progress.remove_task(task)
        self.checked += 1


@blocking
async def verify(
    zip_ids: Annotated[list[int] | None, typer.Argument(help="archives, by their ids")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every archive")] = False,  # noqa: FBT002 - typer
    source: Annotated[From, typer.Option("--from", help="the local copies, or the network by CID")] = From.DISK,
    uploads: Annotated[bool, typer.Option("--uploads", help="uploads that are still kept, too")] = False,  # noqa: FBT002
) -> None:
    """Re-hash archives, file by file, and report what is damaged; look at their labels. Changes nothing."""
    if not (zip_ids or everything or uploads):
        raise SettingsError("name archives, or --all, or --uploads")
    if zip_ids and everything:
        raise SettingsError("name archives, or --all, not both")
    settings = OperatorSettings()
    if settings.data_dir is None and (uploads or source is From.DISK):
        raise SettingsError(_NO_DATA_DIR)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url, size=2))
        way = None
        if source is From.NETWORK:
            way = await _network(settings, db, stack)
        vault = None if settings.data_dir is None else Vault(settings.data_dir)
        verifier = Verifier(db, vault, way, stack.enter_context(_bars()))
        if zip_ids or everything:
            keys = MasterKeys(KeySettings().master_keys)
            async for archive in _archives(db, zip_ids):
                await verifier.archive(archive, keys)
        if uploads:
            async for file in store.kept_uploads(db):
                await verifier.upload(file)
    counts = {"checked": verifier.checked, "without_copy": verifier.skipped, "wrong": verifier.wrong}
    say("{checked} checked, {without_copy} have no copy there, {wrong} things are wrong".format(**counts), **counts)
    if verifier.wrong:
        raise typer.Exit(1)


async def _network(settings: OperatorSettings, db: Database, stack: AsyncExitStack) -> Way:
    """Open the way that knows the network best, after saying which it is."""
    way = await stack.enter_async_context(open_way(settings, db))
    if way is None:
        say(
            "reading through our own node (ROADVAULT_IPFS_GATEWAY_URL): what it still holds comes from there, not from"
            " the network; neither ROADVAULT_WITNESS_RPC_URL nor ROADVAULT_PROOF_GATEWAY_URL is set"
        )
        opened = Reader.open(settings.ipfs_gateway_url, settings.proof_stall_seconds)
        return OthersGateway(await stack.enter_async_context(opened))
    if isinstance(way, Witness):
        say("reading through the witness (ROADVAULT_WITNESS_RPC_URL), which never talks to our own node")
    else:
        say("reading through the proof gateway (ROADVAULT_PROOF_GATEWAY_URL)")
    return way


async def _fetch(way: Way, path: str, size: int) -> AsyncGenerator[bytes, None]:
    async with way.reading() as reader, aclosing(reader.read(path, 0, size)) as pieces:
        async for piece in pieces:
            yield piece


async def _archives(db: Database, zip_ids: list[int] | None) -> AsyncGenerator[Row, None]:
    if not zip_ids:
        async for row in store.all_archives(db):
            yield row
        return
    named = []
    for zip_id in zip_ids:
        rows = await store.archives_after(db, zip_id - 1, 1)
        if not rows or rows[0]["zip_id"] != zip_id:
            raise PermanentError(f"there is no archive {zip_id}; nothing was read")
        named.append(rows[0])
    for archive in named:
        yield archive


def _bars() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)
