"""Whether this store takes uploads: one that is being drained, was drained, or was written off, takes no new ones."""

from roadvault_common.sql.db import Database
from roadvault_common.sql.states import StoreState
from roadvault_common.work import stores
from roadvault_ingest.problems import Draining

LOOK_SECONDS = 2.0
"""How often the state is looked at: who drains a store waits a little longer before it is believed."""
_RETRY_SECONDS = 60
_WHY = {
    StoreState.DRAINING: "is being drained",
    StoreState.DRAINED: "was drained",
    StoreState.LOST: "was written off",
}


class Opening:
    """Looks again and again at what a person has decided about the store; says where clients reach its ingest."""

    def __init__(self, db: Database, store: str, upload_url: str | None) -> None:
        self._db = db
        self._store = store
        self._url = upload_url
        self.state = StoreState.OPEN

    async def look(self) -> None:
        """Look now."""
        self.state, url = await stores.state(self._db, self._store)
        if url != self._url:
            await stores.say_where(self._db, self._store, self._url)

    @property
    def closed(self) -> bool:
        """Whether no new upload may come."""
        return self.state != StoreState.OPEN

    def check(self) -> None:
        """See that a new upload may come.

        Raises:
            Draining: None may.
        """
        if self.closed:
            raise Draining(
                f"the store {self._store} {_WHY[self.state]}, and takes no uploads: send it to another", _RETRY_SECONDS
            )
