"""`roadvault store`: which stores there are, and what a person decides about one: drain, write off, take back."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import Progress

from roadvault_common.errors import PermanentError
from roadvault_common.history import heartbeats
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import StoreState
from roadvault_common.work import backlog, stores
from roadvault_common.work.stages import DROP, ORDER, PACK, PIN, PROVE, RESTORE, WATCH
from roadvault_common.work.stores import Store
from roadvault_operator import acts
from roadvault_operator.config import OperatorSettings
from roadvault_operator.identity import data_dir
from roadvault_operator.shell import blocking, console, say, show, size, utc
from roadvault_operator.stores import moving_store as moving
from roadvault_operator.stores import report
from roadvault_operator.stores.adopting import Adopting
from roadvault_operator.stores.draining import Draining, asked, described
from roadvault_operator.stores.losing import SILENT_SECONDS, Losing, awake

app = typer.Typer(no_args_is_help=True, help="Stores: list them, drain one, write one off that is lost, take it back.")

_ON_THE_WAY = (PACK, PIN, ORDER, WATCH, PROVE, RESTORE, DROP)
"""The stages by which a store becomes empty."""
STATES = {
    StoreState.OPEN: "open",
    StoreState.DRAINING: "draining",
    StoreState.DRAINED: "drained",
    StoreState.LOST: "lost",
}
Name = Annotated[str, typer.Argument(help="the store's name")]
To = Annotated[str | None, typer.Option(help="the store that takes over; default: an open one that was heard lately")]


@app.command(name="list")
@blocking
async def list_stores() -> None:
    """Show each store: its state, when it was heard, its disk, and what it has in hand (counted up to 10 000)."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        beats = await heartbeats.all(db)
        known = [(one, await stores.in_hand(db, one.name)) for one in await stores.all_stores(db)]
    rows, work = list[tuple[object, ...]](), list[tuple[object, ...]]()
    for store, hand in known:
        own = stores.beats_of(beats, store.name)
        room = stores.room_of(own)
        others = max((beat.heard_at for beat in own), default=None)
        rows.append(
            (
                *(store.name, STATES[store.state], utc(store.changed_at), utc(store.heard_at), utc(others)),
                *(sum(beat.lives for beat in own), *(map(size, room) if room else (None, None)), store.upload_url),
            )
        )
        work.append(
            (
                *(
                    store.name,
                    hand.open_folders,
                    hand.closed_folders,
                    hand.failed_folders,
                    hand.files,
                    size(hand.bytes),
                ),
                *(hand.archives, hand.restores, hand.requests, hand.extractions, hand.uploads, hand.set_aside),
                round(hand.oldest_seconds),
            )
        )
    told = ("store", "state", "since", "retriever heard", "others heard", "processes", "free", "total", "uploads at")
    show("stores", "Stores", told, rows)
    counted = ("open folders", "closed", "failed", "files", "bytes", "archives", "to fetch back", "requests")
    last = ("extractions", "uploads", "set aside", "oldest seconds")
    show("in_hand", "In hand", ("store", *counted, *last), work)
    say(f"{len(rows)} stores, {sum(one.state == StoreState.OPEN for one, _ in known)} of them open", stores=len(rows))


@app.command()
@blocking
async def drain(
    name: Name,
    to: To = None,
    undo: Annotated[bool, typer.Option("--undo", help="open it again")] = False,  # noqa: FBT002 - typer
    no_wait: Annotated[bool, typer.Option("--no-wait", help="don't wait until it is empty")] = False,  # noqa: FBT002 - typer
) -> None:
    """Empty a store, so that it can be switched off: it takes no uploads, what it has goes its usual way."""
    async with Database.open(OperatorSettings().database_url, size=2) as db:
        store = await _named(db, name)
        if undo:
            await _open_again(db, store)
            return
        if store.state == StoreState.LOST:
            raise PermanentError(f"the store {name} was written off: `roadvault store adopt` takes it back")
        if store.state == StoreState.DRAINED:
            say(f"the store {name} was drained already: it can be switched off", left=0)
            return
        to = await _to(db, name, to)
        if store.state == StoreState.OPEN and await moving.set_state(
            db, name, StoreState.DRAINING, before=(StoreState.OPEN,)
        ):
            await acts.noted(db, "store drained", f"{name}: it takes no uploads from now on")
        draining = Draining(db, name, to)
        if no_wait:
            left = await draining.step()
            say(f"the store {name} is being drained: {described(left)}; run it again to see it through", left=left.left)
            return
        if failed := sum([await backlog.count_failed(db, stage) for stage in _ON_THE_WAY]):
            say(f"{failed} folders and archives, of all stores, have failed and wait for a person: `roadvault failed`")
        say(f"the store {name} takes no uploads; interrupted, it goes on draining, and so does this command once more")
        while (left := await draining.until_empty()).left == 0:
            if await draining.finish():
                await acts.noted(db, "store drained", f"{name}: it is empty")
                say(f"the store {name} is drained: it can be switched off", left=0)
                return
    say(
        f"a person has to decide: {described(left)} (`roadvault set-aside list`, `roadvault failed`);"
        " then run this again",
        left=asked(left),
    )
    raise typer.Exit(1)


