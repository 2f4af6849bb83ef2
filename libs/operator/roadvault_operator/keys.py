"""`roadvault migrate`, `archive-key`, `master-keys`, `rewrap` and `new-master-key`."""

import asyncio
from typing import Annotated

import typer
from cryptography.fernet import Fernet
from rich.progress import Progress

from roadvault_common.archive import by_hand
from roadvault_common.archive import master_keys as needed
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.label import FORMAT, Label
from roadvault_common.catalogue import left_out
from roadvault_common.errors import PermanentError
from roadvault_common.ipfs.path import archive_path
from roadvault_common.retention import periods
from roadvault_common.settings.archives import KeySettings
from roadvault_common.sql import migrate as migrations
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import ArchiveKind
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PUBLISH
from roadvault_operator import store
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, console, say, show


@blocking
async def migrate() -> None:
    """Bring the database's tables up to date."""
    url = OperatorSettings().database_url.get_secret_value()
    applied = await asyncio.to_thread(migrations.migrate, url, say)
    say(f"applied {', '.join(applied)}" if applied else "the tables are up to date", applied=applied)


@blocking
async def archive_key(zip_id: Annotated[int, typer.Argument(help="the archive's id")]) -> None:
    """Print the commands that open an archive without RoadVault: with a master key, or else with its own key."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        row = await store.sealed_key(db, zip_id)
    if row is None:
        raise PermanentError(f"there is no archive {zip_id}")
    if row["kind"] == ArchiveKind.CATALOGUE:
        raise PermanentError(f"{zip_id} is the catalogue, not an archive: `roadvault recover` reads it")
    path = None if row["cid"] is None else archive_path(row["cid"], row["format"])
    label = Label.parse(row["label"]) if path is not None and row["format"] == FORMAT else None
    if label is not None and label.masterKey is not None and label.masterKey == row["master_key"]:
        commands = by_hand.from_master_key(row["cid"], str(zip_id), label.masterKey)
    else:  # the label's master key may have been retired: the row's is the one that there is
        key = MasterKeys(KeySettings().master_keys).unwrap(row["key"], row["iv"], row["master_key"], row["period_key"])
        commands = by_hand.from_archive_key(path, row["zip_name"], str(zip_id), key)
    for command in commands:
        say(command)


@blocking
async def master_keys() -> None:
    """List the master keys that archives need, by their ids, and whether ROADVAULT_MASTER_KEYS has them."""
    keys = MasterKeys(KeySettings().master_keys)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        uses = await needed.uses(db)
    rows: list[tuple[object, ...]] = []
    for name in dict.fromkeys([*keys.ids, *(use.master_key for use in uses)]):
        place = "first: wraps" if name == keys.ids[0] else "yes" if name in keys.ids else "MISSING"
        needs = [use for use in uses if use.master_key == name]
        rows += [(name or "not noted yet", place if name else None, *_archives(use)) for use in needs] or [
            (name, place)
        ]
    show("master_keys", "Master keys", ("id", "in the settings", "first archive", "last archive", "that end in"), rows)


def _archives(use: needed.Use) -> tuple[object, ...]:
    return use.first or None, use.last or None, ", ".join(use.periods) or None


@blocking
async def rewrap() -> None:
    """Wrap the keys of all archives under the first of ROADVAULT_MASTER_KEYS, so that the others can be retired."""
    keys = MasterKeys(KeySettings().master_keys)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        old = [use for use in await needed.uses(db) if use.master_key != keys.ids[0] and not use.periods]
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task("rewrapping", total=sum(use.last - use.first + 1 for use in old))
            failed = await needed.rewrap(db, keys, lambda ids: bars.advance(bar, ids))
        if old:
            facts = {"by": keys.ids[0], "archives": sum(use.last - use.first + 1 for use in old), "failed": len(failed)}
            await db.transact(lambda tx: record(tx, Line(Act.REWRAPPED, facts)))
        await periods.rewrap(db, keys)
        left = await left_out.count(db)
        still = {use.master_key for use in await needed.uses(db)}
        await db.transact(lambda tx: leases.make_due(tx, PUBLISH, 1))
    for name in keys.ids[1:]:
        used = "still wraps keys: run this again once no service has it first" if name in still else "wraps nothing"
        say(f"master key {name} {used}")
    if left:
        say(f"{left} archives that a recovery left out may open with the others alone: keep these until they are back")
    if failed:
        shown = ", ".join(map(str, failed[:20])) + (" …" if len(failed) > 20 else "")  # noqa: PLR2004 - enough to begin
        raise PermanentError(f"{len(failed)} archives have a key that none of the master keys unwraps: {shown}")
    say(
        f"all archives are wrapped by {keys.ids[0]}; a copy of the database from before, and labels on IPFS, still open"
        " with the old keys"
    )
    say("the catalogue is being published under the name of that key: print a new recovery sheet")


def new_master_key() -> None:
    """Print a fresh master key."""
    key = Fernet.generate_key().decode()
    say(key, master_key=key)
