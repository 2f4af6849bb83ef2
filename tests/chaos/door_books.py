"""What the door's clients are owed: an upload that goes on or is sent again is one file, a batch is told of once."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from chaos.arena import Arena
from chaos.contents import Row
from chaos.load import Load
from chaos.losses import Loss
from chaos.transfers import Place, Transfer

_SWEPT_SECONDS = 20
"""Within which what has expired is gone."""


def transfers(arena: Arena, files: Mapping[int, Row], load: Load) -> list[str]:
    """Return which uploads that were gone on with, or sent again, are not one file each, or were lost on the way."""
    wrong = list(load.transfers.wrong)
    found = arena.sql(
        "SELECT *, expires_at < UTC_TIMESTAMP(6) - INTERVAL %s SECOND AS late FROM upload_info", (_SWEPT_SECONDS,)
    )
    uploads = {row["upload_id"]: row for row in found}
    wrong += [f"upload {upload_id} has expired, and is there" for upload_id, row in uploads.items() if row["late"]]
    copies = Counter(row["sha256"] for row in files.values())
    for transfer in load.transfers.all:
        if len(transfer.eras) > 1:  # what it was before the loss may have come back as a file
            continue
        if len(transfer.file_ids) > 1:
            wrong.append(f"{transfer}: it was told to be the files {sorted(transfer.file_ids)}")
        if copies[transfer.sha256] > 1:
            wrong.append(f"{transfer}: it is {copies[transfer.sha256]} files")
        if not transfer.file_ids and load.transfers.era in transfer.eras:
            for place in transfer.places:
                row = uploads.get((place.path or "").rpartition("/")[2])
                wrong += [f"{transfer}: {why}" for why in _stopped(arena, files, transfer, place, row)]
    return wrong


def _stopped(
    arena: Arena, files: Mapping[int, Row], transfer: Transfer, place: Place, row: Row | None
) -> Iterator[str]:
    """Look at an upload that nobody goes on with: all that the client was told of has to be there until it expires."""
    if row is None:
        if place.path is not None and time.monotonic() < place.until:
            yield f"{place.path} is gone before its time"
    elif row["file_id"] is not None:
        if row["file_id"] in files and files[row["file_id"]]["sha256"] != transfer.sha256:
            yield f"it has become the file {row['file_id']}, which has other bytes"
    elif row["came"] < place.offset:
        yield f"{place.offset} bytes of it had been acknowledged, and {row['came']} are there"
    elif row["came"]:
        path = arena.layout.vault / row["path"]
        came = path.read_bytes() if path.exists() else b""
        if came[: row["came"]] != place.content[: row["came"]]:
            yield f"{row['path']} does not have the {row['came']} bytes that came"


def batches(arena: Arena, load: Load) -> list[str]:
    """Return which batches have not ended, or were not told of as they ended."""
    rows = {row["batch_id"]: row for row in arena.sql("SELECT * FROM batch_info")}
    called = arena.sql(
        "SELECT item.batch_id, COUNT(called_back_at) AS files FROM batch_file_info AS item"
        " LEFT JOIN download_info USING (download_id) GROUP BY item.batch_id"
    )
    taken = {row["batch_id"]: row["files"] for row in called}
    wrong = []
    for batch in load.batches:
        row = rows.get(batch.batch_id)
        if row is None:
            wrong.append(f"batch {batch.batch_id} was accepted and has no row")
            continue
        told = load.receiver.reports.get(batch.path, [])
        right = {"batchID": batch.batch_id, **{name: row[name] for name in ("files", "done", "failed", "cancelled")}}
        met = load.receiver.met.get(batch.path, Counter())
        whys = {
            "it has not ended": row["is_open"] is not None,
            f"of {batch.files} files {row['done']} are done, {row['failed']} failed": (
                (row["files"], (row["done"] or 0) + (row["failed"] or 0)) != (batch.files, batch.files)
            ),
            f"it says {row['done']} done, {taken[batch.batch_id]} were called back": row["done"]
            != taken[batch.batch_id],
            "failed, and its receiver is not to blame": row["report_failed_at"] is not None and set(met) <= {"takes"},
            "nobody was told of its end": row["report_failed_at"] is None and not told,
            f"it was told of as {told}": any(body != right for body, _ in told),
            "its end was told before all of its files": any(count < (row["done"] or 0) for _, count in told),
        }
        wrong += [f"batch {batch.batch_id}: {why}" for why, is_so in whys.items() if is_so]
    return wrong


def remembered(arena: Arena, losses: Sequence[Loss]) -> list[str]:
    """Return which batches were forgotten with the database, and have a row."""
    batches = {row["batch_id"] for row in arena.sql("SELECT batch_id FROM batch_info")}
    forgotten = {batch_id for loss in losses for batch_id in loss.batches}
    return [f"batch {batch_id} was forgotten, and has a row" for batch_id in forgotten & batches]


def unfinished(arena: Arena) -> dict[str, bool]:
    """Return the paths of uploads that are not whole, and whether bytes of them have to be there."""
    rows = arena.sql("SELECT path, came FROM upload_info WHERE file_id IS NULL")
    return {row["path"]: row["came"] > 0 for row in rows}


def activity(load: Load, few: int) -> dict[str, tuple[int, int]]:
    """Count what the door's clients did, and how much of it there has to be."""
    done = [one for one in load.transfers.all if one.file_ids]
    ways = Counter(one.way for one in done)
    return {
        "uploads under a key": (ways["key"], few),
        "uploads in pieces": (ways["pieces"], few),
        "uploads in parts": (ways["parts"], 1),
        "uploads that were gone on with or sent again": (sum(one.again > 0 for one in done), few),
        "batches that were told of": (len(load.receiver.reports), 1 + few // 4),
    }
