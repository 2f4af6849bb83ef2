"""How long an upload that comes in several requests may be, and what its client may say of that."""

from roadvault_ingest.problems import Problem, TooLarge
from roadvault_ingest.uploads.upload_store import Upload


def check(size: int, largest: int) -> None:
    """Look whether an upload may be so long.

    Raises:
        Problem: It may not.
    """
    if size == 0:
        raise Problem("the file is empty")
    if size > largest:
        raise TooLarge(f"the file is longer than {largest} bytes, the largest that is taken")


def told(upload: Upload, size: int | None, length: int | None, largest: int) -> int | None:
    """Return how long an upload will be, as the client has said before or says now; a body of `length` comes.

    Raises:
        Problem: It can't be.
    """
    if size is not None and size != (upload.size or size):
        raise Problem(f"Upload-Length was {upload.size}, and can't become {size}")
    size = size if upload.size is None else upload.size
    if size is not None:
        check(size, largest)
    if size is not None and size < upload.came:
        raise Problem(f"Upload-Length is {size}, and {upload.came} bytes have come")
    if upload.came + (length or 0) > (largest if size is None else size):
        raise TooLarge(f"{length} bytes go on behind the end of this upload")
    return size
