"""What of clients is open: uploads that are not whole, batches that have not ended."""

from prometheus_client import Gauge

from roadvault_common.metrics import Sample
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


def open_work(uploads: UploadStore, batches: BatchStore) -> Sample:
    """Return a sample of it."""

    async def sample() -> None:
        count, oldest, coming = await uploads.open()
        UPLOADS.set(count)
        OLDEST.set(oldest)
        COMING.set(coming)
        BATCHES.set(await batches.oldest_open())

    return sample
