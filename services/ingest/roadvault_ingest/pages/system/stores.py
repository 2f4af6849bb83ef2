"""The stores, as the page of the system shows them."""

from collections.abc import Sequence
from typing import NamedTuple

from roadvault_common.history.heartbeats import Beat
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import StoreState
from roadvault_common.work import stores
from roadvault_common.work.stores import InHand, Store
from roadvault_ingest.pages.states import AMBER, GREEN, GREY, RED

_TONES = {StoreState.OPEN: GREEN, StoreState.DRAINING: AMBER, StoreState.DRAINED: GREY, StoreState.LOST: RED}


class Shown(NamedTuple):
    """A store: how it is, its disk, and what it has in hand."""

    store: Store
    tone: str
    silent: float | None
    """Seconds since any process of it was heard; None: not for a day."""
    processes: int
    free: int | None
    total: int | None
    hand: InHand


async def shown(db: Database, beats: Sequence[Beat]) -> list[Shown]:
    """Return all stores. One that is in use and of which nothing is heard is red."""
    found: list[Shown] = []
    for store in await stores.all_stores(db):
        own = stores.beats_of(beats, store.name)
        lives = sum(beat.lives for beat in own)
        silent = min((beat.seconds_silent for beat in own), default=None)
        in_use = store.state in {StoreState.OPEN, StoreState.DRAINING}
        tone = RED if in_use and not lives else _TONES[store.state]
        free, total = stores.room_of(own) or (None, None)
        found.append(Shown(store, tone, silent, lives, free, total, await stores.in_hand(db, store.name)))
    return found
