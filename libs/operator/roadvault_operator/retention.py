"""`roadvault retention`: when archives end, and what is on hold."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from roadvault_common.catalogue import left_out
from roadvault_common.errors import SettingsError
from roadvault_common.retention import asking, ends, periods
from roadvault_common.retention import holding as store
from roadvault_common.retention.holding import KeyLives
from roadvault_common.sql.db import Database
from roadvault_operator import acts
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, say, show, utc

app = typer.Typer(no_args_is_help=True, help="When archives end, and what is on hold.")

_TIME = "%Y-%m-%d %H:%M UTC"
BY_HAND = (
    "Copies that nobody but you can destroy: recovery sheets from before (print a new one first), old keyring files on"
    " disks that were not mounted, backups and binary logs of the database from before."
)
_OF_ITS_KEY = {
    KeyLives.NO_PERIOD: (
        "it was packed without an end: its label, on the network, opens with the master key. When it ends it is"
        " renewed no more and goes from here, but what is out there stays readable until the network forgets it"
    ),
    KeyLives.LONGER: (
        "the key of {}, which wraps it, lives as long, and opens labels of other archives of that month, too"
    ),
    KeyLives.SOONER: "the key of {}, which wraps it, lives until that month is over, and opens its label as long",
    KeyLives.AS_LONG: None,
}


@app.command("set")
@blocking
async def set_end(
    zip_id: Annotated[int, typer.Argument(help="the archive's id")],
    days: Annotated[float | None, typer.Option(min=0.0, help="days from now until it ends")] = None,
    for_ever: Annotated[bool, typer.Option("--for-ever", help="it never ends")] = False,  # noqa: FBT002 - typer
) -> None:
    """Move an archive's end."""
    if (days is None) != for_ever:
        raise SettingsError("name --days, or --for-ever")
    at = None if days is None else datetime.now(UTC).replace(tzinfo=None) + timedelta(days=days)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        row = await store.set_end(db, zip_id, at)
    say(f"archive {zip_id} is kept for ever" if at is None else f"archive {zip_id} ends on {at:{_TIME}}")
    if (said := _OF_ITS_KEY[store.key_lives(row, at)]) is not None:
        say(said.format(row["period"]))


@app.command()
@blocking
async def hold(
    reason: Annotated[str, typer.Option(help="what it is for, such as a case's number")],
    file: Annotated[int | None, typer.Option(help="the file's id")] = None,
    archive: Annotated[int | None, typer.Option(help="the archive's id")] = None,
) -> None:
    """Keep a file, or an archive, past its end until it is released."""
    if (file is None) == (archive is None):
        raise SettingsError("name --file or --archive")
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        number, kept = await store.hold(db, reason, zip_id=archive, file_id=file)
        await acts.noted(db, "hold", f"hold {number}: {reason}")
        if not await store.is_here(db, zip_id=archive, file_id=file):
            name = f"archive {archive}" if file is None else f"file {file}"
            say(f"{name} is not here: what a recovery left out may have it (`roadvault status`), and is kept once back")
    what = f"archive {kept}" if kept is not None else "its archive, once there is one,"
    say(f"hold {number}: {what} does not end before `roadvault retention release {number}`")


@app.command()
@blocking
async def release(
    hold_id: Annotated[int, typer.Argument(help="the hold's id")],
    reason: Annotated[str, typer.Option(help="why it is not needed any more")],
) -> None:
    """Release a hold; what is past its end, and not kept by another hold, ends then."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        kept = await store.release(db, hold_id, reason)
        await acts.noted(db, "released", f"hold {hold_id}: {reason}")
    say(f"hold {hold_id} is released" + ("" if kept is None else f": it kept archive {kept}"))


@app.command("list")
@blocking
async def list_all(limit: Annotated[int, typer.Option(min=1, help="rows of each list")] = 50) -> None:
    """Show holds, what ends soon, and the period keys."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        holds = await store.holds(db, limit)
        soon, count = await ends.soon(db, limit), await ends.count_soon(db)
        keys = await store.period_keys(db)
        destroyed = await periods.destroyed(db)
    show(
        "holds",
        "On hold",
        ("hold", "archive", "file", "since", "reason"),
        [(row["hold_id"], row["zip_id"], row["file_id"], utc(row["create_time"]), row["reason"]) for row in holds],
    )
    show(
        "ending",
        f"Archives that end within {ends.SOON_DAYS} days: {count}",
        ("archive", "ends", "held"),
        [(row["zip_id"], utc(row["ends_at"]), "on hold" if row["held"] else "") for row in soon],
    )
    show(
        "period_keys",
        "Period keys",
        ("archives end in", "key", "in all places since", "destroyed"),
        [(row["period"], row["period_key"], utc(row["kept_at"]), utc(row["destroyed_at"])) for row in keys],
    )
    if destroyed:
        say(BY_HAND)


@app.command()
@blocking
async def allow(
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, say what would end")] = False,  # noqa: FBT002 - typer
) -> None:
    """Let archives end that wait for a person: after a restored dump, a recovery, or as they are many at once."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        doubted, found = await asking.in_doubt(db), await asking.asked(db, usual=0)
        if found is None and not doubted:
            say("no archive is over, and none waits for you")
            return
        if doubted:
            say(
                "the database was accepted or recovered: holds, and ends that were moved, that came after its dump, or"
                " its catalogue, may be missing. `roadvault retention list` shows those that are there"
            )
        if found is not None and found.first is not None and found.last is not None:
            say(f"{found.archives} archives are over, since {found.first:{_TIME}} to {found.last:{_TIME}}")
        if found is not None and found.periods:
            say(
                f"the keys of {', '.join(found.periods)} open nothing that is here, and go, too: archives of these"
                " months that are not recovered yet don't come back then"
            )
        if (left := await left_out.count(db)) > 0:
            say(
                f"{left} archives are left out of a recovery: the keys of periods stay until they are back, or given up"
                " (`roadvault status`), and open labels of what ends now as long"
            )
        if not yes:
            say("`roadvault retention allow --yes` lets them end: their keys are destroyed, for good")
            raise typer.Exit(1)
        await asking.allow(db)
    say("what is over ends now, and what ends later does so by itself")
