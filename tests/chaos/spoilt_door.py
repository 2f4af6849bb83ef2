"""Uploads that go on, and batches, of which the client knows something else than there is."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from chaos.arena import Arena
from chaos.load import Batch, Load
from chaos.spoiling import NOWHERE, Case, changed, put
from chaos.transfers import Place, Transfer

_ID = "0" * 32


def door(arena: Arena, load: Load) -> list[Case]:
    one, other, *_ = (made for made in load.transfers.all if made.file_ids & load.files.keys() and len(made.eras) == 1)
    (file_id,) = one.file_ids & load.files.keys()
    copied = partial(changed, arena, "file_upload_info", "file_id", file_id, sha256=other.sha256)
    batch, nowhere = load.batches[-1], Batch(1 << 40, 1, "/none")
    reports = load.receiver.reports
    told = [({**reports[batch.path][0][0], "done": -1}, -1)]
    return [
        Case("transfers", {
            f"{one}: it was told to be the files": partial(put, one.__dict__, "file_ids", {1, 2}),
            f"{other}: it is 2 files": copied,
            "no server may say": partial(put, load.transfers.__dict__, "wrong", ["what no server may say"]),
        }),
        Case("transfers", {"is gone before its time": partial(_known, load, 1)}),
        Case("transfers", {"2 bytes of it had been acknowledged, and 1 are there": partial(_stopped, arena, load, 2)}),
        Case("transfers", {f"{NOWHERE} does not have the 1 bytes that came": partial(_stopped, arena, load, 1)}),
        Case("transfers", {f"upload {_ID} has expired, and is there": partial(_upload, arena, hours_ago=1)}),
        Case("disk", {f"{NOWHERE} is in a row and not on the disk": partial(_upload, arena)}),
        Case("batches", {
            f"batch {nowhere.batch_id} was accepted and has no row": partial(
                put, load.__dict__, "batches", [batch, nowhere]
            ),
            f"batch {batch.batch_id}: it was told of as": partial(put, reports, batch.path, told),
            f"batch {batch.batch_id}: its end was told before": partial(put, reports, batch.path, told),
        }),
        Case("batches", {
            "nobody was told of its end": partial(put, reports, batch.path, []),
            "it has not ended": partial(changed, arena, "batch_info", "batch_id", batch.batch_id, is_open=1),
            "are done, 1000 failed": partial(changed, arena, "batch_info", "batch_id", batch.batch_id, failed=1000),
        }),
        Case("batches", {
            "says 1000 done": partial(changed, arena, "batch_info", "batch_id", batch.batch_id, done=1000),
        }),
        Case("activity", {
            "0 uploads under a key": partial(put, load.transfers.__dict__, "all", []),
            "0 batches": partial(put, load.receiver.__dict__, "reports", {}),
        }),
    ]  # fmt: skip


@contextmanager
def _known(load: Load, offset: int) -> Iterator[None]:
    """Have a client know an upload that stopped."""
    place = Place(b"xx", f"/{_ID}", offset, math.inf)
    stopped = Transfer(1 << 40, "pieces", "x", b"xx", "0" * 64, 2, [place], {load.transfers.era})
    with put(load.transfers.__dict__, "all", [stopped]):
        yield


@contextmanager
def _upload(arena: Arena, hours_ago: int = 0) -> Iterator[None]:
    """Have a row of an upload of which one byte has come."""
    arena.sql(
        "INSERT INTO upload_info (upload_id, path, came, metadata, held_until, expires_at) VALUES (%s, %s, 1, '',"
        " UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL %s HOUR)",
        (_ID, NOWHERE, hours_ago),
    )
    try:
        yield
    finally:
        arena.sql("DELETE FROM upload_info WHERE upload_id = %s", (_ID,))


@contextmanager
def _stopped(arena: Arena, load: Load, offset: int) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(_upload(arena))
        stack.enter_context(_known(load, offset))
        yield
