"""Which files a list, or a batch, is of; and where a list goes on."""

import base64
import hashlib
from binascii import Error as BadBase64
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import NamedTuple

import orjson

from roadvault_common.sql.db import Row
from roadvault_ingest.access.who import current
from roadvault_ingest.problems import Problem
from roadvault_ingest.states import STATES, state_of
from roadvault_ingest.uploads.facts import moment
from roadvault_ingest.uploads.names import shown

PAGE, LARGEST_PAGE = 100, 1000
"""Files on a page of a list, if its client does not say otherwise; and the most that it can have."""
_NUMBER_DIGITS = 18
_TIMES = {
    "recordedFrom": "recorded_from",
    "recordedTo": "recorded_to",
    "receivedFrom": "received_from",
    "receivedTo": "received_to",
}


@dataclass(frozen=True)
class Filters:
    """What all files of a list have in common. Times are UTC, without a zone: from the one on, before the other."""

    name: str | None = None
    """What their names begin with."""
    camera: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None
    state: str | None = None
    """In the words of the API."""
    archive: int | None = None
    tag: str | None = None

    @property
    def given(self) -> set[str]:
        """The names of those that were given."""
        return {field.name for field in fields(self) if getattr(self, field.name) is not None}

    def take(self, row: Row) -> bool:
        """Tell whether a row of `FilesStore` is one of these files."""
        return (
            current().sees(row["camera"])  # as its client says: what a file says of itself lets nobody see it
            and (self.name is None or row["file_name"].startswith(self.name))
            and self.camera in {None, row["known_camera"]}
            and _within(row["known_at"], self.recorded_from, self.recorded_to)
            and _within(row["create_time"], self.received_from, self.received_to)
            and self.archive in {None, row["zip_id"]}
            and (self.tag is None or self.tag in (row["tags"] or "").split(","))
            and (self.state is None or self.state == state_of(row))
        )


def only_seen(filters: Filters) -> Filters:
    """Return filters that lead along the one camera whose files whoever asks may see, if it is but one."""
    only = current().grant.only_camera
    return filters if only is None or filters.camera is not None else replace(filters, camera=only)


class Order(NamedTuple):
    """In which order a list comes, how long its pages are, and behind which mark of a page before this one begins."""

    newest_first: bool = True
    limit: int = PAGE
    after: str | None = None


class Mark(NamedTuple):
    """Where a list goes on: the index that leads, what it is in order of besides numbers, and a file's number."""

    lead: str
    value: str | None
    file_id: int

    def encode(self, filters: Filters, order: Order) -> str:
        """Return the mark that a client gives back."""
        return base64.urlsafe_b64encode(orjson.dumps([*self, _digest(filters, order)])).decode().rstrip("=")

    @classmethod
    def decode(cls, mark: str, filters: Filters, order: Order) -> "Mark":
        """Read a mark.

        Raises:
            Problem: It is none, or another list's.
        """
        try:
            lead, value, file_id, digest = orjson.loads(base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4)))
        except (BadBase64, ValueError, TypeError):
            raise Problem(f"after must be the next of an earlier answer, not {shown(mark)}") from None
        if digest != _digest(filters, order):
            raise Problem("after is the next of another list: all but limit has to stay as it was")
        if not (isinstance(lead, str) and isinstance(file_id, int) and (value is None or isinstance(value, str))):
            raise Problem(f"after must be the next of an earlier answer, not {shown(mark)}")
        return cls(lead, value, file_id)


def read_filters(given: Mapping[str, object]) -> Filters:
    """Read filters, as a query or a JSON object has them.

    Raises:
        Problem: One can't be understood, or there is no such filter: it would let through more than its client means.
    """
    texts = {name: _text(name, value) for name, value in given.items()}
    values: dict[str, object] = {}
    for name, text in texts.items():
        if name in _TIMES:
            values[_TIMES[name]] = moment(name, text.strip()).replace(tzinfo=None)
        elif name == "archive":
            values[name] = _number(name, text)
        elif name == "state":
            values[name] = _one_of(name, text, STATES)
        elif name == "name":
            values[name] = text
        elif name in {"camera", "tag"}:
            values[name] = text.strip()
        else:
            known = ", ".join(["name", "camera", *_TIMES, "state", "archive", "tag"])
            raise Problem(f"{shown(name)} is no filter; there are {known}")
    return Filters(**values)  # type: ignore[arg-type]


def read_list(query: Mapping[str, str]) -> tuple[Filters, Order]:
    """Read what list a client wants, and how.

    Raises:
        Problem: It can't be understood.
    """
    rest = dict(query)
    limit = _number("limit", rest.pop("limit", str(PAGE)))
    if not 1 <= limit <= LARGEST_PAGE:
        raise Problem(f"limit must be between 1 and {LARGEST_PAGE}, not {limit}")
    newest_first = _one_of("order", rest.pop("order", "newest"), ("newest", "oldest")) == "newest"
    order = Order(newest_first, limit, rest.pop("after", None))
    return read_filters(rest), order


def read_page(query: Mapping[str, str]) -> tuple[int, int]:
    """Read behind which file's number a page of a batch begins, and how long it is.

    Raises:
        Problem: It can't be understood.
    """
    after, limit = _number("after", query.get("after", "0")), _number("limit", query.get("limit", str(PAGE)))
    if not 1 <= limit <= LARGEST_PAGE:
        raise Problem(f"limit must be between 1 and {LARGEST_PAGE}, not {limit}")
    return after, limit


def _within(value: datetime | None, first: datetime | None, last: datetime | None) -> bool:
    if first is None and last is None:
        return True
    return value is not None and (first is None or first <= value) and (last is None or value < last)


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Problem(f"{shown(name)} must be a text or a number")
    text = str(value)
    if not text.strip():
        raise Problem(f"{shown(name)} is empty; leave it out to have files with any")
    return text


def _number(name: str, text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS):
        raise Problem(f"{name} must be a whole number, not {shown(text)}")
    return int(text)


def _one_of(name: str, text: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise Problem(f"{name} must be one of {', '.join(words)}; not {shown(text)}")
    return text


def _digest(filters: Filters, order: Order) -> str:
    return hashlib.sha256(repr((filters, order.newest_first)).encode()).hexdigest()[:16]
