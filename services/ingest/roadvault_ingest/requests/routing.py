"""Which store brings a file back that no store has on its disk: the least busy of those that are there.

One that is being drained gets none: each would keep it from its end for days.
"""

import time
from collections import Counter

from roadvault_common.sql.db import Database

_KNOWN_SECONDS = 5.0
"""How busy stores are is asked so often; in between it is counted along."""
_HEARD_SECONDS = 90
"""A store whose retriever was not heard for longer gets no new requests."""
_MOST = 1000


class Routing:
    """Chooses stores for requests."""

    def __init__(self, db: Database, store: str) -> None:
        """`store` is chosen where none is known to be there."""
        self._db = db
        self._own = store
        self._busy = Counter[str]()
        self._known_at = float("-inf")

    async def choose(self) -> str:
        """Return the store that has the fewest requests to work on, counted up to 1000."""
        if time.monotonic() - self._known_at > _KNOWN_SECONDS:
            self._busy = Counter(await self._look())
            self._known_at = time.monotonic()
        store = min(self._busy, key=self._busy.__getitem__)
        self._busy[store] += 1
        return store

    async def _look(self) -> dict[str, int]:
        rows = await self._db.fetch_all(
            "SELECT name FROM store_info WHERE state = 0 AND heard_at > UTC_TIMESTAMP(6) - INTERVAL %s SECOND",
            (_HEARD_SECONDS,),
        )
        first, *others = [row["name"] for row in rows] or [self._own]
        return {name: await self._count(name) for name in (first, *others)} if others else {first: 0}

    async def _count(self, store: str) -> int:
        return int(
            await self._db.fetch_value(
                "SELECT COUNT(*) FROM (SELECT 1 FROM download_info WHERE store = %s AND fetch_due IS NOT NULL LIMIT %s)"
                " AS some",
                (store, _MOST),
            )
        )
