"""The database is lost with all its backups, or the whole machine is: and recovered as the operator's documents say.

Both come while clients upload and ask, and find the services wherever they are just then. A machine is recovered from
the network's node alone, with the settings, the master key among them, and the market's list of what was ordered.
"""

import asyncio
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from chaos import catalogues, history
from chaos.arena import Arena
from chaos.catalogues import Listed
from chaos.contents import Contents
from chaos.load import Load, Request
from chaos.wiring import second, third

from roadvault_stack.environment import SERVICES
from roadvault_stack.readiness import until

_READY_SECONDS = 60
_CAUGHT_UP_SECONDS = 60
_MORE = 10
"""How many uploads the recovered system takes before it is gone on, and how many other files it is asked for."""
_NOTHING_CHANGED = "nothing was changed"


@dataclass
class Loss:
    """What was lost, what came back, and what the clients had been told by then."""

    name: str
    numbers: dict[str, int]
    """By their CIDs, the numbers of the archives in the catalogue that was there to recover from."""
    archived: dict[int, str | None]
    """By the numbers of all files that had a row, the CID of their archive, if it had one."""
    from_network: int
    """Requests whose file had been read from the network."""
    held: set[str] | None = None
    """CIDs of what the network had, which is all that there is; None: nothing may be lost."""
    height: int = 0
    """The chain's, when all had been recovered: what was bought up to there need not be in our rows."""
    counts: dict[str, float] = field(default_factory=dict)
    """What came back, and how long it took in seconds."""
    wrong: list[str] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    """Files that the clients had been given numbers of."""
    lost: dict[int, str] = field(default_factory=dict)
    """Those of them that may be lost, and why."""
    requests: list[Request] = field(default_factory=list)
    """What had been asked for by then: nobody knows of it any more."""
    called: dict[str, int] = field(default_factory=dict)
    """How often each of these had been called back, by path."""
    batches: set[int] = field(default_factory=set)
    """Forgotten likewise."""

    @property
    def figures(self) -> dict[str, float]:
        """What came back and how long it took; how many files were lost, by the reason for which they might."""
        return {**self.counts, **{f"files lost, {why}": count for why, count in Counter(self.lost.values()).items()}}

    def gone(self, file_id: int) -> str | None:
        """Return why a file may be lost; None if it may not."""
        cid = self.archived.get(file_id)
        if self.held is None or cid in self.held:
            return None
        return "in no archive on IPFS" if cid is None else "in archives that the network did not have"

    def renumbered(self, numbers: dict[str, int]) -> list[str]:
        """Return what of the catalogue is not there, or has another number, by the archives' numbers now."""
        wrong = []
        for cid, zip_id in self.numbers.items():
            found = numbers.get(cid)
            if found is None and (self.held is None or cid in self.held):
                wrong.append(f"archive {zip_id}, {cid}, did not come back after {self.name}")
            elif found not in {None, zip_id}:
                wrong.append(f"archive {zip_id}, {cid}, has the number {found} since {self.name}")
        return wrong

    def __str__(self) -> str:
        """Return what came of it, in a line."""
        counts = self.counts
        lost = ", ".join(f"{count} {why}" for why, count in Counter(self.lost.values()).items()) or "nothing"
        return (
            f"{counts['archives']:.0f} archives with {counts['files']:.0f} files, and {counts['uploads']:.0f} uploads,"
            f" came back in {counts['recovery, s']} s; {counts['all in all, s']} s from the loss to the services;"
            f" lost: {lost}"
        )


async def lose(name: str, arena: Arena, load: Load) -> Loss:
    """Lose something, recover it, and have the load go on."""
    await asyncio.to_thread(_wait_for_a_catalogue, arena)
    began = time.monotonic()
    services = [*SERVICES, *map(second, SERVICES), *map(third, SERVICES)]
    await asyncio.to_thread(arena.halt, services)
    loss: Loss = await asyncio.to_thread(LOSSES[name], arena)
    loss.height = await asyncio.to_thread(history.head, arena.settings.devnet_port)
    _tell_clients(load, loss)
    for service in SERVICES:
        await asyncio.to_thread(arena.start, service)
    loss.wrong += await asyncio.to_thread(arena.ready, _READY_SECONDS, SERVICES)
    loss.counts["all in all, s"] = round(time.monotonic() - began, 1)
    for service in SERVICES:
        await asyncio.to_thread(arena.start, second(service))
    await _caught_up(load, loss)
    return loss