@app.command()
@blocking
async def lost(
    name: Name,
    to: To = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, say what would be lost")] = False,  # noqa: FBT002 - typer
    report_to: Annotated[Path | None, typer.Option("--report", help="a CSV of all that is lost")] = None,
) -> None:
    """Write a store off whose disk is gone: what the network has goes to another store, what it has not is listed."""
    async with Database.open(OperatorSettings().database_url, size=2) as db:
        await _named(db, name)
        to = await _to(db, name, to)
        hand = await stores.in_hand(db, name)
        alive = await awake(db, name)
        if not yes:
            say(
                f"would be written off: {hand.files} files, {decimal(hand.bytes)}, that were not packed; {hand.uploads}"
                f" uploads that are not whole; of {hand.archives} archives those that the network does not have."
                f" What it has would go to the store {to}. The services of {name} refuse to serve from then on."
                f"{' They were heard just now: ' + ', '.join(alive) + '.' if alive else ''} Add --yes",
                in_hand=hand.left,
            )
            raise typer.Exit(1)
        if await moving.set_state(
            db, name, StoreState.LOST, before=(StoreState.OPEN, StoreState.DRAINING, StoreState.DRAINED)
        ):
            await acts.noted(db, "store lost", f"{name}: written off, {to} takes over")
        if alive:
            say(
                f"{', '.join(alive)} of {name} were heard just now: waiting until they have seen that it is written off"
            )
            await asyncio.sleep(SILENT_SECONDS)
        with Progress(console=console, transient=True) as progress:
            await Losing(db, name, to).run(progress, hand.left)
        told = await report.write(db, name, report_to)
        await acts.noted(db, "store lost", f"{name}: {told.files} files, {told.uploads} unfinished uploads")
    say(
        f"lost with the store {name}: {told.files} files, {decimal(told.bytes)}, and {told.uploads} uploads that were"
        f" not whole; {told.perhaps} of the files are in archives that were ordered, and may yet be found by the"
        f" market. All else is with the store {to}",
        files=told.files, bytes=told.bytes, uploads=told.uploads, perhaps=told.perhaps, to=to,
    )  # fmt: skip
    if report_to is not None:
        say(f"the list is in {report_to}", report=str(report_to))


@app.command()
@blocking
async def adopt(name: Name) -> None:
    """Take a store back whose disk has come back, or whose database was restored; with its data directory."""
    root = data_dir()
    async with Database.open(OperatorSettings().database_url, size=2) as db:
        await _named(db, name)
        adopting = Adopting(db, root, name)
        await adopting.check()
        back = await adopting.take_back()
        stamp = await adopting.open()
        await acts.noted(db, "store adopted", f"{name}: {back.archives} archives, {back.files} files")
        whole, wrong = await adopting.pack()
        left = await report.write(db, name, None)
    say(
        f"the store {name} and its data directory are {stamp.identity} now, at mark {stamp.mark}; its services may"
        " start"
    )
    say(
        f"back: {back.archives} archives, which are put on IPFS again, and {back.files} uploads: {whole} are whole and"
        f" due to be packed, {wrong} are not, and wait for a person (`roadvault set-aside list`). Still lost:"
        f" {left.files}",
        archives=back.archives, uploads=back.files, whole=whole, wrong=wrong, lost=left.files,
    )  # fmt: skip
    if wrong:
        raise typer.Exit(1)


async def _named(db: Database, name: str) -> Store:
    for store in await stores.all_stores(db):
        if store.name == name:
            return store
    raise PermanentError(f"there is no store {name}; `roadvault store list` shows them")


async def _to(db: Database, name: str, to: str | None) -> str:
    """Return the store that takes over."""
    if to is None:
        return await moving.other(db, name)
    if to == name or (await _named(db, to)).state != StoreState.OPEN:
        raise PermanentError(f"the store {to} can't take over from {name}: it has to be another, and open")
    return to


async def _open_again(db: Database, store: Store) -> None:
    if not await moving.set_state(db, store.name, StoreState.OPEN, before=(StoreState.DRAINING, StoreState.DRAINED)):
        raise PermanentError(f"the store {store.name} is {STATES[store.state]}; nothing was changed")
    await acts.noted(db, "store opened", store.name)
    say(f"the store {store.name} takes uploads again")
