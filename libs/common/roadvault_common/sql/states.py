"""The numbers in the columns called `status`, by table.

In an f-string they are numbers; as an argument of a statement they would be text, since the driver goes by the very
type: what is passed on is their `value`.
"""

from enum import IntEnum, StrEnum


class FolderStatus(IntEnum):
    """Of `folder_info`."""

    OPEN = 0
    CLOSED = 1
    PACKED = 2
    """Without an archive, if all of its files were set aside."""
    FAILED = 3


class FileStatus(IntEnum):
    """Of `file_upload_info`; mirrors the file's latest request, and no service decides by it."""

    NOT_PACKED = 0
    PACKED = 1
    REQUESTED = 2
    DOWNLOADING = 3
    FAILED = 4
    CALLED_BACK = 5
    DOWNLOADED = 6
    EXPIRED = 7


class ArchiveKind(StrEnum):
    """`kind` of `zip_ipfs_info`: what its CID is of."""

    ARCHIVE = "archive"
    CATALOGUE = "catalogue"
    """The list of all archives that was ordered last: one row, of folder 0, without key and files."""


class ArchiveStatus(IntEnum):
    """Of `zip_ipfs_info`: its order."""

    NOT_ORDERED = 0
    ORDERED = 1
    ORDER_FAILED = 2
    LIVE = 3
    EXPIRED = 4
    ENDED = 5
    """The archive's time was over, and its key was destroyed; whatever order still runs."""


class RequestStatus(IntEnum):
    """Of `download_info`."""

    REQUESTED = 0
    EXTRACTED = 1
    CALLED_BACK = 2
    FAILED = 3
    EXPIRED = 4


class BatchFileState(IntEnum):
    """`state` of `batch_file_info`."""

    WANTED = 0
    ASKED = 1
    DONE = 2
    FAILED = 3
    CANCELLED = 4


class OrderStatus(IntEnum):
    """Of `order_info`."""

    INTENDED = 0
    BOUGHT = 1
    REFUSED = 2
    NEVER_INCLUDED = 3


class StoreState(IntEnum):
    """`state` of `store_info`."""

    OPEN = 0
    DRAINING = 1
    """It takes no uploads, and lets go of what it has."""
    DRAINED = 2
    LOST = 3
    """A person wrote it off: its services refuse to serve."""
