"""Books that can't be wrong prove nothing: spoils one thing after another, and sees that each is found out.

All services stand still meanwhile, so that nobody mends or uses what is spoilt; each thing is put right again, but for
what is done to the chain, which is the last.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from chaos.arena import KEYS, Arena
from chaos.books import Books
from chaos.load import File, Load, Request
from chaos.spoilt_chain import buy_again, end_order, forget_file
from chaos.throws import Findings, processes_of
from chaos.watch import Watch

from roadvault_stack.environment import SERVICES

_NOWHERE = "received/00/nowhere"
_NOW = "now"
"""As a column's value: the time of the database."""

Spoil = Callable[[], Any]
"""Makes a context in which something is wrong."""


@dataclass(frozen=True)
class Case:
    """A check, what it has to say, and what makes it say so."""

    check: str
    about: str
    spoil: Spoil


def spoil_all(
    arena: Arena, load: Load, findings: Findings, books: Callable[[], Books], watch: Watch, say: Callable[[str], None]
) -> list[str]:
    """Spoil each book; return what was not found out."""
    missed: list[str] = []
    with _standing_still(arena):
        cases = [*_rows(arena, load), *_clients(load), *_servers(arena, findings)]
        for case in cases:
            with case.spoil():
                found = getattr(books(), case.check)()
            if not any(case.about in line for line in found):
                missed.append(f"spoilt, and not found out by {case.check}: {case.about}; it says {found[:2]}")
        missed += [f"the watch does not see {what}" for what in _unwatched(arena, watch)]
        missed += [f"after all was put right again: {line}" for line in books().states() + books().contents()]
        last = _chain(arena, cast("list[dict[str, Any]]", list(books().archives.values())))
        for about, spoil in last:
            spoil()
            if not any(about in line for line in books().purchases()):
                missed.append(f"spoilt, and not found out by purchases: {about}")
    say(f"{len(cases) + len(last) + 2} things were spoilt, {len(missed)} not found out")
    return missed


@contextmanager
def _standing_still(arena: Arena) -> Iterator[None]:
    names = [name for service in SERVICES for name in processes_of(service)]
    for name in names:
        arena.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        for name in names:
            arena.signal(name, signal.SIGCONT)


# --- rows --------------------------------------------------------------------------------------------------------


