"""Reads between which times a clip is wanted: the fields `from` and `to`."""

import re
from collections.abc import Mapping
from math import isfinite

from roadvault_common.files.span import Span, milliseconds
from roadvault_ingest.problems import BadClip, Problem
from roadvault_ingest.uploads.facts import moment
from roadvault_ingest.uploads.names import shown

_SECONDS = re.compile(r"\d{1,7}(\.\d{1,9})?", re.ASCII)
_MOST_SECONDS = 10_000_000
_EXAMPLE = "seconds of the video, such as 63.5, or a time such as 2026-11-28T08:30:00+08:00"


def read_span(fields: Mapping[str, object], longest_seconds: float) -> Span | None:
    """Return which part of a video is wanted; None: the file as it is.

    Raises:
        Problem: It can't be understood.
        BadClip: There can't be such a clip.
    """
    given = {name: value for name in ("from", "to") if (value := fields.get(name)) is not None and value != ""}
    if not given:
        return None
    if len(given) == 1:
        raise Problem("from and to belong together: send both for a clip, or none for the whole file")
    begin, end = (_time(name, value) for name, value in given.items())
    if begin[1] != end[1]:
        raise Problem("from and to must be of one kind: both seconds of the video, or both times on the clock")
    span = Span(begin[0], end[0], begin[1])
    if span.begin >= span.end:
        raise BadClip("from must lie before to")
    if span.end - span.begin > longest_seconds * 1000:
        raise BadClip(f"a clip may have {longest_seconds:g} seconds; ask for several, or for the whole file")
    return span


def _time(name: str, value: object) -> tuple[int, bool]:
    """Return milliseconds, and whether they are on the clock."""
    if isinstance(value, str):
        text = value.strip()
        if not _SECONDS.fullmatch(text):
            return milliseconds(moment(name, text)), True
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Problem(f"{name} must be {_EXAMPLE}")
    if not isfinite(value) or not 0 <= value < _MOST_SECONDS:
        raise Problem(f"{name} must be {_EXAMPLE}, not {shown(value)}")
    return round(value * 1000), False
