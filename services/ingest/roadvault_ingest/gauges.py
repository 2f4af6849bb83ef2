"""What of clients is open: uploads that are not whole, batches that have not ended. How stores are."""

from prometheus_client import Gauge

from roadvault_common.metrics import Sample
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import StoreState
from roadvault_common.work import stores
from roadvault_ingest.requests.batch_store import BatchStore
from roadvault_ingest.uploads.upload_store import UploadStore

UPLOADS = Gauge("roadvault_uploads_open", "Resumable uploads that are not whole")
OLDEST = Gauge(
    "roadvault_uploads_open_oldest_seconds", "Seconds since the oldest of them was begun, 0 if there is none"
)
COMING = Gauge(
    "roadvault_uploads_coming_oldest_seconds",
    "Seconds since the oldest of them was begun that still comes in, or keeps the disk's room; 0 if none does",
)
BATCHES = Gauge(
    "roadvault_batches_open_oldest_seconds", "Seconds since the oldest batch came that has not ended; 0 if all have"
)
SILENT = Gauge(
    "roadvault_store_silent_seconds",
    "Since the retriever of a store last said that it takes requests; no store that was drained or written off has it",
    ["store"],
)
DRAINING = Gauge("roadvault_store_draining_seconds", "Since a store is being drained; 0 if it is not", ["store"])


def open_work(uploads: UploadStore, batches: BatchStore) -> Sample:
    """Return a sample of it."""

    async def sample() -> None:
        count, oldest, coming = await uploads.open()
        UPLOADS.set(count)
        OLDEST.set(oldest)
        COMING.set(coming)
        BATCHES.set(await batches.oldest_open())

    return sample


def of_stores(db: Database) -> Sample:
    """Return a sample of how stores are, as far as they are in use."""

    async def sample() -> None:
        known = [one for one in await stores.all_stores(db) if one.state in {StoreState.OPEN, StoreState.DRAINING}]
        for gauge in (SILENT, DRAINING):
            gauge.clear()
        for store in known:
            if store.seconds_silent is not None:
                SILENT.labels(store.name).set(max(store.seconds_silent, 0))
            draining = store.seconds_in_state if store.state == StoreState.DRAINING else 0
            DRAINING.labels(store.name).set(draining or 0)

    return sample
