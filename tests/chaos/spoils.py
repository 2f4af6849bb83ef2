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

from chaos.arena import Arena
from chaos.books import Books
from chaos.contents import Row
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
    """A check, what it has to say, and what makes it say so; all at once where one does not hide another."""

    check: str
    spoils: dict[str, Spoil]


def spoil_all(
    arena: Arena, load: Load, findings: Findings, books: Callable[[], Books], watch: Watch, say: Callable[[str], None]
) -> list[str]:
    """Spoil each book; return what was not found out."""
    missed: list[str] = []
    with _standing_still(arena):
        cases = [*_rows(arena, load), *_clients(load), *_servers(arena, findings)]
        for case in cases:
            with ExitStack() as stack:
                for spoil in case.spoils.values():
                    stack.enter_context(spoil())
                found = getattr(books(), case.check)()
            unheard = [about for about in case.spoils if not any(about in line for line in found)]
            missed += [f"spoilt, and not found out by {case.check}: {about}; it says {found}" for about in unheard]
        missed += [f"the watch does not see {what}" for what in _unwatched(arena, watch)]
        missed += [f"after all was put right again: {line}" for line in books().states() + books().contents()]
        last = _chain(arena, cast("list[dict[str, Any]]", list(books().archives.values())))
        for about, spoil in last:
            spoil()
            if not any(about in line for line in books().purchases()):
                missed.append(f"spoilt, and not found out by purchases: {about}")
    count = sum(len(case.spoils) for case in cases) + len(last) + 2
    say(f"{count} things were spoilt, {len(missed)} not found out")
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
    files = arena.sql("SELECT * FROM file_upload_info ORDER BY file_id")
    known = next(file for file in files if file["file_id"] in load.files)
    # One file of each archive, so that the spoils of one check hit different archives.
    a, b, c, d, e, f, g, *_ = {file["zip_id"]: file for file in files}.values()
    # With an extraction that no other request shares.
    r, s, t, *_ = arena.sql(
        "SELECT MIN(download_id) AS download_id FROM download_info WHERE path IS NOT NULL GROUP BY path"
        " HAVING COUNT(*) = 1 AND MIN(status) = 2 LIMIT 3"
    )

    def file(row: Row, **values: object) -> Spoil:
        return partial(_changed, arena, "file_upload_info", "file_id", row["file_id"], **values)

    def folder(row: Row, **values: object) -> Spoil:
        return partial(_changed, arena, "folder_info", "folder_id", row["folder_id"], **values)

    def archive(row: Row, **values: object) -> Spoil:
        return partial(_changed, arena, "zip_ipfs_info", "zip_id", row["zip_id"], **values)

    def label(row: Row, **values: object) -> Spoil:
        return partial(_changed, arena, "label_info", "zip_id", row["zip_id"], **values)

    def request(row: Row, **values: object) -> Spoil:
        return partial(_changed, arena, "download_info", "download_id", row["download_id"], **values)

    def evidence(row: Row, **values: object) -> Spoil:
        valid = "SELECT evidence_id FROM evidence_info WHERE zip_id = %s AND valid = 1"
        (found,) = arena.sql(valid, (row["zip_id"],))
        return partial(_changed, arena, "evidence_info", "evidence_id", found["evidence_id"], **values)

    other_cid = arena.sql("SELECT cid FROM zip_ipfs_info WHERE zip_id = %s", (f["zip_id"],))[0]["cid"]
    bought = partial(_changed, arena, "order_info", "zip_id", a["zip_id"], status=3)
    (day,) = arena.sql("SELECT MIN(day) AS day FROM renewal_info")
    counted = partial(_changed, arena, "renewal_info", "day", day["day"], archives=1 << 40)
    return [
        Case("uploads", {
            f"file {known['file_id']}: its row does not say what was sent": file(known, sha256="0" * 64),
            f"file {g['file_id']} is in no archive": file(g, zip_id=None),
            f"file {f['file_id']}: the upload is missing": file(f, path=_NOWHERE),
        }),
        Case("packing", {
            f"folder {a['folder_id']}: status 1": folder(a, status=1),
            f"folder {b['folder_id']} says 10000 files": folder(b, files=10_000),
            f"folder {c['folder_id']}: its files are not in its archive": folder(c, zip_id=None),
            f"folder {d['folder_id']}: status 2, 0 archives": archive(d, folder_id=1 << 40),
        }),
        Case("contents", {
            f"file {a['file_id']}: the network has other bytes": file(a, sha256="0" * 64),
            f"file {b['file_id']}: the network has other bytes": archive(b, iv="0" * 32),
            f"archive {c['zip_id']}: the network does not give": archive(c, size=1),
            f"archive {d['zip_id']}: the local archive does not give": archive(d, path=_NOWHERE),
            f"archive {e['zip_id']} has no CID": archive(e, cid=None),
            f"archive {f['zip_id']}: the network does not give its label": label(f, label=b"another"),
            f"CID {other_cid} stands for 2 archives": archive(g, cid=other_cid),
        }),
        Case("purchases", {
            f"archive {a['zip_id']}: 1 orders in the blocks, 0 in our rows": bought,
            f"archive {b['zip_id']}: 1 orders in the blocks, 1 in our rows": archive(b, terms_wanted=2),
            f"archive {c['zip_id']}: status 3, until 1": archive(c, expired_on=1),
            f"archive {d['zip_id']}: status 4": archive(d, status=4),
            f": {1 << 40}": counted,
        }),
        Case("states", {
            f"pack {a['folder_id']} is leased": folder(a, pack_token="0" * 32),
            f"drop {a['zip_id']} has failed": archive(a, drop_failed_at=_NOW),
            f"prove {b['zip_id']} has failed": archive(b, prove_failed_at=_NOW),
            f"fetch {r['download_id']} has failed": request(r, fetch_failed_at=_NOW),
            f"folder {b['folder_id']} is closed and nobody will pack it": folder(b, status=1, pack_due=None),
            f"archive {c['zip_id']}: no CID, and nobody will pin it": archive(c, cid=None, pin_due=None),
            f"archive {d['zip_id']}: nobody watches its order": archive(d, watch_due=None),
            f"archive {a['zip_id']}: nobody will renew its order": archive(a, order_due=None),
            f"archive {e['zip_id']}: enough replicas, and nobody": evidence(e, proven_at=None),
            f"archive {g['zip_id']}: its local copy went, and nothing was ever proven": evidence(g, proven_at=None),
            f"archive {f['zip_id']}: replicated, and nobody": archive(f, path=_NOWHERE, drop_due=None),
            f"request {r['download_id']}: status 2, and nobody will expire it": request(r, expire_due=None),
            f"request {s['download_id']}: status 0, and nobody will fetch it": request(s, status=0, fetch_due=None),
            f"request {t['download_id']}: failed, and nobody": request(t, status=3, expire_due=None),
        }),
        Case("disk", {"is in a row and not on the disk": request(r, path=_NOWHERE)}),
        Case("disk", {"is on the disk and in no row": request(r, path=None)}),
        Case("disk", {"is in a row and in quarantine": partial(_named_and_set_aside, arena, r["download_id"])}),
        *_failed_requests(arena, load),
    ]  # fmt: skip


