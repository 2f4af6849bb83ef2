"""Every event, and the stream that carries it.

An event is a doorbell: it names a row, and whoever hears it reads the row. Losing one costs time, never data. What is
about the bytes on a disk goes to the services of its store, on a stream of their own.
"""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from roadvault_common.stores import MAIN


class Event(BaseModel):
    """One entry of a stream; `stream` is the stream's name in Redis, of a `local` event that of the store main."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    stream: ClassVar[str]
    local: ClassVar[bool] = False

    @classmethod
    def stream_at(cls, store: str) -> str:
        """Return the name of the stream that the services of a store hear."""
        return f"{cls.stream}@{store}" if cls.local and store != MAIN else cls.stream


class FileReceived(Event):
    """A file stands in a folder, or its folder has just closed (sent by ingest, heard by packer)."""

    stream, local = "file.received", True
    file_id: int
    folder_id: int


class FolderSealed(Event):
    """A folder has become an archive (sent by packer, heard by pinner)."""

    stream, local = "folder.sealed", True
    zip_id: int


class ZipPinned(Event):
    """An archive has its CID (sent by pinner, heard by crust-orderer)."""

    stream = "zip.pinned"
    zip_id: int


class OrderPlaced(Event):
    """Storage was bought, seen in a finalized block (sent by crust-orderer, heard by whoever watches)."""

    stream = "order.placed"
    zip_id: int
    order_id: int


class ZipReplicated(Event):
    """The network holds enough replicas: local copies may go (sent by crust-orderer, heard by pinner)."""

    stream, local = "zip.replicated", True
    zip_id: int


class DownloadRequested(Event):
    """A client wants a file back (sent by ingest, heard by retriever)."""

    stream, local = "download.requested", True
    download_id: int


class FileExtracted(Event):
    """A file was brought back and verified (sent by retriever, heard by notifier)."""

    stream = "file.extracted"
    download_id: int


EVENTS: tuple[type[Event], ...] = (
    FileReceived,
    FolderSealed,
    ZipPinned,
    OrderPlaced,
    ZipReplicated,
    DownloadRequested,
    FileExtracted,
)


def streams_of(stores: Iterable[str]) -> list[str]:
    """Return the names of all streams of some stores."""
    others = [store for store in stores if store != MAIN]
    return [*(event.stream for event in EVENTS), *(e.stream_at(store) for store in others for e in EVENTS if e.local)]


DEAD_LETTERS = "dead-letter"
"""The stream of what could not be handled: entries that do not parse, and rows that failed for good."""
