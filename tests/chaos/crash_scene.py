"""What the rows and the disk should come to once an act of the services was done, killed or not."""

import hashlib

import evidence_rows
from chaos.crash_acts import PACKER, UPLOAD
from chaos.crash_subjects import ORPHANS, Subjects

from roadvault_common.archive.keyring import period_keys
from roadvault_common.events.kinds import DEAD_LETTERS, FileReceived
from roadvault_common.files.identity import FILE, read_stamp
from roadvault_common.files.ledger_book import LEDGER
from roadvault_common.files.quarantine import QUARANTINE
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.tags import adoptable
from roadvault_common.files.vault import SWEPT
from roadvault_common.settings.config import SweepSettings
from roadvault_ingest.store import IngestStore
from roadvault_ingest.uploads.tagging import Tagger
from roadvault_packer.store import PackerStore
from roadvault_retriever.looking.store import LookStore
from roadvault_retriever.store import RetrieverStore


class Scene(Subjects):
    """Real servers, children that act on them, and what they should come to."""

    async def check(self, act: str, row_id: int, acknowledged: str | None) -> None:
        """Compare rows and disk with what the act should have left, however often it was begun."""
        if act == "upload":
            await self._check_uploads(acknowledged)
        elif act in {"go_on", "join", "expire_uploads"}:
            await self._check_upload(act, row_id, acknowledged)
        elif act in {"request", "fetch", "fetch_from_ipfs", "clip", "expire", "keep_room", "call_back"}:
            await self._check_request(act, row_id)
        elif act in {"request_batch", "ask_batch", "cancel_batch", "report"}:
            await self._check_batch(act, row_id)
        elif act == "shred":
            await self._check_ended(row_id)
        elif act == "look":
            await self._check_looked(row_id)
        elif act in {"make_period_key", "tend_keyring"}:
            await self._check_keyring()
        elif act in {"pin", "restore", "drop", "prove", "audit", "inspect"}:
            await self._check_archive(act, row_id)
        else:
            await self._check_folder(act, row_id)
        await self._check_heard()

    async def _check_looked(self, file_id: int) -> None:
        row = await self.row("SELECT * FROM video_info WHERE file_id = %s", file_id)
        assert (row["look_due"], row["video_codec"]) == (None, "h264")
        assert (self.vault.root / row["path"]).stat().st_size == row["bytes"]
        total = await self.row("SELECT bytes, (SELECT SUM(bytes) FROM video_info) AS there FROM picture_info")
        assert total["bytes"] == total["there"]

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
            case "clip":
                content = (self.vault.root / row["path"]).read_bytes()
                assert (row["clip_sha256"], row["clip_size"]) == (hashlib.sha256(content).hexdigest(), len(content))
                assert (state, row["clip_name"]) == ((1, False, True), "a 0s-1s.mp4")
            case "expire":
                assert (row["status"], row["path"], row["expire_due"]) == (4, None, None)
            case "keep_room":
                now = await self.row("SELECT UTC_TIMESTAMP(6) AS now")
                assert row["expire_due"] <= now["now"]
            case _:
                assert (*state, row["expire_due"] is not None) == (2, False, False, True)
                assert self.calls

    async def _check_batch(self, act: str, row_id: int) -> None:
        by = "file_id" if act == "request_batch" else "batch_id"
        items = await self.db.fetch_all(f"SELECT * FROM batch_file_info WHERE {by} = %s", (row_id,))  # noqa: S608
        batch = await self.row("SELECT * FROM batch_info WHERE batch_id = %s", items[0]["batch_id"])
        asked = await self.db.fetch_all("SELECT * FROM download_info WHERE file_id = %s", (items[0]["file_id"],))
        due = batch["ask_due"] is not None, batch["report_due"] is not None
        match act:
            case "request_batch":  # a client that had no answer sends it again
                assert due == (True, False)
                assert (items[0]["state"], asked) == (0, [])
            case "ask_batch":
                assert due == (False, True)
                assert [one["download_id"] for one in asked] == [items[0]["download_id"]]
            case "cancel_batch":
                assert due == (False, True)
                assert (items[0]["state"], asked[0]["fetch_due"], asked[0]["open_key"]) == (4, None, None)
            case _:
                assert due == (False, False)
                assert (batch["is_open"], batch["done"], batch["called_back_at"] is not None) == (None, 1, True)
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
            case "give_up_file":
                row = await self.row(
                    "SELECT * FROM set_aside_info JOIN file_upload_info USING (file_id) WHERE file_id = %s", folder_id
                )
                assert (row["lost_at"] is not None, row["path"]) == (True, None)
            case "bring_back":
                row = await self.row("SELECT path FROM file_upload_info WHERE file_id = %s", folder_id)
                assert (self.vault.root / row["path"]).stat().st_nlink == 1
            case "hear_nonsense":
                assert f"nonsense {folder_id}" in repr(self.redis.xrange(DEAD_LETTERS))
            case "sweep_orphans":
                assert not any((self.vault.root / path).exists() for path in ORPHANS)
            case "move_on":
                stamp = read_stamp(self.vault.root)
                row = await self.row("SELECT mark, identity FROM identity_info")
                highest = await self.row("SELECT MAX(file_id) AS file_id FROM file_upload_info")
                assert stamp is not None
                assert (stamp.identity, stamp.mark) == (row["identity"], row["mark"])
                assert stamp.given_out["file_id"] >= highest["file_id"]
            case _:
                await self._check_packed(folder_id)

    async def _check_uploads(self, acknowledged: str | None) -> None:
        rows = await self.db.fetch_all("SELECT * FROM file_upload_info")
        assert acknowledged is None or int(acknowledged) in {row["file_id"] for row in rows}
        for row in rows:
            assert (self.vault.root / row["path"]).read_bytes() == UPLOAD

    async def _check_upload(self, act: str, number: int, acknowledged: str | None) -> None:
        by, value = ("upload_key", f"{number:064x}") if act == "join" else ("upload_id", f"{number:032x}")
        rows = await self.db.fetch_all(f"SELECT * FROM upload_info WHERE {by} = %s", (value,))  # noqa: S608 - one of two
        if act == "expire_uploads":
            assert rows == []
            return
        (upload,) = rows
        file = await self.row("SELECT * FROM file_upload_info WHERE file_id = %s", upload["file_id"])
        assert (file["path"], file["size"]) == (upload["path"], len(UPLOAD))
        assert (self.vault.root / file["path"]).read_bytes() == UPLOAD
        assert acknowledged is None or int(acknowledged) == file["file_id"]
        await self._forget_parts()

    async def _forget_parts(self) -> None:
        """Have the parts expire, that were joined."""
        parts = await self.db.fetch_all("SELECT path FROM upload_info WHERE concat = 'partial'")
        await self.db.execute("DELETE FROM upload_info WHERE concat = 'partial'")
        for part in parts:
            (self.vault.root / part["path"]).unlink()

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
            "posters": LookStore(self.db).named,
        }
        values = {"database_url": "x", "redis_url": "redis://x", "data_dir": self.vault.root, "orphan_hours": 1e-12}
        for directory, names in named_by.items():
            sweeper = Sweeper(SweepSettings.model_validate(values), self.db, self.vault, directory, names)
            for _ in range(2):
                await sweeper.sweep()
        tables = ("file_upload_info", "zip_ipfs_info", "download_info", "video_info")
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
