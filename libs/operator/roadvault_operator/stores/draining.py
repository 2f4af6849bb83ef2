"""Empties a store: what it has goes its usual way, until it can be switched off; begun once more, that goes on."""

import asyncio
from dataclasses import dataclass

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database
from roadvault_common.sql.folders import Closed, close_folder
from roadvault_common.sql.states import StoreState
from roadvault_common.work import stores
from roadvault_common.work.stores import InHand
from roadvault_operator.mend import ring
from roadvault_operator.shell import console
from roadvault_operator.stores import moving_store as moving

_EVERY = 2.0
_SETTLED = 10.0
"""Seconds after which an ingest of the store has seen that it takes nothing any more."""


@dataclass
class Draining:
    """A store that is being emptied, and the store `to` that gets what needs no bytes from its disk."""

    db: Database
    store: str
    to: str

    async def step(self) -> InHand:
        """Close its open folders, move what is not on its disk; return what is left."""
        folders = await moving.open_folders(self.db, self.store)
        closed = [done for one in folders if (done := await close_folder(self.db, one))]
        await self._ring(closed)
        while await moving.move_dropped(self.db, self.store, self.to, at_work=False):
            pass
        return await stores.in_hand(self.db, self.store)

    async def until_empty(self) -> InHand:
        """Take steps until nothing is left but what a person has to decide; return what is left."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            bar, most, began = progress.add_task("draining"), 0, asyncio.get_running_loop().time()
            while True:
                left = await self.step()
                most = max(most, left.left)
                progress.update(bar, description=described(left), total=most or 1, completed=most - left.left)
                settled = asyncio.get_running_loop().time() - began >= _SETTLED
                if settled and left.left == asked(left):
                    return left
                await asyncio.sleep(_EVERY)

    async def finish(self) -> bool:
        """Hand the rest over, and note that nothing is left; False if an upload came in the very moment.

        Raises:
            PermanentError: A person has taken it back meanwhile.
        """
        await moving.hand_catalogue(self.db, self.store, self.to)
        for step in (moving.move_ended_requests, moving.move_looks):
            while await step(self.db, self.store, self.to):
                pass
        if not await moving.set_state(self.db, self.store, StoreState.DRAINED, before=(StoreState.DRAINING,)):
            raise PermanentError(
                f"the store {self.store} is not being drained any more: somebody has changed its state"
            )
        # Whoever opened a folder was waited for; nobody opens one from here on.
        if (await stores.in_hand(self.db, self.store)).left == 0:
            return True
        await moving.set_state(self.db, self.store, StoreState.DRAINING, before=(StoreState.DRAINED,))
        return False

    async def _ring(self, closed: list[Closed]) -> None:
        if closed:
            await ring(closed)


def asked(left: InHand) -> int:
    """Return how much of what is left waits for a person alone."""
    return left.failed_folders + left.set_aside


def described(left: InHand) -> str:
    """Return what is left, in words."""
    parts = (
        (left.uploads, "uploads"),
        (left.open_folders + left.closed_folders, "folders"),
        (left.archives, "archives"),
        (left.restores, "to fetch back"),
        (left.requests, "requests"),
        (left.extractions, "extractions"),
        (left.set_aside, "set aside"),
        (left.failed_folders, "folders that failed"),
    )
    return ", ".join(f"{count} {name}" for count, name in parts if count) or "nothing is left"
