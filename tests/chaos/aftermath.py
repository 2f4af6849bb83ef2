"""What has to hold after the database, or the machine, was lost: the same numbers, and nothing invented."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from chaos.contents import Row
from chaos.load import Load
from chaos.losses import Loss


def wrong(
    files: Mapping[int, Row], archives: Mapping[int, Row], asked: set[str], load: Load, losses: Sequence[Loss]
) -> list[str]:
    """Return what is wrong with these rows, and the requests of these URLs."""
    found: Iterator[str] = chain.from_iterable(
        chain(
            loss.wrong,
            _numbers(load, loss),
            _files(files, load, loss),
            _requests(asked, load, loss),
        )
        for loss in losses
    )
    numbers = {row["cid"]: zip_id for zip_id, row in archives.items()}
    return [*found, *(losses[-1].renumbered(numbers) if losses else ()), *_unasked(load, losses)]


def _numbers(load: Load, loss: Loss) -> list[str]:
    """New numbers are higher than any that was given out."""
    highest = max(loss.known, default=0)
    return [
        f"file {file_id} was acknowledged after {loss.name}, and {highest} had been given out"
        for file_id in load.files.keys() - loss.known
        if file_id <= highest
    ]


def _files(files: Mapping[int, Row], load: Load, loss: Loss) -> Iterator[str]:
    """What is lost is exactly what had to be, and what came back has its number."""
    for file_id, why in loss.lost.items():
        if file_id in files:
            yield f"file {file_id}, {why}, was lost, and has a row"
    numbers = {row["sha256"]: file_id for file_id, row in files.items()}
    for file_id in loss.known & load.files.keys() - files.keys():
        if (found := numbers.get(load.files[file_id].sha256)) is not None:
            yield f"file {file_id} is file {found} since {loss.name}"


def _requests(asked: set[str], load: Load, loss: Loss) -> Iterator[str]:
    """Requests are forgotten: there is no row for them, and nobody is called back any more."""
    for request in loss.requests:
        if request.url in asked:
            yield f"the request {request.url} was forgotten when {loss.name}, and has a row"
        if len(load.receiver.taken.get(request.path, [])) != loss.called[request.path]:
            yield f"the request {request.url} was forgotten when {loss.name}, and was called back"


def _unasked(load: Load, losses: Sequence[Loss]) -> Iterator[str]:
    """Whoever had no answer has asked again, for what is not lost."""
    later: set[int] = {request.file.file_id for request in load.requests}
    gone: set[int] = set()
    for loss in reversed(losses):
        gone |= loss.lost.keys()
        for request in loss.requests:
            file_id: Any = request.file.file_id
            if not load.right(request) and file_id not in later | gone:
                yield f"file {file_id} was asked for before {loss.name}, and nobody has asked again"
        later |= {request.file.file_id for request in loss.requests}
