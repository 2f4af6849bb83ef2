"""Filters of the list of files, as a form sends them: what is empty is no filter, times are the reader's."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

from roadvault_ingest.lists.filters import Filters, read_filters
from roadvault_ingest.problems import Problem

NAMES = ("name", "camera", "recordedFrom", "recordedTo", "receivedFrom", "receivedTo", "state", "archive", "tag")
_TIMES = frozenset(name for name in NAMES if name.endswith(("From", "To")))


def read_form(query: Mapping[str, str], zone: tzinfo) -> tuple[Filters, list[str]]:
    """Return the filters that a form has, and the names of those that can't be understood, which are left out."""
    filters, wrong = dict[str, str](), list[str]()
    for name in NAMES:
        text = query.get(name, "").strip()
        if not text:
            continue
        try:
            given = with_zone(text, zone) if name in _TIMES else text
            read_filters({name: given})
            filters[name] = given
        except Problem:
            wrong.append(name)
    return read_filters(filters), wrong


def with_zone(text: str, zone: tzinfo) -> str:
    """Return a time with its zone: forms know none, and mean the reader's."""
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):  # a day of the year 1, or of 9999, may have no name in UTC
        return text
