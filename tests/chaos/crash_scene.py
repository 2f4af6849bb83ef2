"""A scene for each act of the services: a row that it is due on, and what the rows and the disk should come to."""

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
from chaos.crash_child import PACKER, UPLOAD
from redis import Redis

from roadvault_common.archive.crypto import MasterKeys, PeriodKey
from roadvault_common.archive.keyring import period_keys
from roadvault_common.events.kinds import DEAD_LETTERS, FileReceived
from roadvault_common.files.identity import FILE, read_stamp
from roadvault_common.files.ledger_book import LEDGER
from roadvault_common.files.quarantine import QUARANTINE
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.tags import adoptable
from roadvault_common.files.vault import SWEPT, Vault
from roadvault_common.retention import periods
from roadvault_common.retention.places import Places
from roadvault_common.settings.config import SweepSettings
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.stages import STAGES
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received
from roadvault_ingest.uploads.tagging import Tagger
from roadvault_packer.store import PackerStore
from roadvault_retriever.store import RetrieverStore
from roadvault_stack.kubo import Kubo

SIZE = 300_000
LIMITS = Limits(files=2, bytes=1 << 40, age_seconds=3600)
_ORPHANS = ("received/00/nobodys", "archives/0-nobodys.7z.enc", "downloads/nobodys")


