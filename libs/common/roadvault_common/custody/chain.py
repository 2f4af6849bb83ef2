"""What a line is, as it is hashed, and how lines hang together. Pure; `architecture/custody.md` has it for strangers.

hash = SHA-256(hash of the line before || hash of the line that it follows || the line as JSON). The line before is the
one before it in the chain of all lines; the one that it follows is the last before it of the same file or archive. So
nothing can be left out between two lines, of all of them or of one file's; where there is none before, 32 zero bytes
stand. The hashes are also the leaves of a Merkle tree (`tree.py`), whose root is noted elsewhere.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from roadvault_common.errors import IntegrityError
from roadvault_common.sql.custody_lines import dump
from roadvault_common.sql.db import Row

NONE = bytes(32)
"""Stands for the hash of a line that there is not."""

SALT_BYTES = 16
"""Of the salt that a line gets with its place: nobody finds out by its hash what it says."""

Subject = tuple[int | None, int | None]
"""What a line is about: a file's id or an archive's id, the other None; both None: neither."""


@dataclass(frozen=True)
class Head:
    """How far the chain has come: so many lines, and the hash of the newest (NONE if there is none)."""

    size: int
    hash: bytes


@dataclass(frozen=True)
class Link:
    """A line's place: its position, that of the line it follows (None: it is the first), and its hash."""

    position: int
    follows: int | None
    hash: bytes


@dataclass(frozen=True)
class Stated:
    """What a copy of the log says of its lines where that can't be made anew: behind such as a person accepted."""

    follows: Mapping[int, int | None]
    """The position of the line that each follows, by its own."""
    hashes: Mapping[int, bytes]
    """Of the lines that don't give theirs."""


def subject(row: Row) -> Subject:
    """Return what a line is about."""
    return row["file_id"], row["zip_id"]


def text(row: Row, position: int) -> bytes:
    """Return a line as it is hashed at its place: compact JSON with its keys in order, in UTF-8.

    Keys are `act`, `archive` or `file` (or neither), `at` (UTC, microseconds), `facts`, `line`, its position, and
    `salt` (hex), unless the line is from before there were salts.
    """
    line: dict[str, Any] = {"act": row["act"], "at": moment(row["done_at"])}
    line |= {"facts": orjson.Fragment(row["facts"]), "line": position}
    if row["file_id"] is not None:
        line["file"] = row["file_id"]
    if row["zip_id"] is not None:
        line["archive"] = row["zip_id"]
    if row["salt"] is not None:
        line["salt"] = row["salt"].hex()
    return orjson.dumps(line, option=orjson.OPT_SORT_KEYS)


def moment(at: datetime) -> str:
    """Return a database time (UTC, naive) as lines have it."""
    return f"{at.isoformat(timespec='microseconds')}Z"


def parse(line: bytes) -> Row:
    """Return the row of a line, with its position; the way back from `text`.

    Raises:
        IntegrityError: It is no line.
    """
    try:
        read = orjson.loads(line)
        row = {
            "position": read["line"],
            "act": read["act"],
            "file_id": read.get("file"),
            "zip_id": read.get("archive"),
            "done_at": datetime.strptime(read["at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).replace(tzinfo=None),
            "facts": dump(read["facts"]).decode(),
            "salt": bytes.fromhex(read["salt"]) if "salt" in read else None,
        }
        if text(row, row["position"]) == line and (row["salt"] is None or len(row["salt"]) == SALT_BYTES):
            return row
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise IntegrityError(f"this is no line of a custody log: {line[:80]!r}")


def link(before: bytes, followed: bytes | None, line: bytes) -> bytes:
    """Return a line's hash, from those of the line before and of the line that it follows, if there is one."""
    return hashlib.sha256(before + (followed or NONE) + line).digest()


def links_as_stated(head: Head, rows: Sequence[Row], stated: Stated, hashes: Mapping[int, bytes]) -> list[Link]:
    """As `links`, of lines whose places are stated; `hashes` are those of lines before them that they follow."""
    known, found, before = dict(hashes), list[Link](), head.hash
    for position, row in enumerate(rows, head.size):
        follows = stated.follows[position]
        hashed = stated.hashes.get(position) or link(
            before, None if follows is None else known.get(follows, b""), text(row, position)
        )
        known[position] = before = hashed
        found.append(Link(position, follows, hashed))
    return found


def links(head: Head, rows: Sequence[Row], latest: Mapping[Subject, Link]) -> list[Link]:
    """Return the places of lines that come behind a head; `latest` has the last line so far of what they are about."""
    known, found = dict(latest), list[Link]()
    position, before = head.size, head.hash
    for row in rows:
        about = subject(row)
        followed = known.get(about)
        before = link(before, followed.hash if followed else None, text(row, position))
        placed = Link(position, followed.position if followed else None, before)
        known[about] = placed
        found.append(placed)
        position += 1
    return found