def _rows(arena: Arena, load: Load) -> list[Case]:
    file_id = next(iter(load.files))
    (file,) = arena.sql("SELECT * FROM file_upload_info WHERE file_id = %s", (file_id,))
    folder, archive = file["folder_id"], file["zip_id"]
    other = arena.sql("SELECT zip_id, cid FROM zip_ipfs_info WHERE zip_id <> %s", (archive,))[0]
    (request,) = arena.sql("SELECT * FROM download_info WHERE path IS NOT NULL AND status = 2 LIMIT 1")
    of_file = partial(_changed, arena, "file_upload_info", file_id)
    of_folder = partial(_changed, arena, "folder_info", folder)
    of_archive = partial(_changed, arena, "zip_ipfs_info", archive)
    of_request = partial(_changed, arena, "download_info", request["download_id"])
    return [
        Case("uploads", "its row does not say what was sent", partial(of_file, sha256="0" * 64)),
        Case("uploads", "is in no archive", partial(of_file, zip_id=None)),
        Case("uploads", "the upload is missing", partial(of_file, path=_NOWHERE)),
        Case("packing", "status 1", partial(of_folder, status=1)),
        Case("packing", "name it", partial(of_folder, files=10_000)),
        Case("packing", "its files are not in its archive", partial(of_folder, zip_id=None)),
        Case("packing", "0 archives", partial(of_archive, folder_id=1 << 40)),
        Case("contents", "has other bytes", partial(of_file, sha256="0" * 64)),
        Case("contents", "has other bytes", partial(of_archive, iv="0" * 32)),
        Case("contents", "the network does not give", partial(of_archive, size=1)),
        Case("contents", "the local archive does not give", partial(of_archive, path=_NOWHERE)),
        Case("contents", "has no CID", partial(of_archive, cid=None)),
        Case("contents", "stands for 2 archives", partial(of_archive, cid=other["cid"])),
        Case("purchases", "0 in our rows", partial(_changed, arena, "order_info", archive, key="zip_id", status=3)),
        Case("purchases", "in our rows", partial(of_archive, terms_wanted=2)),
        Case("purchases", "until 1", partial(of_archive, expired_on=1)),
        Case("purchases", "status 4", partial(of_archive, status=4)),
        Case("states", f"pack {folder} is leased", partial(of_folder, pack_token="0" * 32)),
        Case("states", f"drop {archive} has failed", partial(of_archive, drop_failed_at=_NOW)),
        Case("states", f"prove {archive} has failed", partial(of_archive, prove_failed_at=_NOW)),
        Case("states", f"fetch {request['download_id']} has failed", partial(of_request, fetch_failed_at=_NOW)),
        Case("states", "nobody will pack it", partial(of_folder, status=1, pack_due=None)),
        Case("states", "nobody will pin it", partial(of_archive, cid=None, pin_due=None)),
        Case("states", "nobody watches its order", partial(of_archive, order_due=None)),
        Case("states", "nobody will prove them", partial(of_archive, replicated_at=None, prove_due=None)),
        Case("states", "nobody will drop it", partial(of_archive, path=_NOWHERE, drop_due=None)),
        Case("states", "nobody will expire it", partial(of_request, expire_due=None)),
        Case("states", "nobody will fetch it", partial(of_request, status=0, fetch_due=None)),
        Case("states", "nobody will remove its extraction", partial(of_request, status=3, expire_due=None)),
        Case("disk", "is in a row and not on the disk", partial(of_request, path=_NOWHERE)),
        Case("disk", "is on the disk and in no row", partial(of_request, path=None)),
        *_failed_requests(arena, load),
    ]


def _failed_requests(arena: Arena, load: Load) -> list[Case]:
    """A request that has failed though its receiver was in no bad mood, as far as there is one."""
    for asked in load.requests:
        met = load.receiver.met.get(asked.path, Counter())
        if set(met) == {"takes"}:
            row = arena.sql("SELECT download_id FROM download_info WHERE cb_url = %s", (asked.url,))[0]
            spoil = partial(
                _changed, arena, "download_info", row["download_id"],
                status=3, callback_reason="the client answers 500", callback_failed_at=_NOW,
            )  # fmt: skip
            return [Case("callbacks", "its receiver is not to blame", spoil)]
    return []


@contextmanager
def _changed(arena: Arena, table: str, row_id: int, *, key: str | None = None, **values: object) -> Iterator[None]:
    """Change some columns of a row for a while."""
    key = key or {"file_upload_info": "file_id"}.get(table) or KEYS[table]
    columns = ", ".join(f"`{name}`" for name in values)
    (before,) = arena.sql(f"SELECT {columns} FROM {table} WHERE {key} = %s", (row_id,))  # noqa: S608 - names in this file
    _write(arena, table, key, row_id, values)
    try:
        yield
    finally:
        _write(arena, table, key, row_id, before)


def _write(arena: Arena, table: str, key: str, row_id: int, values: dict[str, Any]) -> None:
    changes = ", ".join(f"`{name}` = {'UTC_TIMESTAMP(6)' if value == _NOW else '%s'}" for name, value in values.items())
    given = [value for value in values.values() if value != _NOW]
    arena.sql(f"UPDATE {table} SET {changes} WHERE {key} = %s", (*given, row_id))  # noqa: S608 - names in this file


# --- what the clients know ---------------------------------------------------------------------------------------


