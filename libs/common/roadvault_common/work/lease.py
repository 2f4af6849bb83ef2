"""Leases on the five columns that a stage of work has on its row (see `schema/`); `backlog.py` only reads them.

A row is due when its stage's `due` has passed. `claim` is one compare-and-set UPDATE by the database's clock: it
moves `due` forward by the lease's length, writes a random token and counts the attempt. Progress moves `due` further;
a worker that dies or hangs stops doing so, and the row is due again by itself. Every closing write names the token.
"""

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from roadvault_common.errors import LeaseLost
from roadvault_common.history import event_log
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.stores import MAIN
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import Stage

_GROWING_SECONDS = "%s * LEAST(GREATEST(COALESCE(TIMESTAMPDIFF(SECOND, {since}, {now}), 0) / 4, 15), 900)"
"""A wait for what may take long: a quarter of the time that the row has waited already, within bounds, with jitter."""
_EXTEND = "UPDATE {table} SET {due} = {now} + INTERVAL %s SECOND WHERE {key} = %s AND {token} = %s"


@dataclass
class Lease:
    """The right to work on one row until `seconds` pass without progress."""

    stage: Stage
    row_id: int
    token: str
    attempt: int
    seconds: float
    reason: str | None = None
    """Of the attempt before, as it stood on the row."""
    done: int = field(default=0, init=False)
    """Bytes (or steps) worked off so far; the lease is extended only when this has moved."""
    closed: bool = field(default=False, init=False)
    """The outcome is written."""
    over: bool = field(default=False, init=False)
    """Nothing more is to be done under it: the work has ended, or was told to stop."""

    def progress(self, amount: int = 1) -> None:
        """Note that `amount` bytes (or steps) were worked off. May be called from a thread.

        Raises:
            LeaseLost: The row is no longer ours; stop at once and write nothing.
        """
        if self.over:
            raise lost(self)
        self.done += amount


def lost(lease: Lease) -> LeaseLost:
    """End what is done under a lease that has passed to another worker; return the error that says so."""
    lease.over = True
    return LeaseLost(f"{lease.stage.name} {lease.row_id}: the lease has passed to another worker")


_held: ContextVar[Lease | None] = ContextVar("lease", default=None)


@contextmanager
def under(lease: Lease) -> Iterator[None]:
    """Let what is done here, and in tasks begun here, be done under a lease."""
    token = _held.set(lease)
    try:
        yield
    finally:
        _held.reset(token)


def note_progress() -> None:
    """Note progress of the lease under which this is done, if there is one: a server has answered.

    Raises:
        LeaseLost: As `Lease.progress` does.
    """
    lease = _held.get()
    if lease is not None:
        lease.progress()


async def claim(db: Database, stage: Stage, row_id: int, seconds: float, store: str = MAIN) -> Lease | None:
    """Take the row if it is due and nobody works on it, and if it is the store's, where it has one; None otherwise."""
    ours, of_store = ("AND store = %s", (store,)) if stage.local else ("", ())
    # The plain read keeps an event about a row that is not due from waiting for that row's lock.
    row = await db.fetch_one(
        stage.sql(
            "SELECT {attempts} AS attempts, {reason} AS reason FROM {table} WHERE {key} = %s AND {due} <= {now} {ours}",
            ours=ours,
        ),
        (row_id, *of_store),
    )
    if row is None:
        return None
    token = secrets.token_hex(16)
    taken = await db.execute(
        stage.sql(
            "UPDATE {table} SET {due} = {now} + INTERVAL %s SECOND, {token} = %s, {attempts} = {attempts} + 1"
            " WHERE {key} = %s AND {due} <= {now} {ours}",
            ours=ours,
        ),
        (seconds, token, row_id, *of_store),
    )
    return Lease(stage, row_id, token, row["attempts"] + 1, seconds, row["reason"]) if taken else None


async def extend(db: Database, lease: Lease) -> bool:
    """Move the end of the lease to its full length from now; False if it is no longer ours."""
    return await db.execute(lease.stage.sql(_EXTEND), (lease.seconds, lease.row_id, lease.token)) == 1


async def close(tx: Transaction, lease: Lease, outcome: Outcome) -> None:
    """Write the outcome and end the lease, in the caller's transaction, with whatever else that writes.

    What is new in it gets a line in the log of events, which so is there if the outcome is.

    Raises:
        LeaseLost: The row is no longer ours; the transaction must not commit.
    """
    args: tuple[object, ...]
    match outcome:
        case Done(again_after=None):
            change, args = "{due} = NULL, {attempts} = 0, {reason} = NULL, {failed_at} = NULL", ()
        case Done(again_after=seconds):
            change = "{due} = {now} + INTERVAL %s SECOND, {attempts} = 0, {reason} = NULL, {failed_at} = NULL"
            args = (seconds,)
        case Wait(reason, after):
            change = "{due} = {now} + INTERVAL " + ("%s" if after is not None else _GROWING_SECONDS)
            change += " SECOND, {reason} = %s, {failed_at} = NULL, {attempts} = GREATEST({attempts} - 1, 0)"
            seconds = random.uniform(0.75, 1) if after is None else after  # noqa: S311 - jitter
            args = (seconds, str(reason))
        case Retry(reason, after):
            change = "{due} = {now} + INTERVAL %s SECOND, {reason} = %s, {failed_at} = NULL"
            args = (lease.stage.wait(lease.attempt) if after is None else after, str(reason))
        case Failed(reason):
            change, args = "{due} = NULL, {reason} = %s, {failed_at} = {now}", (str(reason),)
    await _end(tx, lease, change, args)
    if event_log.is_news(outcome, lease.reason):
        await event_log.note(tx, lease.stage, lease.row_id, lease.attempt, outcome)


