"""SQL of stores: which there are, and what each has in hand, counted along keys that begin with the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from roadvault_common.history.heartbeats import Beat
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, sums
from roadvault_common.sql.states import FolderStatus, StoreState
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PROVE, RESTORE, WATCH

MOST = 10_000
"""What is counted no further, as for the stages (`roadvault_common.work.backlog`)."""


@dataclass(frozen=True)
class Store:
    """A store as its row has it; times are UTC and naive."""

    name: str
    state: StoreState
    heard_at: datetime | None
    """When its retriever last said that it takes requests."""
    seconds_silent: float | None
    changed_at: datetime | None
    """When its state was last changed."""
    seconds_in_state: float | None
    upload_url: str | None


@dataclass(frozen=True)
class InHand:
    """What a store has in hand, each counted up to `MOST`; `oldest_seconds` is how long the oldest of it waits."""

    open_folders: int
    closed_folders: int
    failed_folders: int
    files: int
    """In folders that are not packed."""
    bytes: int
    """Of these."""
    archives: int
    """Local copies of archives, and archives that its Kubo node alone keeps for now."""
    restores: int
    """Archives that are to be fetched back."""
    requests: int
    extractions: int
    uploads: int
    """Resumable uploads that are not whole."""
    set_aside: int
    """Uploads that a person has to decide about."""
    oldest_seconds: float

    @property
    def left(self) -> int:
        """How much has to go before the store can be switched off."""
        folders = self.open_folders + self.closed_folders + self.failed_folders
        kept = self.archives + self.restores + self.requests + self.extractions
        return folders + kept + self.uploads + self.set_aside


async def all_stores(db: Database) -> list[Store]:
    """Return the stores, in the order in which they came."""
    rows = await db.fetch_all(
        "SELECT name, state, heard_at, TIMESTAMPDIFF(SECOND, heard_at, UTC_TIMESTAMP(6)) AS seconds_silent,"
        " changed_at, TIMESTAMPDIFF(SECOND, changed_at, UTC_TIMESTAMP(6)) AS seconds_in_state, upload_url"
        " FROM store_info ORDER BY number"
    )
    return [Store(**{**row, "state": StoreState(row["state"])}) for row in rows]


def beats_of(beats: Sequence[Beat], store: str) -> list[Beat]:
    """Return what was heard of a store's own processes."""
    return [beat for beat in beats if beat.facts.get("store") == store]


def room_of(beats: Sequence[Beat]) -> tuple[int, int] | None:
    """Return the free and the total bytes of a store's disk, as its processes last said; None if none did."""
    told = [beat for beat in beats if "disk_total_bytes" in beat.facts]
    latest = min(told, key=lambda beat: beat.seconds_silent, default=None)
    if latest is None:
        return None
    return int(latest.facts["disk_free_bytes"]), int(latest.facts["disk_total_bytes"])


async def state(db: Database, store: str) -> tuple[StoreState, str | None]:
    """Return a store's state, and where clients reach its ingest, as its row says; open, if it has none."""
    row = await db.fetch_one("SELECT state, upload_url FROM store_info WHERE name = %s", (store,))
    return (StoreState.OPEN, None) if row is None else (StoreState(row["state"]), row["upload_url"])


async def say_where(db: Database, store: str, upload_url: str | None) -> None:
    """Note where clients reach a store's ingest."""
    await db.execute("UPDATE store_info SET upload_url = %s WHERE name = %s", (upload_url, store))


_KEPT = ("archives", "restores", "requests", "extractions", "uploads", "set_aside")
_COUNTED = (
    ("archives", "zip_ipfs_info FORCE INDEX (zip_store_path)", "path > ''"),
    ("archives", "zip_ipfs_info", "restored_at IS NOT NULL"),
    ("restores", "zip_ipfs_info", "restore_due IS NOT NULL"),
    ("requests", "download_info", "fetch_due IS NOT NULL"),
    ("extractions", "download_info", "expire_due IS NOT NULL"),
    ("uploads", "upload_info", "file_id IS NULL"),
)


async def in_hand(db: Database, store: str) -> InHand:
    """Return what a store has in hand."""
    folders = [
        await sums(
            db,
            "SELECT COUNT(*) AS n, COALESCE(SUM(files), 0) AS files, COALESCE(SUM(bytes), 0) AS bytes,"
            " MIN(IF(files, create_time, NULL)) AS since FROM (SELECT files, bytes, create_time FROM folder_info"
            " WHERE store = %s AND status = %s LIMIT %s) AS some",
            store, status.value, MOST,
        )
        for status in (FolderStatus.OPEN, FolderStatus.CLOSED, FolderStatus.FAILED)
    ]  # fmt: skip
    counts = dict.fromkeys(_KEPT, 0)
    for name, table, which in _COUNTED:
        row = await sums(
            db,
            f"SELECT COUNT(*) AS n FROM (SELECT 1 FROM {table} WHERE store = %s AND {which} LIMIT %s) AS some",  # noqa: S608 - our own names
            store, MOST,
        )  # fmt: skip
        counts[name] += int(row["n"])
    row = await sums(
        db,
        "SELECT MIN(create_time) AS since, UTC_TIMESTAMP(6) AS now FROM (SELECT create_time FROM zip_ipfs_info"
        " FORCE INDEX (zip_store_path) WHERE store = %s AND path > '' LIMIT %s) AS some",
        store, MOST,
    )  # fmt: skip
    since = [one["since"] for one in (*folders, row) if one["since"] is not None]
    oldest = max((row["now"] - min(since)).total_seconds(), 0) if since else 0
    aside = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM set_aside_info WHERE at_store = %s AND lost_at IS NULL LIMIT %s)"
    counts["set_aside"] = int((await sums(db, f"{aside} AS some", store, MOST))["n"])
    by_state = ("open_folders", "closed_folders", "failed_folders")
    counts |= {name: int(one["n"]) for name, one in zip(by_state, folders, strict=True)}
    counts |= {name: sum(int(one[name]) for one in folders) for name in ("files", "bytes")}
    return InHand(**counts, oldest_seconds=oldest)


async def found_after_all(tx: Transaction, zip_id: int) -> None:
    """Note that the network has an archive that had been given up with its store: it is lost no more.

    It is fetched to the node of the store that it was moved to.
    """
    files = await tx.fetch_all(
        "SELECT file_id FROM file_upload_info JOIN set_aside_info USING (file_id)"
        " WHERE zip_id = %s AND lost_store IS NOT NULL",
        (zip_id,),
    )
    await tx.execute(
        "DELETE aside FROM set_aside_info AS aside JOIN file_upload_info USING (file_id)"
        " WHERE zip_id = %s AND lost_store IS NOT NULL",
        (zip_id,),
    )
    await tx.execute("DELETE FROM lost_zip_info WHERE zip_id = %s", (zip_id,))
    told = {"reason": "the network has it after all"}
    await record(tx, *(Line(Act.MENDED, told, row["file_id"]) for row in files))
    for stage in (RESTORE, PROVE, WATCH):
        await leases.make_due(tx, stage, zip_id)
