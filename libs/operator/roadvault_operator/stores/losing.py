"""Writes a store off, step by step: whoever is cut off, however, begins again and goes on where the rows are."""

from collections.abc import Awaitable, Callable
from functools import partial

from rich.progress import Progress

from roadvault_common.history import heartbeats
from roadvault_common.sql.db import Database
from roadvault_common.work import stores
from roadvault_operator.stores import moving_store as moving
from roadvault_operator.stores.lost_requests import LostRequests
from roadvault_operator.stores.lost_store import LostStore

SILENT_SECONDS = 15.0
"""A process that was heard just now sees within so long that its store was written off, and ends."""

Step = tuple[str, Callable[[], Awaitable[int]]]


class Losing:
    """A store that is written off, and the store `to` that takes over."""

    def __init__(self, db: Database, store: str, to: str) -> None:
        self._db = db
        lost, requests = LostStore(db, store, to), LostRequests(db, store, to)
        self._steps: list[Step] = [
            ("folders", lost.folder),
            ("archives on the network", partial(moving.move_dropped, db, store, to, at_work=True)),
            ("archives", lost.archives),
            ("set aside", lost.set_aside),
            ("uploads", lost.uploads),
            ("requests", requests.step),
            ("ended requests", partial(moving.move_ended_requests, db, store, to)),
            ("videos", partial(moving.move_looks, db, store, to)),
        ]
        self._catalogue = partial(moving.hand_catalogue, db, store, to)

    async def run(self, progress: Progress, known: int) -> None:
        """Take step after step, all of them again until there is nothing left; `known` is about how much there is."""
        bar = progress.add_task("writing off", total=known)
        done, left = 0, True
        while left:
            left = False
            for name, step in self._steps:
                while count := await step():
                    left, done = True, done + count
                    progress.update(bar, description=name, completed=done, total=max(known, done))
        await self._catalogue()


async def awake(db: Database, store: str) -> list[str]:
    """Return the processes of a store that were heard just now."""
    beats = stores.beats_of(await heartbeats.all(db), store)
    return sorted({beat.service for beat in beats if beat.seconds_silent <= SILENT_SECONDS and not beat.stopped})