def _wait_for_a_catalogue(arena: Arena) -> None:
    until(lambda: bool(arena.sql("SELECT 1 FROM catalogue_info WHERE cid IS NOT NULL")), "a catalogue", 60)


def _tell_clients(load: Load, loss: Loss) -> None:
    """Note what the clients knew; what they still wait for they ask for again."""
    loss.known = set(load.files) | set(load.lost)
    loss.wrong += [
        f"file {file_id} was acknowledged, and had no row when {loss.name}"
        for file_id in load.files.keys() - loss.archived.keys()
    ]
    loss.lost = {file_id: why for file_id in load.files if (why := loss.gone(file_id)) is not None}
    load.lost |= {file_id: load.files.pop(file_id) for file_id in loss.lost}
    loss.requests, load.requests = load.requests, []
    loss.batches = {batch.batch_id for batch in load.batches}
    load.batches.clear()
    load.transfers.era += 1
    loss.called = {request.path: len(load.receiver.taken.get(request.path, [])) for request in loss.requests}
    asked = {request.file.file_id: request.file for request in loss.requests if not load.right(request)}
    asked |= {file.file_id: file for file in load.again}
    load.again.clear()
    asked |= dict(random.sample(sorted(load.files.items()), min(len(load.files), _MORE)))
    load.again.extend(file for file_id, file in asked.items() if file_id in load.files)


async def _caught_up(load: Load, loss: Loss) -> None:
    """Wait until what was asked for is asked for again, and new files are taken."""
    uploads, deadline = len(load.files), time.monotonic() + _CAUGHT_UP_SECONDS
    while load.again or len(load.files) < uploads + _MORE:
        if time.monotonic() > deadline:
            taken = len(load.files) - uploads
            loss.wrong.append(f"after {loss.name}: {len(load.again)} requests wait, {taken} uploads were taken")
            return
        await asyncio.sleep(0.2)


def _noted(name: str, arena: Arena) -> tuple[Loss, str, str]:
    """Return what the rows say at the moment of the loss; and the newest catalogue's CID and name."""
    rows = arena.sql("SELECT file_id, cid FROM file_upload_info LEFT JOIN zip_ipfs_info USING (zip_id)")
    read = arena.sql("SELECT COUNT(*) AS count FROM download_info WHERE source = 'ipfs'")[0]["count"]
    newest = arena.sql("SELECT cid, name FROM catalogue_info")[0]
    return Loss(name, {}, {row["file_id"]: row["cid"] for row in rows}, read), newest["cid"], newest["name"]


# --- the database ------------------------------------------------------------------------------------------------


def _lose_database(arena: Arena) -> Loss:
    """Disk, IPFS nodes and market go on: nothing may be lost."""
    loss, newest, _ = _noted("the database is lost", arena)
    loss.wrong += arena.ready(_READY_SECONDS, ["mariadb", "ipfs", "network-ipfs"])
    contents = Contents(arena)
    listed = catalogues.read(newest, contents.on_our_node, contents.master_keys[0])
    loss.wrong += [] if listed else [f"the newest catalogue {newest} can't be read"]
    loss.numbers = listed.numbers if listed else {}
    arena.drop_database()
    _migrate(arena)
    _recover(arena, loss, lambda told: told.startswith("archives/") or ": it has no tag" in told, "--yes")
    return loss


# --- the machine -------------------------------------------------------------------------------------------------