@dataclass
class Scene:
    """Real servers, children that act on them, and what they should come to."""

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

    # --- subjects: a row of their own for each act ---------------------------------------------------------------

    async def subject(self, act: str) -> int:
        """Make a fresh row that the act is due on."""
        makers: dict[str, Callable[[], Awaitable[int]]] = {
            "upload": self._nothing,
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
            "sweep_orphans": self._orphans,
            "move_on": self._file,
        }
        return await makers[act]()

    async def _nothing(self) -> int:
        return 0

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

    async def _file(self) -> int:
        token, content = secrets.token_hex(16), os.urandom(SIZE)
        path = f"received/{token[:2]}/{token}"
        (self.vault.root / path).write_bytes(content)
        received = Received("a.mp4", path, SIZE, hashlib.sha256(content).hexdigest())
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
        return 0

    async def _period_over(self) -> int:
        """Have two period keys in the keyring; archives of the one have all ended."""
        await self._no_period()
        for period in ("2020-01", "2999-01"):
            key = PeriodKey.new(period)
            await self.db.transact(lambda tx, key=key: periods.add(tx, self.keys, key))  # type: ignore[misc]
        await periods.Periods(self.db, self.keys, Places(self.keyring)).keep()
        return 0

    async def _proven(self) -> int:
        zip_id = await self._pinned("pinned_at")
        await evidence_rows.prove(self.db, zip_id)
        return zip_id

    async def _request(self) -> int:
        return await self._request_for(await self._file())

    async def _request_for(self, file_id: int) -> int:
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO download_info (file_id, cb_url, open_key, fetch_due)"
                " VALUES (%s, %s, UUID(), UTC_TIMESTAMP(6))",
                (file_id, f"{self.url}/cb"),
            )
        )

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

    async def _orphans(self) -> int:
        for path in _ORPHANS:
            (self.vault.root / path).write_bytes(b"nobody's")
        return await self._file()

    # --- what each act comes to in the end -----------------------------------------------------------------------

    async def check(self, act: str, row_id: int, acknowledged: str | None) -> None:
        """Compare rows and disk with what the act should have left, however often it was begun."""
        if act == "upload":
            await self._check_uploads(acknowledged)
        elif act in {"request", "fetch", "fetch_from_ipfs", "expire", "keep_room", "call_back"}:
            await self._check_request(act, row_id)
        elif act == "shred":
            await self._check_ended(row_id)
        elif act in {"make_period_key", "tend_keyring"}:
            await self._check_keyring()
        elif act in {"pin", "restore", "drop", "prove", "audit", "inspect"}:
            await self._check_archive(act, row_id)
        else:
            await self._check_folder(act, row_id)
        await self._check_heard()

    async def _check_request(self, act: str, row_id: int) -> None:
        by = "file_id" if act == "request" else "download_id"
        row = await self.row(f"SELECT * FROM download_info WHERE {by} = %s", row_id)  # noqa: S608 - one of two names
        state = row["status"], row["fetch_due"] is not None, row["callback_due"] is not None
        match act:
            case "request":
                assert len(await self.db.fetch_all("SELECT 1 FROM download_info WHERE file_id = %s", (row_id,))) == 1
                assert state == (0, True, False)
            case "fetch" | "fetch_from_ipfs":
                file = await self.row("SELECT * FROM file_upload_info WHERE file_id = %s", row["file_id"])
                content = (self.vault.root / row["path"]).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file["sha256"]
                assert (state, row["source"]) == ((1, False, True), "received" if act == "fetch" else "ipfs")
            case "expire":
                assert (row["status"], row["path"], row["expire_due"]) == (4, None, None)
            case "keep_room":
                now = await self.row("SELECT UTC_TIMESTAMP(6) AS now")
                assert row["expire_due"] <= now["now"]
            case _:
                assert (*state, row["expire_due"] is not None) == (2, False, False, True)
                assert self.calls

    async def _check_folder(self, act: str, folder_id: int) -> None:
        match act:
            case "close_folders":
                assert await self.db.fetch_all("SELECT 1 FROM folder_info WHERE status = 1 AND pack_due IS NULL") == []
                assert await self.db.fetch_all("SELECT 1 FROM folder_info WHERE status = 0") == []
            case "give_up":
                row = await self.row("SELECT * FROM folder_info WHERE folder_id = %s", folder_id)
                assert (row["status"], row["pack_due"], row["pack_failed_at"] is not None) == (3, None, True)
                assert "counts 99 files, there are 2" in row["pack_reason"]
            case "hear_nonsense":
                assert f"nonsense {folder_id}" in repr(self.redis.xrange(DEAD_LETTERS))
            case "sweep_orphans":
                assert not any((self.vault.root / path).exists() for path in _ORPHANS)
            case "move_on":
                stamp = read_stamp(self.vault.root)
                row = await self.row("SELECT mark, identity FROM identity_info")
                highest = await self.row("SELECT MAX(file_id) AS file_id FROM file_upload_info")
                assert stamp is not None
                assert (stamp.identity, stamp.mark) == (row["identity"], row["mark"])
                assert stamp.given_out["file_id"] == highest["file_id"]
            case _:
                await self._check_packed(folder_id)

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
        label = await self.row("SELECT label FROM label_info WHERE zip_id = %s", folder["zip_id"])
        path = self.vault.root / archives[0]["path"].replace(".7z.enc", ".label.json")
        assert path.read_bytes() == label["label"]

    async def _check_ended(self, zip_id: int) -> None:
        archive = await self.row(
            "SELECT * FROM zip_ipfs_info JOIN retention_info USING (zip_id) WHERE zip_id = %s", zip_id
        )
        assert (archive["key"], archive["path"], archive["status"]) == ("", None, 5)
        assert (archive["shred_due"], archive["shredded_at"] is not None) == (None, True)
        files = await self.db.fetch_all("SELECT path FROM file_upload_info WHERE zip_id = %s", (zip_id,))
        asked = await self.db.fetch_all(
            "SELECT download.path, fetch_due, callback_due, expire_due, open_key FROM download_info AS download"
            " JOIN file_upload_info USING (file_id) WHERE zip_id = %s",
            (zip_id,),
        )
        assert {value for row in (*files, *asked) for value in row.values()} == {None}

    async def _check_keyring(self) -> None:
        """Compare what lives in the rows with what the places have."""
        rows = await self.db.fetch_all("SELECT period_key FROM period_key_info WHERE `key` IS NOT NULL")
        assert len(rows) == 1
        for place in self.keyring:
            assert [*period_keys(place.read_text(), self.keys)] == [rows[0]["period_key"]]

    async def _check_archive(self, act: str, zip_id: int) -> None:
        archive = await self.row("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", zip_id)
        assert archive["cid"] is not None
        if act == "drop":
            assert (archive["path"], archive["drop_due"], archive["dropped_at"] is not None) == (None, None, True)
        elif act == "restore":
            assert (archive["restore_due"], archive["restore_token"], archive["path"] is not None) == (None, None, True)
        elif act == "prove":
            proven = await evidence_rows.evidence(self.db, zip_id)
            assert (archive["prove_due"], [one["proven_at"] is not None for one in proven]) == (None, [True])
            assert archive["drop_due"] is not None
        elif act in {"audit", "inspect"}:
            place = "network" if act == "audit" else "local"
            found = await self.row("SELECT * FROM audit_info WHERE zip_id = %s AND place = %s", zip_id, place)
            assert (found["sound"], archive[f"{act}_token"]) == (1, None)
            assert archive[f"{act}_due"] > found["audited_at"]
        else:
            assert archive["order_due"] is not None

    async def _check_heard(self) -> None:
        """Nothing that the packer's group has taken waits for its acknowledgement."""
        if self.redis.exists(FileReceived.stream):
            groups = self.redis.xinfo_groups(FileReceived.stream)
            assert isinstance(groups, list)
            assert all(group["pending"] == 0 for group in groups if group["name"] == PACKER.encode())

    async def strays(self) -> list[str]:
        """Sweep with no patience at all, and return what is on the disk and in no row, or the other way round.

        Uploads without a tag are returned as well. In quarantine may be what no row names; a sweep has brought back
        what one does.
        """
        named_by = {
            "received": Tagger(IngestStore(self.db), self.vault.root).named,
            "archives": PackerStore(self.db).named,
            "downloads": RetrieverStore(self.db).named,
        }
        values = {"database_url": "x", "redis_url": "redis://x", "data_dir": self.vault.root, "orphan_hours": 1e-12}
        for directory, names in named_by.items():
            sweeper = Sweeper(SweepSettings.model_validate(values), self.db, self.vault, directory, names)
            for _ in range(2):
                await sweeper.sweep()
        tables = ("file_upload_info", "zip_ipfs_info", "download_info")
        named = {
            row["path"]
            for table in tables
            for row in await self.db.fetch_all(f"SELECT path FROM {table} WHERE path IS NOT NULL")  # noqa: S608
        }
        named |= {path.replace(".7z.enc", ".label.json") for path in named if path.endswith(".7z.enc")}
        root = self.vault.root
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {FILE}
        found = {path for path in found if not path.startswith(f"{LEDGER}/")}
        entries = [entry for directory in SWEPT for entry in self.vault.quarantine.entries(directory)]
        untagged = {one.path for one in adoptable(self.vault) if one.tag is None}
        return sorted(named ^ (found - {f"{QUARANTINE}/{entry.name}" for entry in entries}) | untagged)
