"""Reads what a client says of a file besides its name: the fields of a form, of a query, of whatever brings a file."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite

from roadvault_common.files.facts import CAMERA_LENGTH, NOTHING, TAG_LENGTH, TAGS, TAGS_BYTES, YEARS, Facts
from roadvault_common.plain import plain
from roadvault_ingest.access.who import current
from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.names import shown

FIELDS = ("camera", "recordedAt", "lat", "lon", "tags")
"""Their names in a form, a query, in tus metadata and in answers."""
_DEGREES = {"lat": 90, "lon": 180}
_DECIMAL = re.compile(r"[+-]?\d{1,3}(\.\d{1,20})?", re.ASCII)
_SECONDS = re.compile(r"\d{9,11}(\.\d{1,6})?", re.ASCII)
_LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)", re.ASCII)
"""A zone whose + came out of a query as a blank."""


def read(fields: Mapping[str, str]) -> Facts:
    """Return what the fields of an upload say; empty ones say nothing.

    The camera is one that whoever sends it may upload for; if that is but one, it need not be said.

    Raises:
        Problem: One can't be understood.
        NotAllowed: They may not upload for that camera.
    """
    given = {name: text for name in FIELDS if (text := fields.get(name, "").strip())}
    camera = current().camera(_camera(given.get("camera")))
    if not given and camera is None:
        return NOTHING
    lat, lon = (_degrees(name, given.get(name)) for name in ("lat", "lon"))
    if (lat is None) != (lon is None):
        raise Problem("lat and lon belong together: send both or none")
    when = given.get("recordedAt")
    return Facts(
        camera=camera,
        recordedAt=None if when is None else moment("recordedAt", when),
        lat=lat,
        lon=lon,
        tags=_tags(given.get("tags", "")),
    )


def moment(name: str, text: str) -> datetime:
    """Return a time, in UTC, from ISO 8601 with a zone, or from seconds since 1970.

    Raises:
        Problem: It is neither.
    """
    whole = _LOST_PLUS.search(text)
    if whole is not None and whole.end() == len(text):
        text = f"{text[: whole.end(1)]}+{whole[2]}"
    try:
        in_seconds = _SECONDS.fullmatch(text) is not None
        when = datetime.fromtimestamp(float(text), UTC) if in_seconds else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise Problem(f"{name} must be a time such as 2026-11-28T08:30:00+08:00, not {shown(text)}") from None
    if when.tzinfo is None:
        raise Problem(f"{name} must say its zone, as 2026-11-28T08:30:00+08:00 or …Z do; {shown(text)} does not")
    try:
        when = when.astimezone(UTC)
    except OverflowError:
        when = datetime.min.replace(tzinfo=UTC)
    if not YEARS[0] <= when.year < YEARS[1]:
        raise Problem(f"{name} must lie between the years {YEARS[0]} and {YEARS[1]}, not at {shown(text)}")
    return when


def _camera(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) > CAMERA_LENGTH:
        raise Problem(f"camera must have {CAMERA_LENGTH} characters at the most; it has {len(text)}")
    return _readable("camera", text)


def _degrees(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text) if _DECIMAL.fullmatch(text) else float("nan")
    if not (isfinite(value) and abs(value) <= _DEGREES[name]):
        raise Problem(f"{name} must be degrees between -{_DEGREES[name]} and {_DEGREES[name]}, not {shown(text)}")
    return value + 0.0  # of -0 it makes 0


def _tags(text: str) -> tuple[str, ...]:
    tags = sorted({tag for part in text.split(",") if (tag := part.strip())})
    if len(tags) > TAGS:
        raise Problem(f"a file can have {TAGS} tags, divided by commas; {len(tags)} came")
    if (length := len(",".join(tags).encode())) > TAGS_BYTES:
        raise Problem(f"the tags of a file can have {TAGS_BYTES} bytes together; these have {length}")
    for tag in tags:
        if len(tag) > TAG_LENGTH:
            raise Problem(f"a tag must have {TAG_LENGTH} characters at the most; {shown(tag)} has {len(tag)}")
        _readable("tags", tag)
    return tuple(tags)


def _readable(name: str, text: str) -> str:
    if plain(text) != text:
        raise Problem(f"{name} must not have control characters: {shown(text)}")
    return text
