"""Writes lines of the custody log: each act on a file or an archive is one line, in the transaction of the act.

A line has no hash yet: `roadvault_common.custody` gives it its place in the chain soon after, so that acts don't queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import orjson

from roadvault_common.plain import plain
from roadvault_common.sql.db import Transaction

_AT_ONCE = 1000
"""Lines in one statement."""
_LONGEST = 300
"""Characters of a fact: of a line with three such, escaped throughout, `custody_info.facts` takes all."""


class Act(StrEnum):
    """What was done. An act on an archive was done to all its files."""

    RECEIVED = "received"
    """A file came from an address."""
    ADOPTED = "adopted"
    """A file that lay on the disk, or an archive, got its rows again, after the database was lost."""
    SET_ASIDE = "set aside"
    """A file was found not to be what had been received; it is in no archive."""
    MENDED = "mended"
    """A file that had been set aside was found whole, and is to be packed."""
    GIVEN_UP = "given up"
    """A person closed a file as lost; or had an archive, which was not on IPFS yet, packed anew."""
    PACKED = "packed"
    """An archive was made of files, and encrypted."""
    PINNED = "pinned"
    """Our IPFS node holds an archive."""
    BOUGHT = "bought"
    """Storage was bought for an archive, in a finalized block."""
    PROVEN = "proven"
    """Files of an archive came back from the network as they had been archived."""
    AUDITED = "audited"
    """Likewise, again, later; or a copy was found to be no longer whole."""
    DROPPED = "dropped"
    """Local copies of an archive, or of its uploads, were removed."""
    RESTORED = "restored"
    """Our IPFS node holds an archive again that had been dropped, or had rotted."""
    ASKED = "asked"
    """Somebody asked for a file."""
    FETCHED = "fetched"
    """A file was brought back from somewhere, and verified."""
    HANDED = "handed"
    """A link to a file was given to somebody, who took it."""
    WATCHED = "watched"
    """The first bytes of a file were sent to who plays it."""
    EXPIRED = "expired"
    """A file that had been brought back was removed again."""
    REWRAPPED = "rewrapped"
    """Archives' keys were wrapped by another master key."""
    END_MOVED = "end moved"
    """A person moved the time at which an archive ends, or took it away."""
    HOLD = "hold"
    """What is on hold is not let go, whatever its folder's end."""
    RELEASED = "released"
    """It is on hold no more."""
    SHREDDED = "shredded"
    """The key of an archive was destroyed."""
    ACCEPTED = "accepted"
    """A person accepted that lines of this log are lost, or not what they were."""
    LOST = "lost"
    """What was done here is not known any more: the line is missing, and a person accepted that."""


Facts = Mapping[str, object]
"""What else there is to say of an act, by names of ours: texts and whole numbers; what is None is left out."""


@dataclass(frozen=True)
class Line:
    """An act on a file or an archive, or on neither of them alone."""

    act: Act
    facts: Facts = field(default_factory=dict)
    file_id: int | None = None
    zip_id: int | None = None


def dump(facts: Facts) -> bytes:
    """Return facts as the JSON that is stored and hashed: compact, its keys in order, in UTF-8."""
    return orjson.dumps(dict(facts), option=orjson.OPT_SORT_KEYS)


async def record(tx: Transaction, *lines: Line) -> None:
    """Write lines; all of an act's transaction in one statement. They are dated by the database."""
    for start in range(0, len(lines), _AT_ONCE):
        some = lines[start : start + _AT_ONCE]
        values: list[object] = []
        for line in some:
            values += [line.act.value, line.file_id, line.zip_id, dump(_short(line.facts)).decode()]
        rows = ", ".join(["(%s, %s, %s, %s)"] * len(some))
        await tx.execute(f"INSERT INTO custody_info (act, file_id, zip_id, facts) VALUES {rows}", values)  # noqa: S608


def _short(facts: Facts) -> dict[str, object]:
    """Return facts that are known, each of them short and fit to be shown."""
    return {
        name: plain(value)[:_LONGEST] if isinstance(value, str) else value
        for name, value in facts.items()
        if value is not None
    }
