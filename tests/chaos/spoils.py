"""Books that can't be wrong prove nothing: spoils one thing after another, and sees that each is found out.

All services stand still meanwhile, so that nobody mends or uses what is spoilt; each thing is put right again, but for
what is done to the chain, which is the last.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from chaos.arena import Arena
from chaos.books import Books
from chaos.load import Load
from chaos.spoiling import NOWHERE, Case, Spoil, put
from chaos.spoilt_chain import buy_again, end_order, forget_file
from chaos.spoilt_clients import clients, lost
from chaos.spoilt_door import door
from chaos.spoilt_rows import rows
from chaos.throws import Findings, processes_of
from chaos.watch import Watch

from roadvault_stack.environment import SERVICES


def spoil_all(
    arena: Arena, load: Load, findings: Findings, books: Callable[[], Books], watch: Watch, say: Callable[[str], None]
) -> list[str]:
    """Spoil each book; return what was not found out."""
    missed: list[str] = []
    with _standing_still(arena):
        in_hand = {*books().states()}  # what a service had just begun as it was stopped
        for line in sorted(in_hand):
            say(f"in hand as services stand still: {line}")
        cases = [
            *rows(arena, load),
            *clients(load),
            *door(arena, load),
            *_servers(arena, findings),
            *lost(arena, load, findings.losses),
        ]
        for case in cases:
            with ExitStack() as stack:
                for spoil in case.spoils.values():
                    stack.enter_context(spoil())
                found = getattr(books(), case.check)()
            unheard = [about for about in case.spoils if not any(about in line for line in found)]
            missed += [f"spoilt, and not found out by {case.check}: {about}; it says {found}" for about in unheard]
        missed += [f"the watch does not see {what}" for what in _unwatched(arena, watch)]
        left = [line for line in books().states() + books().contents() if line not in in_hand]
        missed += [f"after all was put right again: {line}" for line in left]
        last = _chain(arena, *_recovered(books(), findings))
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


# --- disk, Redis, and files that a row names ---------------------------------------------------------------------


def _servers(arena: Arena, findings: Findings) -> list[Case]:
    with arena.redis() as redis:
        entry: Any = redis.xadd("file.received", {"spoilt": "yes"})
    unheard = partial(put, findings.letters, ("file.received", entry.decode()), "an entry that nobody has read")
    return [
        Case("disk", {"is on the disk and in no row": partial(_stray, arena)}),
        Case("letters", {"not among the dead letters": unheard}),
        Case("streams", {"unread": partial(_unread, arena, entry)}),
    ]


@contextmanager
def _stray(arena: Arena) -> Iterator[None]:
    path = arena.layout.vault / NOWHERE
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


def _recovered(books: Books, findings: Findings) -> list[dict[str, Any]]:
    """Return two archives that were ordered before the last loss: nothing is ordered twice, recovered or not."""
    before = set(findings.losses[-1].archived.values())
    return [archive for archive in books.archives.values() if archive["cid"] in before][:2]


def _chain(arena: Arena, first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Spoil]]:
    """Return what is done to the chain, and what the books have to say of it."""
    port = arena.settings.devnet_port
    return [
        (
            f"archive {first['zip_id']}: 2 orders in the blocks",
            partial(buy_again, port, first["cid"], first["dag_size"]),
        ),
        ("its order ended at block", partial(end_order, port, first["cid"], first["dag_size"])),
        (f"the network does not know {second['cid']}", partial(forget_file, port, second["cid"])),
    ]
