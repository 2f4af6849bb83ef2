"""A real kill before and after every call that outlives the process, in every act of every service; then recovery.

The points are generated: a clean run of the act says which calls it makes. So a new write, unlink, fsync, commit,
request or emit is a new point by itself. Crust's orderer has points of its own (`test_orderer_kills.py`).
"""

import asyncio
import hashlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from chaos.crash_child import ACTS, UPLOAD
from cryptography.fernet import Fernet

from roadvault_common import app
from roadvault_common.db import Database, Row
from roadvault_common.lease import STAGES
from roadvault_common.vault import Vault
from roadvault_ingest.receive import Received
from roadvault_ingest.store import IngestStore, Limits
from roadvault_packer.store import PackerStore
from roadvault_retriever.store import RetrieverStore
from roadvault_stack.kubo import Kubo

SIZE = 300_000
LIMITS = Limits(files=2, bytes=1 << 40, age_seconds=3600)


@dataclass
class Scene:
    """Real servers, children that act on them, and what they should come to."""

    db: Database
    vault: Vault
    nursery: asyncio.subprocess.Process
    """Starts a child for each act."""
    url: str
    calls: list[bytes] = field(default_factory=list)

    async def child(self, act: str, row_id: int, deadly: str = "-") -> tuple[int, list[str]]:
        """Run one act in a process of its own; return how it ended and what it printed."""
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(f"{act} {row_id} {deadly}\n".encode())
        out: list[str] = []
        async with asyncio.timeout(60):
            while not (line := (await self.nursery.stdout.readline()).decode().strip()).startswith("EXIT "):
                assert line or not self.nursery.stdout.at_eof(), "the nursery has ended"
                out.append(line)
        code = int(line.removeprefix("EXIT "))
        assert code in {0, -signal.SIGKILL}, "\n".join(out)
        return code, out

    async def clean(self, act: str, row_id: int) -> list[str]:
        """Let the act run to its end; return the points it passed."""
        code, out = await self.child(act, row_id)
        assert code == 0
        return [line.removeprefix("POINT ") for line in out if line.startswith("POINT ")]

    async def let_leases_run_out(self) -> None:
        for stage in STAGES:
            due, token = stage.column("due"), stage.column("token")
            await self.db.execute(
                f"UPDATE {stage.table} SET {due} = UTC_TIMESTAMP(6) WHERE {token} IS NOT NULL"  # noqa: S608 - constants
            )

    async def row(self, sql: str, *args: object) -> Row:
        row = await self.db.fetch_one(sql, args)
        assert row is not None
        return row

    # --- subjects: a row of their own for each act ---------------------------------------------------------------

    async def subject(self, act: str) -> int:
        """Make a fresh row that the act is due on."""
        makers: dict[str, Callable[[], Awaitable[int]]] = {
            "upload": self._nothing,
            "request": self._file,
            "close_folders": self._aged_folder,
            "pack": self._folder,
            "pin": self._archive,
            "drop": partial(self._pinned, "replicated_at"),
            "restore": partial(self._pinned, "restore_due"),
            "fetch": self._request,
            "expire": partial(self._extracted, called_back=True),
            "call_back": partial(self._extracted, called_back=False),
        }
        return await makers[act]()

    async def _nothing(self) -> int:
        return 0

    async def _aged_folder(self) -> int:
        await self._file()
        await self.db.execute("UPDATE folder_info SET close_at = UTC_TIMESTAMP(6) WHERE status = 0")
        return 0

    async def _extracted(self, *, called_back: bool) -> int:
        download_id = await self._request()
        await self.clean("fetch", download_id)
        await self.db.execute(
            "UPDATE download_info SET expire_due = UTC_TIMESTAMP(6), callback_due = IF(%s, NULL, callback_due)"
            " WHERE download_id = %s",
            (called_back, download_id),
        )
        return download_id

    async def _file(self) -> int:
        token, content = secrets.token_hex(16), os.urandom(SIZE)
        path = f"received/{token[:2]}/{token}"
        (self.vault.root / path).write_bytes(content)
        received = Received("a.mp4", path, SIZE, hashlib.sha256(content).hexdigest())
        return (await IngestStore(self.db).add_file("crash", received, LIMITS)).file_id

    async def _folder(self) -> int:
        folder_id = 0
        while not folder_id:
            file_id = await self._file()
            row = await self.row(
                "SELECT folder_id, folder_info.status FROM file_upload_info JOIN folder_info USING (folder_id)"
                " WHERE file_id = %s",
                file_id,
            )
            folder_id = row["folder_id"] if row["status"] == 1 else 0
        return folder_id

    async def _archive(self) -> int:
        folder_id = await self._folder()
        await self.clean("pack", folder_id)
        return int((await self.row("SELECT zip_id FROM zip_ipfs_info WHERE folder_id = %s", folder_id))["zip_id"])

    async def _pinned(self, column: str) -> int:
        zip_id = await self._archive()
        await self.clean("pin", zip_id)
        await self.db.execute(f"UPDATE zip_ipfs_info SET {column} = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))  # noqa: S608
        return zip_id

    async def _request(self) -> int:
        file_id = await self._file()
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO download_info (file_id, cb_url, open_key, fetch_due)"
                " VALUES (%s, %s, UUID(), UTC_TIMESTAMP(6))",
                (file_id, f"{self.url}/cb"),
            )
        )

    # --- what each act comes to in the end -----------------------------------------------------------------------

    async def check(self, act: str, row_id: int, acknowledged: str | None) -> None:
        """Compare rows and disk with what the act should have left, however often it was begun."""
        match act:
            case "upload":
                await self._check_uploads(acknowledged)
            case "request":
                rows = await self.db.fetch_all("SELECT * FROM download_info WHERE file_id = %s", (row_id,))
                assert len(rows) == 1
                assert rows[0]["fetch_due"] is not None
            case "close_folders":
                assert await self.db.fetch_all("SELECT 1 FROM folder_info WHERE status = 1 AND pack_due IS NULL") == []
                assert await self.db.fetch_all("SELECT 1 FROM folder_info WHERE status = 0") == []
            case "pack":
                await self._check_packed(row_id)
            case "pin" | "restore" | "drop":
                await self._check_archive(act, row_id)
            case "fetch":
                row = await self.row("SELECT * FROM download_info WHERE download_id = %s", row_id)
                file = await self.row("SELECT * FROM file_upload_info WHERE file_id = %s", row["file_id"])
                content = (self.vault.root / row["path"]).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file["sha256"]
                assert (row["status"], row["fetch_due"], row["callback_due"] is not None) == (1, None, True)
            case "expire":
                row = await self.row("SELECT * FROM download_info WHERE download_id = %s", row_id)
                assert (row["status"], row["path"], row["expire_due"]) == (4, None, None)
            case _:
                row = await self.row("SELECT * FROM download_info WHERE download_id = %s", row_id)
                assert (row["status"], row["callback_due"], row["expire_due"] is not None) == (2, None, True)
                assert self.calls

    async def _check_uploads(self, acknowledged: str | None) -> None:
        rows = await self.db.fetch_all("SELECT * FROM file_upload_info")
        assert acknowledged is None or int(acknowledged) in {row["file_id"] for row in rows}
        for row in rows:
            assert (self.vault.root / row["path"]).read_bytes() == UPLOAD

    async def _check_packed(self, folder_id: int) -> None:
        folder = await self.row("SELECT * FROM folder_info WHERE folder_id = %s", folder_id)
        archives = await self.db.fetch_all("SELECT * FROM zip_ipfs_info WHERE folder_id = %s", (folder_id,))
        assert [(folder["status"], folder["zip_id"])] == [(2, archive["zip_id"]) for archive in archives]
        assert (self.vault.root / archives[0]["path"]).stat().st_size == archives[0]["size"]

    async def _check_archive(self, act: str, zip_id: int) -> None:
        archive = await self.row("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", zip_id)
        assert archive["cid"] is not None
        if act == "drop":
            assert (archive["path"], archive["drop_due"], archive["dropped_at"] is not None) == (None, None, True)
        elif act == "restore":
            assert (archive["restore_due"], archive["restored_at"] is not None) == (None, True)
        else:
            assert archive["order_due"] is not None

    async def strays(self) -> list[str]:
        """Sweep with no patience at all, and return what is on the disk and in no row, or the other way round."""
        await self.vault.sweep_unnamed("received", 0, IngestStore(self.db).named)
        await self.vault.sweep_unnamed("archives", 0, PackerStore(self.db).named)
        await self.vault.sweep_unnamed("downloads", 0, RetrieverStore(self.db).named)
        tables = ("file_upload_info", "zip_ipfs_info", "download_info")
        named = {
            row["path"]
            for table in tables
            for row in await self.db.fetch_all(f"SELECT path FROM {table} WHERE path IS NOT NULL")  # noqa: S608
        }
        root = self.vault.root
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        return sorted(named ^ found)


