"""Records that somebody asks for a file: bounded, once for each client and file, written down."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from roadvault_common.files.span import Span, clock, columns, milliseconds
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Transaction
from roadvault_common.sql.states import FileStatus
from roadvault_common.stores import MAIN
from roadvault_common.tracing import store as traces
from roadvault_common.web.callback_url import CallbackUrl
from roadvault_common.web.connections import counts_for
from roadvault_ingest.access.who import current
from roadvault_ingest.problems import BadClip, Gone, TooMany

LATER_SECONDS = 60
"""After so long a client that has too many open requests may ask again."""


@dataclass(frozen=True)
class Most:
    """Requests that may be open: for one file, and from one address."""

    per_file: int
    per_peer: int


@dataclass(frozen=True)
class Asker:
    """Who asks for what of a file: an address, as often as it may; or a batch, which counts by itself."""

    peer: str | None
    most: Most
    batch_id: int | None = None
    span: Span | None = None
    """What of the file is to be cut out of it; None: all of it."""
    store: str = MAIN
    """That brings it back if no store has it on its disk."""


class Asked(NamedTuple):
    """A request, and the store that works on it."""

    download_id: int
    store: str


async def ask(tx: Transaction, file_id: int, url: CallbackUrl | None, asker: Asker) -> Asked | None:
    """Record a request, or join the open one for the same file and URL; None if there is no such file.

    Without a URL nobody is called, and the link stands on the request's page.

    Raises:
        TooMany: As many as may be are open; nothing was written.
        Gone: The file has ended.
        BadClip: It has no such clip.
    """
    who = current()
    text, place = ("", None) if url is None else (url.text, url.place)
    asks = f"{file_id}\n{text}" + ("" if who.token_id is None else f"\n{who.token_id}")  # it signs the callback
    asks += "" if asker.span is None else f"\nclip {tuple(asker.span)}"
    key = hashlib.sha256(asks.encode()).hexdigest()
    counted = counts_for(asker.peer) if asker.peer and asker.batch_id is None else None
    most = asker.most
    # The mirror's row comes first, so that requests for one file wait here and not in each other's way.
    known = await tx.fetch_one(
        "SELECT camera, recorded_at FROM file_upload_info WHERE file_id = %s FOR UPDATE", (file_id,)
    )
    if known is None or not who.sees(known["camera"]):
        return None
    _check_clip(file_id, asker.span, known["recorded_at"])
    ended = await tx.fetch_one(
        "SELECT shredded_at FROM file_upload_info JOIN retention_info USING (zip_id)"
        " WHERE file_id = %s AND shredded_at IS NOT NULL",
        (file_id,),
    )
    if ended is not None:
        raise Gone(f"file {file_id} ended on {ended['shredded_at']:%Y-%m-%d}: it was destroyed, for good")
    joined = await tx.fetch_one("SELECT download_id, store, batch_id FROM download_info WHERE open_key = %s", (key,))
    if joined is not None:
        if joined["batch_id"] not in {None, asker.batch_id}:  # it is not that batch's alone any more
            await tx.execute(
                "UPDATE download_info SET batch_id = NULL WHERE download_id = %s", (joined["download_id"],)
            )
        return Asked(joined["download_id"], joined["store"])
    await _check_open(tx, "file_id", file_id, most.per_file, f"file {file_id}")
    if asker.batch_id is None:
        await _check_open(tx, "peer", counted, most.per_peer, f"the address {counted}")
    await tx.execute(
        f"UPDATE file_upload_info SET cb_url = %s, status = {FileStatus.REQUESTED} WHERE file_id = %s",  # noqa: S608 - our own numbers
        (text or None, file_id),
    )
    store = await _home(tx, file_id) or asker.store
    download_id = await tx.insert(
        "INSERT INTO download_info (file_id, store, cb_url, cb_place, open_key, peer, batch_id, token_id, clip_from,"
        " clip_to, clip_clock, fetch_due) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(6))",
        (file_id, store, text, place, key, counted, asker.batch_id, who.token_id, *columns(asker.span)),
    )
    await traces.keep(tx, "download_info", download_id)
    told: dict[str, object] = {"by": asker.peer, "for": place, "request": download_id, "batch": asker.batch_id}
    told |= who.facts
    if asker.span is not None:
        told["clip"] = asker.span.told()
    await record(tx, Line(Act.ASKED, told, file_id))
    return Asked(download_id, store)


async def _home(tx: Transaction, file_id: int) -> str | None:
    """Return the store that has a file on its disk, as an upload or in an archive, if one has."""
    row = await tx.fetch_one(
        "SELECT CASE WHEN file.path IS NOT NULL THEN folder.store WHEN zip.path IS NOT NULL THEN zip.store END AS store"
        " FROM file_upload_info AS file LEFT JOIN folder_info AS folder USING (folder_id)"
        " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id WHERE file.file_id = %s",
        (file_id,),
    )
    return None if row is None else row["store"]


def _check_clip(file_id: int, span: Span | None, recorded_at: datetime | None) -> None:
    """Look whether a clip can be, as far as that can be known before the video is opened."""
    if span is not None and span.on_clock and recorded_at is not None and span.end <= milliseconds(recorded_at):
        raise BadClip(f"the recording of file {file_id} began only at {clock(milliseconds(recorded_at))}")


async def _check_open(
    tx: Transaction, column: Literal["file_id", "peer"], value: object, most: int, whose: str
) -> None:
    row = await tx.fetch_one(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM download_info"  # noqa: S608 - one of two names
        f" WHERE {column} = %s AND open_key IS NOT NULL LIMIT %s) AS some",
        (value, most),
    )
    if row is not None and row["n"] >= most:
        raise TooMany(
            f"{whose} has {most} open requests, as many as may be; ask again when some are done", LATER_SECONDS
        )
