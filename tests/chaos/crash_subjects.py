"""For each act of the services a row that it is due on, on real servers."""

import asyncio
import hashlib
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import evidence_rows
from chaos.crash_acts import UPLOAD
from redis import Redis
from tus_requests import metadata
from videos_made import content_of_a_video

from roadvault_common.archive.crypto import MasterKeys, PeriodKey
from roadvault_common.events.kinds import FileReceived
from roadvault_common.files import set_aside_store
from roadvault_common.files.vault import Vault
from roadvault_common.retention import periods
from roadvault_common.retention.places import Places
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.stages import STAGES
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received
from roadvault_ingest.uploads.upload_store import Begin, MostOpen, Times, UploadStore
from roadvault_stack.kubo import Kubo

SIZE = 300_000
LIMITS = Limits(files=2, bytes=1 << 40, age_seconds=3600)
ORPHANS = ("received/00/nobodys", "archives/0-nobodys.7z.enc", "downloads/nobodys")


@dataclass
class Subjects:
    """Real servers, children that act on them, and rows to act on."""

    db: Database
    redis: "Redis"
    vault: Vault
    network: Kubo
    nursery: asyncio.subprocess.Process
    """Starts a child for each act."""
    url: str
    keyring: tuple[Path, Path]
    """Its places."""
    keys: MasterKeys
    calls: list[bytes] = field(default_factory=list)
    remote: int | None = None
    """A file of an archive that only the network has."""

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
        """Let the act run to its end; return what it printed."""
        code, out = await self.child(act, row_id)
        assert code == 0
        return out

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

    async def subject(self, act: str) -> int:
        """Make a fresh row that the act is due on."""
        makers: dict[str, Callable[[], Awaitable[int]]] = {
            "upload": self._nothing,
            "go_on": self._open_upload,
            "join": self._parts,
            "expire_uploads": self._expired_upload,
            "request": self._file,
            "close_folders": self._aged_folder,
            "pack": self._folder,
            "give_up": self._hopeless_folder,
            "hear": partial(self._event, corrupt=False),
            "hear_nonsense": partial(self._event, corrupt=True),
            "pin": self._archive,
            "drop": self._proven,
            "restore": partial(self._pinned, "restore_due"),
            "shred": self._over,
            "make_period_key": self._no_period,
            "tend_keyring": self._period_over,
            "prove": partial(self._pinned, "prove_due"),
            "audit": partial(self._pinned, "audit_due"),
            "inspect": partial(self._pinned, "inspect_due"),
            "fetch": self._request,
            "fetch_from_ipfs": self._remote_request,
            "expire": partial(self._extracted, called_back=True),
            "keep_room": partial(self._extracted, called_back=True, expire_due="UTC_TIMESTAMP(6) + INTERVAL 1 HOUR"),
            "call_back": partial(self._extracted, called_back=False),
            "clip": partial(self._request, (0, 1000)),
            "look": self._video,
            "request_batch": self._file,
            "ask_batch": partial(self._batch, "ask_due", 0),
            "cancel_batch": partial(self._batch, "report_due", 1),
            "report": partial(self._batch, "report_due", 2),
            "sweep_orphans": self._orphans,
            "move_on": self._file,
            "give_up_file": self._aside,
            "bring_back": self._in_quarantine,
        }
        return await makers[act]()

    async def _nothing(self) -> int:
        return 0

    async def _parts(self) -> int:
        number, half = secrets.randbits(62), len(UPLOAD) // 2
        for turn, content in ((1, UPLOAD[:half]), (2, UPLOAD[half:])):
            path = self.vault.new_upload()
            (self.vault.root / path).write_bytes(content)
            await self.db.execute(
                "INSERT INTO upload_info (upload_id, path, size, came, metadata, concat, held_until, expires_at) VALUES"
                " (%s, %s, %s, %s, '', 'partial', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)",
                (f"{number + turn:032x}", path, len(content), len(content)),
            )
        return number

    async def _open_upload(self) -> int:
        number = secrets.randbits(62)
        uploads = UploadStore(self.db, Times(expires=3600, held=900))
        begin = Begin(
            f"{number:032x}", self.vault.new_upload(), len(UPLOAD), metadata(filename="a.mp4"), None, "192.0.2.1", None
        )
        await uploads.begin(begin, MostOpen(1000, 1000))
        return number

    async def _expired_upload(self) -> int:
        number = await self._open_upload()
        row = await self.row("SELECT path FROM upload_info WHERE upload_id = %s", f"{number:032x}")
        (self.vault.root / row["path"]).write_bytes(b"some of it")
        await self.db.execute("UPDATE upload_info SET came = 5, expires_at = UTC_TIMESTAMP(6) WHERE file_id IS NULL")
        return number

    async def _aged_folder(self) -> int:
        await self._file()
        await self.db.execute("UPDATE folder_info SET close_at = UTC_TIMESTAMP(6) WHERE status = 0")
        return 0

    async def _extracted(self, *, called_back: bool, expire_due: str = "UTC_TIMESTAMP(6)") -> int:
        download_id = await self._request()
        await self.clean("fetch", download_id)
        await self.db.execute(
            f"UPDATE download_info SET expire_due = {expire_due}, callback_due = IF(%s, NULL, callback_due)"  # noqa: S608
            " WHERE download_id = %s",
            (called_back, download_id),
        )
        return download_id

    async def _video(self) -> int:
        file_id = await self._file(content_of_a_video())
        await self.db.execute("INSERT INTO video_info (file_id, look_due) VALUES (%s, UTC_TIMESTAMP(6))", (file_id,))
        return file_id

    async def _file(self, content: bytes | None = None) -> int:
        token, content = secrets.token_hex(16), content or os.urandom(SIZE)
        path = f"received/{token[:2]}/{token}"
        (self.vault.root / path).write_bytes(content)
        received = Received("a.mp4", path, len(content), hashlib.sha256(content).hexdigest())
        (placed,) = await IngestStore(self.db).add_files("crash", [received], LIMITS)
        return placed.file_id

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

    async def _hopeless_folder(self) -> int:
        folder_id = await self._folder()
        await self.db.execute("UPDATE folder_info SET files = 99 WHERE folder_id = %s", (folder_id,))
        return folder_id

    async def _event(self, *, corrupt: bool) -> int:
        folder_id = await self._folder()
        event = FileReceived(file_id=1, folder_id=folder_id).model_dump_json()
        self.redis.xadd(FileReceived.stream, {"event": f"nonsense {folder_id}" if corrupt else event})
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

    async def _over(self) -> int:
        """Make an archive whose time is over, of which there are all kinds of copies."""
        zip_id = await self._pinned("pinned_at")
        (file, *_) = await self.db.fetch_all("SELECT file_id FROM file_upload_info WHERE zip_id = %s", (zip_id,))
        await self.clean("fetch", await self._request_for(file["file_id"]))
        await self._request_for(file["file_id"])
        await self.db.execute(
            "INSERT INTO retention_info (zip_id, ends_at, shred_due) VALUES (%s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            (zip_id,),
        )
        return zip_id

    async def _no_period(self) -> int:
        await self.db.execute("DELETE FROM period_key_info")
        for place in self.keyring:  # which keeps what no row knows
            place.unlink(missing_ok=True)
        return 0

    async def _period_over(self) -> int:
        """Have two period keys in the keyring; archives of the one have all ended."""
        await self._no_period()
        for period in ("2020-01", "2999-01"):
            key = PeriodKey.new(period)
            await self.db.transact(lambda tx, key=key: periods.add(tx, self.keys, key, wraps=True))  # type: ignore[misc]
        await periods.Periods(self.db, self.keys, Places(self.keyring)).keep()
        return 0

    async def _proven(self) -> int:
        zip_id = await self._pinned("pinned_at")
        await evidence_rows.prove(self.db, zip_id)
        return zip_id

    async def _request(self, clip: tuple[int, int] | None = None) -> int:
        file_id = await self._file(content_of_a_video() if clip else None)
        return await self._request_for(file_id, clip or (None, None))

    async def _request_for(self, file_id: int, clip: tuple[int | None, int | None] = (None, None)) -> int:
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO download_info (file_id, cb_url, open_key, clip_from, clip_to, fetch_due)"
                " VALUES (%s, %s, UUID(), %s, %s, UTC_TIMESTAMP(6))",
                (file_id, f"{self.url}/cb", *clip),
            )
        )

    async def _batch(self, due: str, state: int) -> int:
        """Make a batch of one file: to be asked for, asked for, or whose request has ended."""
        batch_id, file_id = secrets.randbits(40), await self._file()
        asked = await self._request_for(file_id) if state else None
        await self.db.execute(
            f"INSERT INTO batch_info (batch_id, cb_url, cb_place, files, {due})"  # noqa: S608 - names in this file
            " VALUES (%s, %s, 'x:1', 1, UTC_TIMESTAMP(6))",
            (batch_id, f"{self.url}/cb"),
        )
        await self.db.execute(
            "INSERT INTO batch_file_info (batch_id, file_id, download_id, state) VALUES (%s, %s, %s, %s)",
            (batch_id, file_id, asked, min(state, 1)),
        )
        over = "open_key = NULL, called_back_at = UTC_TIMESTAMP(6), fetch_due = NULL" if state > 1 else "status = 0"
        await self.db.execute(
            f"UPDATE download_info SET batch_id = %s, {over} WHERE download_id = %s",  # noqa: S608 - likewise
            (batch_id, asked),
        )
        return batch_id

    async def _remote_request(self) -> int:
        if self.remote is None:
            zip_id = await self._proven()
            row = await self.row("SELECT cid FROM zip_ipfs_info WHERE zip_id = %s", zip_id)
            url = f"{self.network.rpc_url}/api/v0/pin/add"
            async with aiohttp.ClientSession() as http, http.post(url, params={"arg": row["cid"]}) as response:
                assert response.status == 200, await response.text()
            await self.clean("drop", zip_id)
            self.remote = (await self.row("SELECT file_id FROM file_upload_info WHERE zip_id = %s", zip_id))["file_id"]
        # Another request would take the extraction that an earlier one has made.
        await self.db.execute("DELETE FROM download_info WHERE file_id = %s", (self.remote,))
        return await self._request_for(int(self.remote or 0))

    async def _aside(self) -> int:
        file_id = await self._file()
        await self.db.transact(lambda tx: set_aside_store.add(tx, {file_id: "x"}))
        return file_id

    async def _in_quarantine(self) -> int:
        file_id = await self._file()
        row = await self.row("SELECT path FROM file_upload_info WHERE file_id = %s", file_id)
        self.vault.set_aside([row["path"]])
        return file_id

    async def _orphans(self) -> int:
        for path in ORPHANS:
            (self.vault.root / path).write_bytes(b"nobody's")
        return await self._file()