def _lose_machine(arena: Arena) -> Loss:
    """Only the network goes on, and the market."""
    loss, _, name = _noted("the machine is lost", arena)
    _new_machine(arena)
    loss.wrong += arena.ready(_READY_SECONDS, ["network-ipfs", "devnet"])
    network, ours = arena.plan.servers[3], arena.plan.servers[2]
    held = set((network.rpc("pin/ls?type=recursive") or {"Keys": {}})["Keys"])  # type: ignore[attr-defined]
    loss.held = held
    market = history.known(arena.settings.devnet_port)
    contents = Contents(arena)
    read = partial(catalogues.read, give=contents.on_network, master_key=contents.master_keys[0])
    known = {cid: listed for cid in market if cid in held and (listed := read(cid))}
    listing = arena.layout.root / "market.cids"
    listing.write_text("".join(f"{cid}\n" for cid in market))

    def allowed(told: str) -> bool:
        cid = told.partition(":")[0].rpartition(", ")[2]  # behind an archive's number, if the catalogue knew it
        return cid in known or cid not in held

    resolved = (ours.rpc(f"name/resolve?arg={name}") or {}).get("Path", "").removeprefix("/ipfs/")  # type: ignore[attr-defined]
    best = known.get(resolved) or max(known.values(), key=lambda listed: listed.made, default=None)
    loss.numbers = best.numbers if best else {}
    source = _source(resolved in held, best)
    _recover(arena, loss, allowed, *source, "--cids", str(listing))
    loss.counts |= {"catalogue by its name": resolved in held, "catalogues on the market": len(known)}
    return loss


def _source(by_name: bool, best: Listed | None) -> list[str]:  # noqa: FBT001
    if by_name:
        return ["--catalogue"]
    return ["--catalogue-cid", best.cid] if best else []


def _new_machine(arena: Arena) -> None:
    """Throw database, Redis, data directory and our IPFS node away; begin again with the settings alone."""
    layout, servers = arena.layout, arena.plan.servers[:3]
    names = [server.name for server in servers]
    arena.halt(names)
    for directory in (layout.vault, layout.mariadb, layout.redis, layout.ipfs):
        for entry in directory.iterdir():  # two of them are file systems of their own
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    layout.create()
    for server in servers:
        server.prepare()
    for name in names:
        arena.start(name)
    late = arena.ready(_READY_SECONDS, names)
    assert not late, late
    until(arena.plan.settle[0], "a connection between Kubo nodes", _READY_SECONDS)
    _migrate(arena)


# --- both --------------------------------------------------------------------------------------------------------


def _migrate(arena: Arena) -> None:
    code, said = arena.roadvault("migrate")
    assert code == 0, said


def _recover(arena: Arena, loss: Loss, allowed: Callable[[str], bool], *arguments: str) -> None:
    """Recover; what is told to be left out has to be `allowed`, the books see to the rest."""
    began = time.monotonic()
    code, said = arena.roadvault("recover", *arguments)
    loss.counts |= {"recovery, s": round(time.monotonic() - began, 1)}
    loss.counts |= {
        what: sum(map(int, re.findall(pattern, said)))
        for what, pattern in {
            "archives": r"(\d+) archives recovered",
            "files": r"recovered, with (\d+) files",
            "uploads": r"(\d+) uploads adopted",
        }.items()
    }
    told = re.findall(r"^(?:not recovered|left where it is|set aside): (.*)$", said, re.MULTILINE)
    loss.counts["told to be left out"] = len(told)
    loss.wrong += [f"{loss.name}: {line}" for line in told if not allowed(line)]
    rows = arena.sql("SELECT cid, zip_id FROM zip_ipfs_info")
    loss.wrong += loss.renumbered({row["cid"]: row["zip_id"] for row in rows})
    if code != bool(told) or _NOTHING_CHANGED in said:
        loss.wrong.append(f"{loss.name}: `roadvault recover {' '.join(arguments)}` ended with {code}: {said}")


LOSSES: dict[str, Callable[[Arena], Loss]] = {
    "the database is lost": _lose_database,
    "the machine is lost": _lose_machine,
}
"""Each comes once in a run: the first in the middle of the faults, the other after all of them."""
