"""`roadvault status` and `roadvault failed`: what there is to do, and what needs a person."""

import shutil
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.filesize import decimal

from roadvault_common.catalogue import left_out
from roadvault_common.custody import fault_store
from roadvault_common.errors import RedisUnavailable, brief
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import DEAD_LETTERS, streams_of
from roadvault_common.files import set_aside_store
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Place
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_common.work import outage_store
from roadvault_common.work.backlog import count_at_work, count_due, count_failed, failures
from roadvault_common.work.stages import STAGES
from roadvault_common.work.stores import all_stores
from roadvault_operator import store
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import STAGE_HELP, blocking, say, show, show_away, size, stage_named, utc, why

_UNPACKED = {
    FolderStatus.OPEN: "open",
    FolderStatus.CLOSED: "waits to be packed",
    FolderStatus.FAILED: "packing failed",
}
_NOT_LIVE = {
    ArchiveStatus.NOT_ORDERED: "not ordered",
    ArchiveStatus.ORDERED: "ordered",
    ArchiveStatus.ORDER_FAILED: "order failed",
    ArchiveStatus.EXPIRED: "expired",
}
"""States of what is in hand. All else, packed and live, only becomes more, and is not counted."""

_TIME = "%Y-%m-%d %H:%M:%S UTC"
_COUNTED = "counted up to 10 000"
_SHOWN_PROBLEMS = 20


@blocking
async def status() -> None:
    """Show what is away, what is due, at work and failed in each stage, what is in hand, streams, and the disk."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        stages = [
            (stage.name, await count_due(db, stage), await count_at_work(db, stage), await count_failed(db, stage))
            for stage in STAGES
        ]
        folders = [(name, await store.folders(db, state)) for state, name in _UNPACKED.items()]
        archives = [(name, await store.archives(db, state)) for state, name in _NOT_LIVE.items()]
        away, names = await outage_store.away(db), [one.name for one in await all_stores(db)]
        aside, faults = await set_aside_store.count(db), await fault_store.count_faults(db)
        wrong = await audits.problems(db, _SHOWN_PROBLEMS)
        left, left_count = await left_out.listed(db, _SHOWN_PROBLEMS), await left_out.count(db)
        oldest = {place.value: await audits.oldest_seconds(db, place) for place in Place}
        catalogue = await store.catalogue(db)
        kept, so_far = await store.kept(db), await store.so_far(db)
    show_away(away)
    show("stages", f"Stages (rows, {_COUNTED})", ("stage", "due", "at work", "failed"), stages)
    show(
        "folders",
        f"Folders that are not packed ({_COUNTED})",
        ("state", "folders", "files", "size"),
        [(name, row["n"], row["files"], size(row["bytes"])) for name, row in folders if row["n"]],
    )
    show(
        "archives",
        f"Archives that are not live on the network ({_COUNTED})",
        ("order", "archives", "with a local copy", "size"),
        [(name, row["n"], row["kept"], size(row["bytes"])) for name, row in archives if row["n"]],
    )
    show(
        "unsound",
        "Archives whose last audit found something wrong",
        ("archive", "where", "audited", "reason"),
        [(row["zip_id"], row["place"], utc(row["audited_at"]), why(row["reason"])) for row in wrong],
    )
    show(
        "left_out",
        f"Left out by a recovery, {left_count} archives: run it again, or `roadvault recover --without CID`",
        ("what", "archive", "CID", "reason"),
        [(row["kind"], row["zip_id"], row["cid"], row["reason"]) for row in left],
    )
    told = ", ".join(f"{_days(age)} ({place})" for place, age in oldest.items())
    say(f"audited the longest ago: {told}", oldest_audit_seconds=oldest)
    say(f"local copies: {kept['archives']} archives, {kept['uploads']} uploads ({_COUNTED})", local_copies=kept)
    say(
        f"so far: {so_far['files']} files, {so_far['folders']} folders, {so_far['archives']} archives"
        " (the highest ids)",
        so_far=so_far,
    )
    if faults:
        say(
            "lines of the custody log that are not what was chained (`roadvault custody --check` names them):"
            f" {faults}",
            custody_faults=faults,
        )
    if catalogue is None:
        say("catalogue: none was published yet")
    else:
        say(
            f"catalogue: {catalogue['cid']}, {catalogue['archives']} archives, made {catalogue['made_at']:{_TIME}},"
            f" under {catalogue['name']}",
            catalogue=catalogue,
        )
    if aside:
        say(
            f"uploads that rotted before they were packed, and wait for a decision (`roadvault set-aside`): {aside}",
            set_aside=aside,
        )
    await _streams(names)
    _disk()


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds else "nothing"


async def _streams(stores: Iterable[str]) -> None:
    url = OperatorSettings().redis_url
    if url is None:
        return
    try:
        async with Bus.open(url, "operator") as bus:
            *states, letters = await bus.streams([*streams_of(stores), DEAD_LETTERS])
    except RedisUnavailable as error:
        say(f"{brief(error)}; events wait for the sweeps")
        return
    rows = [(state.name, state.heard_by, state.lag, state.pending) for state in states if state.heard_by]
    show("streams", "Streams (events)", ("stream", "heard by", "unread", "not finished"), rows)
    say(f"dead letters: {letters.length}", dead_letters=letters.length)


def _disk() -> None:
    root = OperatorSettings().data_dir
    if root is None:
        return
    try:
        usage = shutil.disk_usage(root)
    except OSError as error:
        say(f"the data directory can't be read: {brief(error)}")
        return
    room = {"free_bytes": usage.free, "total_bytes": usage.total}
    say(f"data directory {root}: {decimal(usage.free)} free of {decimal(usage.total)}", data_directory=room)


@blocking
async def failed(
    stage: Annotated[str | None, typer.Option(help=STAGE_HELP)] = None,
    limit: Annotated[int, typer.Option(min=1, help="rows of each stage, the latest first")] = 20,
) -> None:
    """Show what has failed for good, and why."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        count = 0
        for one in [stage_named(stage)] if stage else STAGES:
            rows = await failures(db, one, limit)
            count += len(rows)
            cells = [(row["id"], utc(row["failed_at"]), row["attempts"], why(row["reason"])) for row in rows]
            columns = (one.key, "since", "attempts", "reason")
            show(one.name, f"{one.name}: {await count_failed(db, one)} failed", columns, cells)
    if not count:
        say("nothing has failed")
