"""A file's lines, with what ties them to a head of the log that was published: the part of a receipt that tells of it.

The lines of the file, and those of its archive, are a chain each, which begins with the first that the log has of it:
nothing can be left out before the last that is shown. The last is tied to the head's root by an inclusion path. `check`
needs this text alone.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roadvault_common.archive import merkle
from roadvault_common.custody.chain import Subject, link, parse, subject
from roadvault_common.errors import IntegrityError
from roadvault_common.plain import first_fault
from roadvault_common.sql.db import Row

MOST_LINES = 1000
"""Of a file, and of its archive, that a receipt shows: the oldest, as nothing else tells that none was before."""


_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Number = Annotated[int, Field(ge=0, lt=1 << 53)]
_Stretch = Annotated[list[_Number], Field(min_length=2, max_length=2)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Root(_Shape):
    """A head: so many lines, the newest one's hash, the root of the tree over all of them."""

    size: Annotated[int, Field(ge=1, lt=1 << 53)]
    hash: _Hash
    root: _Hash

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return what a catalogue's `custody.json` says.

        Raises:
            IntegrityError: It is none, or is not as it was written.
        """
        try:
            read = cls.model_validate_json(content)
        except ValidationError as error:
            raise IntegrityError(f"the head that was published can't be read: {first_fault(error)}") from None
        if read.encode() != content:
            raise IntegrityError("the head that was published is not as it was written")
        return read

    def encode(self) -> bytes:
        """Return the bytes of `custody.json`."""
        return self.model_dump_json(exclude_none=True).encode()


class Published(Root):
    """A head as a catalogue's `custody.json` has it: with what a person accepted, if there is such a thing."""

    accepted: Annotated[list[_Stretch], Field(min_length=1)] | None = None
    """The first and last position of each stretch of lines that are not what was chained, or are lost; of very many
    stretches the last stands for the rest."""

    @property
    def bare(self) -> Root:
        """The head alone."""
        return Root(size=self.size, hash=self.hash, root=self.root)

    @property
    def where(self) -> str:
        """Return what was accepted, as it is told."""
        return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in self.accepted or ())


class Shown(_Shape):
    """A line: the JSON that was hashed, its hash, and the hash of the line before in the log."""

    line: Annotated[str, Field(max_length=8192)]
    before: _Hash
    hash: _Hash


class Chain(_Shape):
    """The lines of a file or of an archive, from the first to the last before the head, or as many as are shown."""

    of: Literal["file", "archive"]
    after: _Hash | None = None
    """The hash of the line that the first of these follows. None is the one that holds: it is the first of all.

    Receipts of files with more lines than are shown had the newest, once, and the hash here, which proved nothing.
    """
    lines: Annotated[list[Shown], Field(min_length=1, max_length=MOST_LINES)]
    path: Annotated[list[_Hash], Field(max_length=64)]
    """Of the last of these lines, from the hash beside it upwards (RFC 9162, section 2.1.3)."""


class Tie(_Shape):
    """All of it: what is under `custody` in a receipt."""

    head: Root
    chains: Annotated[list[Chain], Field(max_length=2)]

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return what a text says.

        Raises:
            IntegrityError: It is none of these.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise IntegrityError(f"the custody lines can't be understood: {first_fault(error)}") from None


def check_paths(content: Tie, head: Root, ways: Sequence[Sequence[str] | None]) -> int:
    """See that those of some lines, which were checked, that an earlier head had are in its tree; return how many.

    Raises:
        IntegrityError: They are not; it says which.
    """
    if content.head.size < head.size or (content.head.size == head.size and content.head != head):
        raise IntegrityError(
            f"the log that is shown has {content.head.size} lines, not those {head.size} whose head was published: its"
            " tail was cut off"
        )
    if len(ways) != len(content.chains):
        raise IntegrityError("there is not one way to the head that was published for each chain of custody lines")
    count = 0
    for chain, way in zip(content.chains, ways, strict=True):
        within = last_within(chain, head.size)
        if within is None and way is None:
            continue
        if within is None or way is None:
            raise IntegrityError(f"the way from this {chain.of}'s lines to the head that was published is missing")
        at, shown = within
        path, hashed = [bytes.fromhex(one) for one in way], bytes.fromhex(shown.hash)
        if not merkle.includes(bytes.fromhex(head.root), head.size, hashed, at, path):
            raise IntegrityError(f"custody line {at} of this {chain.of} is not in the log whose head was published")
        count += chain.lines.index(shown) + 1
    return count


def position(shown: Shown) -> int:
    """Return the position of a line in the log.

    Raises:
        IntegrityError: It is no line.
    """
    return int(parse(shown.line.encode())["position"])


def last_within(chain: Chain, size: int) -> tuple[int, Shown] | None:
    """Return the last line of a chain that is among the first `size` of the log, with its position, if one is."""
    placed = ((position(shown), shown) for shown in reversed(chain.lines))
    return next((one for one in placed if one[0] < size), None)


def check(content: Tie, file_id: int, zip_id: int | None) -> list[Row]:
    """Return the lines, the first first, once each is seen to be what was chained, from the first of its subject on.

    Raises:
        IntegrityError: One was changed, moved, put in or left out, or is another file's; it says which.
    """
    rows = list[Row]()
    for chain, about in zip(content.chains, ((file_id, None), (None, zip_id)), strict=False):
        rows += _checked(chain, content.head, about)
    if not rows or [chain.of for chain in content.chains] not in (["file"], ["file", "archive"]):
        raise IntegrityError("these custody lines are not those of a file, and then of its archive")
    return sorted(rows, key=lambda row: int(row["position"]))


def _checked(chain: Chain, head: Root, about: Subject) -> Iterator[Row]:
    """Yield the rows of a chain; see that they hang together, and that the last is in the head's tree."""
    if chain.after is not None:
        raise IntegrityError(f"the first custody lines of this {chain.of} are left out: those shown follow another")
    followed, follows = None, -1
    for shown in chain.lines:
        row = parse(shown.line.encode())
        name = f"custody line {row['position']} (`{row['act']}`)"
        if subject(row) != about:
            raise IntegrityError(f"{name} is not of this {chain.of}")
        hashed = link(bytes.fromhex(shown.before), followed, shown.line.encode())
        if hashed.hex() != shown.hash or row["position"] <= follows:
            raise IntegrityError(f"{name} was changed or moved, or a line between it and the one before is missing")
        followed, follows = hashed, row["position"]
        yield row
    path = [bytes.fromhex(one) for one in chain.path]
    if followed is None or not merkle.includes(bytes.fromhex(head.root), head.size, followed, follows, path):
        raise IntegrityError(f"custody line {follows} of this {chain.of} is not in the log whose head is shown")