async def hold(tx: Transaction, lease: Lease) -> None:
    """Make sure that the lease is ours until the caller's transaction ends, without ending it.

    It is extended: a lock alone would bind nobody at another node of a cluster.

    Raises:
        LeaseLost: The row is no longer ours; the transaction must not commit.
    """
    held = await tx.execute(lease.stage.sql(_EXTEND), (lease.seconds, lease.row_id, lease.token))
    if held != 1:
        raise lost(lease)


async def hand_back(tx: Transaction, lease: Lease) -> None:
    """Make the row due again at once, as if it had not been claimed: for work cut short by a shutdown."""
    await _end(tx, lease, "{due} = {now}, {attempts} = GREATEST({attempts} - 1, 0)", ())


async def _end(tx: Transaction, lease: Lease, change: str, args: tuple[object, ...]) -> None:
    stage = lease.stage
    held = await tx.execute(
        stage.sql(
            "UPDATE {table} SET {change}, {token} = NULL WHERE {key} = %s AND {token} = %s", change=stage.sql(change)
        ),
        (*args, lease.row_id, lease.token),
    )
    if held != 1:
        raise lost(lease)
    lease.closed = True


async def revive(tx: Transaction, stage: Stage, row_id: int) -> bool:
    """Give a failed row a new start, for a person who pressed "retry"; False if it has not failed."""
    revived = await tx.execute(
        stage.sql(
            "UPDATE {table} SET {due} = {now}, {attempts} = 0, {failed_at} = NULL"
            " WHERE {key} = %s AND {failed_at} IS NOT NULL"
        ),
        (row_id,),
    )
    return revived == 1


async def hasten(tx: Transaction, stage: Stage, row_id: int) -> bool:
    """Make a row that waits for a later time due now; False if it does not wait, or somebody works on it."""
    waits = await tx.fetch_one(
        stage.sql("SELECT 1 FROM {table} WHERE {key} = %s AND {due} IS NOT NULL AND {token} IS NULL FOR UPDATE"),
        (row_id,),
    )
    if waits is None:
        return False
    await tx.execute(stage.sql("UPDATE {table} SET {due} = {now} WHERE {key} = %s"), (row_id,))
    return True


async def make_due(tx: Transaction, stage: Stage, row_id: int, *, hurry: bool = True) -> None:
    """Make a row due for a stage, because of what another stage has found or done.

    A live lease is not cut short: whoever has it either knows by its end what there is to do, or has to look again. A
    row that has failed asked a person, and waits for one (`revive`). Without `hurry` a row that rests after trouble,
    and so has a reason, gets its rest, too.
    """
    rested = "" if hurry else "AND {reason} IS NULL"
    await tx.execute(
        stage.sql(
            "UPDATE {table} SET {due} = {now} WHERE {key} = %s AND {failed_at} IS NULL"
            " AND ({token} IS NULL OR {due} IS NULL OR {due} <= {now}) {rested}",
            rested=stage.sql(rested),
        ),
        (row_id,),
    )


async def end(tx: Transaction, stage: Stage, row_id: int, reason: Reason | None = None) -> None:
    """End a stage on a row for good, whoever works on it, failed or not: what it is about has ended.

    Who works on it has lost its lease, and writes nothing.
    """
    await tx.execute(
        stage.sql(
            "UPDATE {table} SET {due} = NULL, {token} = NULL, {attempts} = 0, {reason} = %s, {failed_at} = NULL"
            " WHERE {key} = %s"
        ),
        (None if reason is None else str(reason), row_id),
    )


async def put_off(tx: Transaction, stage: Stage, row_id: int, until: datetime | None) -> None:
    """Have a row be due at a time (UTC), or not at all, which a person has set; whoever works on it looks again."""
    await tx.execute(
        stage.sql(
            "UPDATE {table} SET {due} = %s, {reason} = NULL, {failed_at} = NULL, {attempts} = 0"
            " WHERE {key} = %s AND ({token} IS NULL OR {due} IS NULL OR {due} <= {now})"
        ),
        (until, row_id),
    )


async def settle(tx: Transaction, stage: Stage, row_id: int) -> bool:
    """End a stage on a row that waits for it, as done: somebody else did its work; False if it does not wait."""
    settled = await tx.execute(
        stage.sql(
            "UPDATE {table} SET {due} = NULL, {token} = NULL, {attempts} = 0, {reason} = NULL, {failed_at} = NULL"
            " WHERE {key} = %s AND ({token} IS NULL OR {due} <= {now}) AND {due} IS NOT NULL"
        ),
        (row_id,),
    )
    if settled:
        await event_log.note(tx, stage, row_id, 0, Done())
    return settled == 1
