"""What the clients know, spoilt: what they were told, asked for, and lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.arena import Arena
from chaos.load import File, Load, Request
from chaos.losses import Loss
from chaos.spoiling import Case, changed, put


def clients(load: Load) -> list[Case]:
    file = next(iter(load.files.values()))
    called = next(request for request in load.requests if load.followed.get(request.path))
    path, receiver = called.path, load.receiver
    nobody = File(1 << 40, "nothing", 1, "0" * 64)
    return [
        Case("uploads", {
            "was acknowledged and has no row": partial(put, load.files, nobody.file_id, nobody),
            f"file {file.file_id} was given out twice": partial(put, load.__dict__, "doubled", [file.file_id]),
        }),
        Case("callbacks", {"has no row": partial(put, load.__dict__, "requests", [Request(file, "http://x/none")])}),
        Case("callbacks", {"never called back": partial(put, receiver.taken, path, [])}),
        Case("callbacks", {"was for another file": partial(put, receiver.taken, path, [(-1, "")])}),
        Case("callbacks", {"the links gave": partial(put, load.followed, path, ["no answer"])}),
        Case("callbacks", {"a link gave other bytes": partial(put, load.followed, path, ["0" * 64])}),
        Case("activity", {
            "0 uploads": partial(put, load.__dict__, "files", {}),
            "0 requests that were called back": partial(put, load.__dict__, "followed", {}),
            "took nothing": partial(put, load.answered, load.doors[0], 0),
        }),
    ]  # fmt: skip


# --- what was lost -----------------------------------------------------------------------------------------------


def lost(arena: Arena, load: Load, losses: list[Loss]) -> list[Case]:
    """What recovery may do wrong: another number, a file too few or too many, something invented or forgotten."""
    last = losses[-1]
    packed = "SELECT * FROM file_upload_info WHERE zip_id IS NOT NULL ORDER BY file_id"
    known = [row for row in arena.sql(packed) if row["file_id"] in last.known & load.files.keys()]
    a, b, c, *_ = (row for row in known if last.archived[row["file_id"]] in last.numbers)
    cid, zip_id = last.archived[a["file_id"]], a["zip_id"]
    (asked,) = arena.sql("SELECT download_id FROM download_info LIMIT 1")
    forgotten = last.requests[-1]
    url = partial(changed, arena, "download_info", "download_id", asked["download_id"], cb_url=forgotten.url)
    missing = partial(_without, arena, c["file_id"])
    return [
        Case("losses", {
            f"file {a['file_id']} is file {1 << 40} since": partial(_renumbered, arena, a["file_id"], 1 << 40),
            f"file {b['file_id']}, in no archive, was lost, and has a row": partial(
                put, last.lost, b["file_id"], "in no archive"
            ),
            f"archive {1 << 40}, {cid}, has the number {zip_id}": partial(put, last.numbers, cid, 1 << 40),
            f"the request {forgotten.url} was forgotten when {last.name}, and has a row": url,
            f"the request {forgotten.url} was forgotten when {last.name}, and was called back": partial(
                put, last.called, forgotten.path, -1
            ),
        }),
        Case("losses", {"had been given out": partial(put, last.__dict__, "known", {1 << 40})}),
        Case("losses", {
            f"archive {zip_id}, {cid}, did not come back": partial(
                changed, arena, "zip_ipfs_info", "zip_id", zip_id, cid="another"
            ),
        }),
        Case("losses", {"nobody has asked again": partial(_unanswered, load, losses)}),
        Case("uploads", {f"file {c['file_id']} was acknowledged and has no row": missing}),
        Case("packing", {f"folder {c['folder_id']} says": missing}),
    ]  # fmt: skip


@contextmanager
def _renumbered(arena: Arena, file_id: int, other: int) -> Iterator[None]:
    arena.sql("UPDATE file_upload_info SET file_id = %s WHERE file_id = %s", (other, file_id))
    try:
        yield
    finally:
        arena.sql("UPDATE file_upload_info SET file_id = %s WHERE file_id = %s", (file_id, other))


@contextmanager
def _without(arena: Arena, file_id: int) -> Iterator[None]:
    """Have a file of an archive be missing for a while."""
    (row,) = arena.sql("SELECT * FROM file_upload_info WHERE file_id = %s", (file_id,))
    arena.sql("DELETE FROM file_upload_info WHERE file_id = %s", (file_id,))
    try:
        yield
    finally:
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        arena.sql(f"INSERT INTO file_upload_info ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608 - columns


@contextmanager
def _unanswered(load: Load, losses: list[Loss]) -> Iterator[None]:
    """Have the first request of all, which others may have followed, be one that nobody answered or asked again."""
    file = next(request.file for request in losses[0].requests if request.file.file_id in load.files)
    others = [loss.requests for loss in losses] + [load.requests]
    kept = [list(requests) for requests in others]
    for requests in others:
        requests[:] = [request for request in requests if request.file is not file]
    losses[0].requests.append(Request(file, "http://x/unanswered"))
    losses[0].called["/unanswered"] = 0
    try:
        yield
    finally:
        for requests, before in zip(others, kept, strict=True):
            requests[:] = before
        del losses[0].called["/unanswered"]