@pytest.fixture
async def scene(database_url: str, redis_url: str, data_dir: Path, kubo: Kubo) -> AsyncIterator[Scene]:
    vault = Vault(data_dir)
    vault.prepare()
    calls: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        calls.append(await request.read())
        return web.Response()

    environment = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
        "ROADVAULT_LINK_SECRET": "a secret for signing links",
        "ROADVAULT_PUBLIC_URL": "http://files.example",
        "ROADVAULT_IPFS_RPC_URL": kubo.rpc_url,
        "ROADVAULT_IPFS_GATEWAY_URL": kubo.gateway_url,
        "ROADVAULT_DISK_MARGIN_BYTES": "0",
        "ROADVAULT_FOLDER_FILES": str(LIMITS.files),
        "ROADVAULT_INGEST_WORKER": "crash",
    }
    nursery = await asyncio.create_subprocess_exec(
        sys.executable, Path(__file__).with_name("crash_child.py"),
        env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with (
        Database.open(database_url) as db,
        app.site([web.post("/cb", take)], "127.0.0.1", 0, drain_seconds=0.1) as url,
    ):
        yield Scene(db, vault, nursery, url, calls)
    assert nursery.stdin is not None
    nursery.stdin.close()
    assert await asyncio.wait_for(nursery.wait(), 10) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ACTS)
async def test_a_kill_at_any_point_is_recovered_from(act: str, scene: Scene) -> None:
    points = await scene.clean(act, await scene.subject(act))
    assert len(points) >= 4, f"{act} changes nothing that outlives it"
    for point in points:
        row_id = await scene.subject(act)
        code, out = await scene.child(act, row_id, point)
        assert code == -signal.SIGKILL, f"{act} at {point}: the point was not reached"
        acknowledged = next((line.removeprefix("ACK ") for line in out if line.startswith("ACK ")), None)
        await scene.let_leases_run_out()
        if act != "upload":  # a client sends again, or not; what counts is what it was told
            await scene.clean(act, row_id)
        try:
            await scene.check(act, row_id, acknowledged)
            assert await scene.strays() == []
        except AssertionError as error:
            raise AssertionError(f"{act} killed at {point}: {error}") from error
