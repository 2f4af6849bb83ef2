"""Ties a file's lines to a head of the log: what `tie.py` has the shapes of, and checks, made out of the rows."""

from collections.abc import Iterable, Iterator, Sequence

from roadvault_common.custody import fault_store, store, tree
from roadvault_common.custody.chain import NONE, Subject, link, text
from roadvault_common.custody.tie import MOST_LINES, Chain, Published, Root, Shown, Tie, last_within
from roadvault_common.errors import IntegrityError, brief
from roadvault_common.sql.db import Database, Row

MOST_RANGES = 20
"""Stretches of accepted lines that a head names."""


async def root(db: Database, size: int | None = None) -> Root | None:
    """Return the log's head, or what it was at a size that it had; None if nothing was chained by then.

    Raises:
        IntegrityError: Lines are missing that it takes.
    """
    head = await store.head(db)
    size = (0 if head is None else head.size) if size is None else size
    if head is None or not 0 < size <= head.size:
        return None
    spans = [(0, size)]
    newest = await store.hashes_at(db, [size - 1])
    (hashed,) = await _over(db, spans)
    if not newest:
        raise IntegrityError(f"custody line {size - 1} is missing: `roadvault custody --check`")
    return Root(size=size, hash=newest[size - 1].hex(), root=hashed)


async def _over(db: Database, spans: Sequence[tree.Span]) -> list[str]:
    """Return the hashes of some parts of the tree.

    Raises:
        IntegrityError: A line, or a node, is missing that they take.
    """
    known = await store.known(db, spans)
    try:
        return [known.over(*span).hex() for span in spans]
    except KeyError as missing:
        raise IntegrityError(f"of the custody log {missing} is missing: `roadvault custody --check`") from None


async def published(db: Database, head: Root) -> Published:
    """Return a head as it is to be published."""
    found = [list(one) for one in ranges(await fault_store.accepted(db, 0, head.size))]
    return Published(**head.model_dump(), accepted=found or None)


def ranges(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Return the stretches of some positions, their first and last; of more than `MOST_RANGES` the last is long."""
    found = list[tuple[int, int]]()
    for at in sorted(set(positions)):
        if found and (found[-1][1] == at - 1 or len(found) == MOST_RANGES):
            found[-1] = found[-1][0], at
        else:
            found.append((at, at))
    return found


async def tie(db: Database, file_id: int, zip_id: int | None, head: Root) -> Tie:
    """Return a file's lines and its archive's, with what ties them to a head that was published."""
    subjects = [(file_id, None), *([] if zip_id is None else [(None, zip_id)])]
    chains = [found for one in subjects if (found := await _chain(db, one, head.size)) is not None]
    return Tie(head=head, chains=chains)


async def _chain(db: Database, about: Subject, size: int) -> Chain | None:
    rows = await store.of_subject(db, about, size, MOST_LINES, oldest=True)
    if not rows:
        return None
    before = {row["position"] - 1 for row in rows if row["position"]}
    hashes = await store.hashes_at(db, before)
    rows = _up_to_break(rows, hashes, await fault_store.accepted_among(db, _named(rows)))
    if not rows:
        return None
    return Chain(
        of="file" if about[0] is not None else "archive",
        lines=[_shown(row, hashes) for row in rows],
        path=await _over(db, tree.beside(rows[-1]["position"], size)),
    )


def _named(rows: Iterable[Row]) -> Iterator[int]:
    """Yield the positions of lines, and of those that they follow."""
    for row in rows:
        yield row["position"]
        if row["follows"] is not None:
            yield row["follows"]


def _up_to_break(rows: list[Row], hashes: dict[int, bytes], accepted: frozenset[int]) -> list[Row]:
    """Return lines up to the first that a person accepted though nothing proves it any more, or that builds on one."""
    followed: bytes | None = None
    for number, row in enumerate(rows):
        at = row["position"]
        if at in accepted or row["follows"] in accepted:
            try:
                proven = link(hashes.get(at - 1, b"") if at else NONE, followed, text(row, at)) == row["hash"]
            except (TypeError, ValueError):  # a time or JSON that is none
                proven = False
            if not proven:
                return rows[:number]
        followed = row["hash"]
    return rows


async def paths(db: Database, content: Tie, head: Root) -> list[list[str] | None]:
    """Return, for each chain, the path to an earlier head's root of its last line that was in it; None: none was.

    Raises:
        IntegrityError: The log is shorter than that.
    """
    if content.head.size < head.size:
        raise IntegrityError(
            f"the custody log has {content.head.size} lines, and had {head.size} when it was published"
        )
    found = list[list[str] | None]()
    for chain in content.chains:
        within = last_within(chain, head.size)
        found.append(None if within is None else await _over(db, tree.beside(within[0], head.size)))
    return found


def _shown(row: Row, hashes: dict[int, bytes]) -> Shown:
    at = row["position"]
    before = hashes.get(at - 1) if at else NONE
    if before is None:
        raise IntegrityError(f"custody line {at - 1} is missing: `roadvault custody --check`")
    try:
        return Shown(line=text(row, at).decode(), before=before.hex(), hash=row["hash"].hex())
    except (TypeError, ValueError) as error:  # a time or JSON that is none
        raise IntegrityError(f"custody line {at} can't be read: {brief(error)}") from None