def _failed_requests(arena: Arena, load: Load) -> list[Case]:
    """A request that has failed though its receiver was in no bad mood, as far as there is one."""
    for asked in load.requests:
        met = load.receiver.met.get(asked.path, Counter())
        if set(met) == {"takes"}:
            row = arena.sql("SELECT download_id FROM download_info WHERE cb_url = %s", (asked.url,))[0]
            spoil = partial(
                _changed, arena, "download_info", "download_id", row["download_id"],
                status=3, callback_reason="the callback was not taken: answered 500", callback_failed_at=_NOW,
            )  # fmt: skip
            return [Case("callbacks", {"its receiver is not to blame": spoil})]
    return []


@contextmanager
def _changed(arena: Arena, table: str, key: str, row_id: int, **values: object) -> Iterator[None]:
    """Change some columns of a row for a while."""
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
        Case("uploads", {
            "was acknowledged and has no row": partial(_put, load.files, nobody.file_id, nobody),
            f"file {file.file_id} was given out twice": partial(_put, load.__dict__, "doubled", [file.file_id]),
        }),
        Case("callbacks", {"has no row": partial(_put, load.__dict__, "requests", [Request(file, "http://x/none")])}),
        Case("callbacks", {"never called back": partial(_put, receiver.taken, path, [])}),
        Case("callbacks", {"was for another file": partial(_put, receiver.taken, path, [(-1, "")])}),
        Case("callbacks", {"the links gave": partial(_put, load.followed, path, ["no answer"])}),
        Case("callbacks", {"a link gave other bytes": partial(_put, load.followed, path, ["0" * 64])}),
        Case("activity", {
            "0 uploads": partial(_put, load.__dict__, "files", {}),
            "0 requests that were called back": partial(_put, load.__dict__, "requests", []),
            "took nothing": partial(_put, load.answered, load.doors[0], 0),
        }),
    ]  # fmt: skip


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
        Case("disk", {"is on the disk and in no row": partial(_stray, arena)}),
        Case("letters", {"not among the dead letters": unheard}),
        Case("streams", {"unread": partial(_unread, arena, entry)}),
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
def _named_and_set_aside(arena: Arena, download_id: int) -> Iterator[None]:
    row = arena.sql("SELECT path FROM download_info WHERE download_id = %s", (download_id,))[0]
    directory, _, rest = row["path"].partition("/")
    path = arena.layout.vault / "quarantine" / directory / f"20260101T000000Z-{rest.replace('/', '%2F')}"
    path.write_bytes(b"set aside")
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
