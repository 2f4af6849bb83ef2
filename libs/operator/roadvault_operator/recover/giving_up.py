"""`roadvault recover --without`: a person gives up what a recovery left out."""

from collections.abc import Sequence

import typer

from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.retention import left_holds
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import say


async def give_up(cids: Sequence[str], *, yes: bool) -> None:
    """Have the catalogue name these archives no more, or wait for these parts of an older one no longer.

    What is on hold is given up with `yes` alone.

    Raises:
        PermanentError: One was not left out; nothing was changed.
    """
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await check_schema(db)
        records = await left_out.noted(db, cids)
        on_hold = [await left_holds.in_force(db, one) for one in records]
        for record, holds in zip(records, on_hold, strict=True):
            _tell(record, holds)
        if any(on_hold) and not yes:
            say("what is on hold is given up with --yes alone: nothing was changed")
            raise typer.Exit(1)
        await left_holds.give_up(db, cids)
        left = await left_out.count(db)
    say(f"given up: {', '.join(cids)}; that is a line of the custody log. {left} archives are still left out")


def _tell(record: ArchiveRecord, holds: Sequence[str]) -> None:
    """Say what an archive is that is given up, and what nobody has then."""
    name = f"archive {record.zip_id}, {record.cid}"
    if record.ends is not None:
        say(f"{name}, ends on {record.ends:%Y-%m-%d %H:%M} UTC")
    if record.key is not None:
        say(f"{name}: nothing but its record in the catalogue has the key that opens it")
    for hold in holds:
        say(f"{name}, is on hold: {hold}; that stays in `roadvault retention list` until it is released")
