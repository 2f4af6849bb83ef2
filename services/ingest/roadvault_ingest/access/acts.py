"""Writes down who did what: acts line by line, attempts that were refused counted, and a minute's at a time."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from aiohttp import web

from roadvault_common.access import acts
from roadvault_common.access.acts import Act
from roadvault_common.errors import DatabaseUnavailable, brief
from roadvault_common.sql.db import Database
from roadvault_ingest.access.who import Who
from roadvault_ingest.problems import Problem

log = structlog.get_logger()

_KINDS_OF_REFUSALS = 50
"""Lines for refused attempts in a minute; whatever else was refused is one more. Strangers are not to fill the log."""


@dataclass
class Note:
    """What an act was done to, and how it ended, as far as whoever does it says so."""

    subject: str
    outcome: str = "done"


_NOTE: ContextVar[Note | None] = ContextVar("note", default=None)


def note(*, subject: str | None = None, outcome: str | None = None) -> None:
    """Say of the act at hand what it was done to, or how it ended; nothing if it is not written down."""
    noted = _NOTE.get()
    if noted is not None:
        noted.subject = subject or noted.subject
        noted.outcome = outcome or noted.outcome


class ActLog:
    """The log of acts, as far as they come over HTTP."""

    def __init__(self, db: Database, days: float) -> None:
        self._db = db
        self._days = days
        self._refused: Counter[Act] = Counter()

    @asynccontextmanager
    async def noted(self, who: Who, peer: str | None, act: str, subject: str) -> AsyncIterator[None]:
        """Write down that an act begins, then how it ended: none takes place that is not in the log.

        Raises:
            DatabaseUnavailable: It can't be written down.
        """
        begun = Act(who.kind, who.name, peer, act, subject)
        act_id = await self._db.transact(lambda tx: acts.record(tx, begun))
        noted = Note(subject)
        reset = _NOTE.set(noted)
        try:
            yield
        except Problem as problem:
            noted.outcome = f"refused: {problem}"
            raise
        except web.HTTPException:  # a page that leads to another one
            raise
        except BaseException:
            noted.outcome = "failed"
            raise
        finally:
            _NOTE.reset(reset)
            try:
                await acts.end(self._db, act_id, noted.subject, noted.outcome)
            except DatabaseUnavailable as error:
                log.warning("how an act ended could not be noted", act_id=act_id, error=brief(error))

    async def done(self, who: Who, peer: str | None, act: str, subject: str = "", outcome: str = "done") -> None:
        """Write down an act that has taken place."""
        one = Act(who.kind, who.name, peer, act, subject, outcome)
        await self._db.transact(lambda tx: acts.record(tx, one))

    def refused(self, who: Who, peer: str | None, what: str, why: str) -> None:
        """Count an attempt that was refused; it is written down within a minute."""
        one = Act(who.kind, who.name, peer, "refused", what, why)
        if one not in self._refused and len(self._refused) >= _KINDS_OF_REFUSALS:
            one = Act("anybody", "", None, "refused", "", "many others")
        self._refused[one] += 1

    async def write_refused(self) -> None:
        """Write down what was refused since the last time."""
        if not self._refused:
            return
        counted, self._refused = self._refused, Counter()
        lines = [Act(one.kind, one.name, one.peer, one.act, one.subject, one.outcome, n) for one, n in counted.items()]
        try:
            await self._db.transact(lambda tx: acts.record(tx, *lines))
        except DatabaseUnavailable:
            self._refused.update(dict(counted.most_common(_KINDS_OF_REFUSALS)))
            raise

    async def remove_old(self) -> None:
        """Remove what is older than it has to be."""
        while await acts.remove_old(self._db, self._days) == acts.AT_ONCE:
            pass
