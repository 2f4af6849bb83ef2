"""An archive that was packed, pinned and bought, and receipts of its files: what their tests stand on."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers_ingest import Door
from servers_operator import Console
from servers_orderer import Desk

from roadvault_common.custody import chainer
from roadvault_common.receipts.receipt import Receipt
from roadvault_common.work.outcome import Done
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Incoming, Received

NAMES = ("a.mp4", "北环路 \t\\\"'.mp4", "c.mp4", "d.mp4", "e.mp4")
SIZE = 40
"""Bytes of a file: each of their bits is flipped."""


@dataclass
class Office:
    """All that a file goes through until it has a receipt, and who asks for that."""

    console: Console
    desk: Desk
    door: Door
    path: Path
    contents: dict[int, bytes]
    """Of files, by their ids."""

    async def receive(self, contents: list[bytes]) -> int:
        """Take uploads of these contents into one folder, which is full then; return its id."""
        folders, limits = set(), Limits(files=len(contents), bytes=1 << 40, age_seconds=3600)
        for name, content in zip(NAMES, contents, strict=False):
            incoming = Incoming(self.console.vault)
            incoming.write(content)
            incoming.finish()
            received = Received(name, incoming.relative, len(content), incoming.sha256, peer="192.0.2.7")
            (placed,) = await IngestStore(self.console.db).add_files("office", [received], limits)
            self.contents[placed.file_id] = content
            folders.add(placed.folder_id)
        (folder_id,) = folders
        return folder_id

    async def pinned(self, contents: list[bytes] | None = None) -> int:
        """Return an archive of some files, of random contents if none are given, that is on IPFS."""
        folder_id = await self.receive(contents or [os.urandom(SIZE) for _ in NAMES])
        assert await self.console.packer.packing.work(folder_id) == Done()
        zip_id = await self.console.db.fetch_value(
            "SELECT zip_id FROM zip_ipfs_info WHERE folder_id = %s", (folder_id,)
        )
        assert await self.console.pinner.pinning.work(zip_id) == Done()
        return int(zip_id)

    async def bought(self, contents: list[bytes] | None = None) -> int:
        """Return one that is bought, too, with its custody log chained."""
        zip_id = await self.pinned(contents)
        await self.desk.bought(zip_id)
        await chainer.chain(self.console.db)
        return zip_id

    async def published(self) -> int:
        """Have the catalogue published, with the custody log's head, and bought; return its row's number."""
        await self.console.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
        assert isinstance(await self.console.pinner.publishing.work(1), Done)
        zip_id = int(await self.console.db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE folder_id = 0"))
        while not isinstance(await self.desk.attend(zip_id), Done):
            self.desk.devnet.final()
        await chainer.chain(self.console.db)
        return zip_id

    async def ask(self, file_id: int) -> tuple[int, bytes]:
        """Ask for a file's receipt; return the status and the body."""
        async with self.door.http.get(f"{self.door.url}/api/open/file/{file_id}/receipt") as response:
            return response.status, await response.read()

    async def refuses(self, file_id: int) -> bytes:
        """See that no receipt of a file can be made of the rows that are there; return the body."""
        status, body = await self.ask(file_id)
        assert status == 409, body
        assert b"can be made as things stand" in body
        return body

    async def receipt(self, file_id: int) -> Receipt:
        status, body = await self.ask(file_id)
        assert status == 200, body
        return Receipt.read(body)

    async def check(self, receipt: bytes, content: bytes, *options: str) -> tuple[int, str, str]:
        """Run `roadvault check-receipt`, with no settings at all; return its exit code, and what it says."""
        (self.path / "receipt.json").write_bytes(receipt)
        (self.path / "file").write_bytes(content)
        kept, self.console.environment = self.console.environment, {}
        try:
            return await self.console.run("check-receipt", self.path / "receipt.json", self.path / "file", *options)
        finally:
            self.console.environment = kept


@pytest.fixture
def office(console: Console, desk: Desk, door: Door, tmp_path: Path) -> Office:
    return Office(console, desk, door, tmp_path, {})