def _clients(load: Load) -> list[Case]:
    file = next(iter(load.files.values()))
    called = next(request for request in load.requests if load.followed.get(request.path))
    path, receiver = called.path, load.receiver
    nobody = File(1 << 40, 1, "0" * 64)
    return [
        Case("uploads", "was acknowledged and has no row", partial(_put, load.files, nobody.file_id, nobody)),
        Case("uploads", "was given out twice", partial(_put, load.__dict__, "doubled", [file.file_id])),
        Case("callbacks", "has no row", partial(_put, load.__dict__, "requests", [Request(file, "http://x/none")])),
        Case("callbacks", "never called back", partial(_put, receiver.taken, path, [])),
        Case("callbacks", "was for another file", partial(_put, receiver.taken, path, [(-1, "")])),
        Case("callbacks", "the links gave", partial(_put, load.followed, path, ["no answer"])),
        Case("callbacks", "a link gave other bytes", partial(_put, load.followed, path, ["0" * 64])),
        Case("activity", "0 uploads", partial(_put, load.__dict__, "files", {})),
        Case("activity", "0 requests that were called back", partial(_put, load.__dict__, "requests", [])),
        Case("activity", "took nothing", partial(_put, load.answered, load.doors[0], 0)),
    ]


@contextmanager
def _put(where: dict[Any, Any], key: object, value: object) -> Iterator[None]:
    """Have a dictionary say something else for a while."""
    known, before = key in where, where.get(key)
    where[key] = value
    try:
        yield
    finally:
        if known:
            where[key] = before
        else:
            del where[key]


# --- disk, Redis, and files that a row names ---------------------------------------------------------------------


def _servers(arena: Arena, findings: Findings) -> list[Case]:
    with arena.redis() as redis:
        entry: Any = redis.xadd("file.received", {"spoilt": "yes"})
    unheard = partial(_put, findings.letters, ("file.received", entry.decode()), "an entry that nobody has read")
    return [
        Case("disk", "is on the disk and in no row", partial(_stray, arena)),
        Case("letters", "not among the dead letters", unheard),
        Case("streams", "unread", partial(_unread, arena, entry)),
    ]


@contextmanager
def _stray(arena: Arena) -> Iterator[None]:
    path = arena.layout.vault / _NOWHERE
    path.write_bytes(b"nobody's")
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def _unread(arena: Arena, entry: bytes) -> Iterator[None]:
    try:
        yield
    finally:
        with arena.redis() as redis:
            redis.xdel("file.received", entry)


def _unwatched(arena: Arena, watch: Watch) -> list[str]:
    """Write to a file that a row names; return what the watch, and a new one, don't say of it."""
    row = arena.sql("SELECT path FROM download_info WHERE path IS NOT NULL LIMIT 1")[0]
    path = arena.layout.vault / row["path"]
    before, times = path.read_bytes(), path.stat()
    watch.look()
    with ExitStack() as stack:
        stack.callback(os.utime, path, ns=(times.st_atime_ns, times.st_mtime_ns))
        stack.callback(path.write_bytes, before)
        path.write_bytes(bytes(len(before)))
        seen, afresh = len(watch.changed), Watch(arena)
        watch.look()
        afresh.look()
        told = {
            "that a named file was written to": any(row["path"] in line for line in watch.changed[seen:]),
            "other bytes from the first": any("other bytes, when first seen" in line for line in afresh.changed),
        }
        del watch.changed[seen:]
    return [what for what, known in told.items() if not known]


def _chain(arena: Arena, archives: list[dict[str, Any]]) -> list[tuple[str, Spoil]]:
    """Return what is done to the chain, and what the books have to say of it."""
    first, second, *_ = archives
    port = arena.settings.devnet_port
    return [
        ("2 orders in the blocks", partial(buy_again, port, first["cid"], first["dag_size"])),
        ("its order ended at block", partial(end_order, port, first["cid"], first["dag_size"])),
        (f"the network does not know {second['cid']}", partial(forget_file, port, second["cid"])),
    ]
