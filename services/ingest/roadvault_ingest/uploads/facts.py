"""What a client says of a file besides its name: which camera, when and where it was recorded, and words to find it by."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

from roadvault_common.plain import plain
from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.names import shown

FIELDS = ("camera", "recordedAt", "lat", "lon", "tags")
"""Their names in a form, a query, in tus metadata and in answers."""
CAMERA_LENGTH = 100
"""Characters of `file_upload_info.camera`."""
TAG_LENGTH, TAGS = 50, 20
"""Characters of a tag, and tags of a file."""
_DEGREES = {"lat": 90.0, "lon": 180.0}
_YEARS = 1970, 2200
_SECONDS = re.compile(r"\d{9,11}(\.\d{1,6})?", re.ASCII)


@dataclass(frozen=True)
class Facts:
    """What is known of a file; degrees are WGS 84, `recorded_at` is UTC without a zone."""

    camera: str | None = None
    recorded_at: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    tags: tuple[str, ...] = ()


def read(fields: Mapping[str, str]) -> Facts:
    """Return what the fields of an upload say; empty ones say nothing.

    Raises:
        Problem: One can't be understood.
    """
    given = {name: text for name in FIELDS if (text := fields.get(name, "").strip())}
    lat, lon = (_degrees(name, given.get(name)) for name in ("lat", "lon"))
    if (lat is None) != (lon is None):
        raise Problem("lat and lon belong together: send both or none")
    when = given.get("recordedAt")
    return Facts(
        _camera(given.get("camera")), None if when is None else moment("recordedAt", when), lat, lon, _tags(given)
    )


def moment(name: str, text: str) -> datetime:
    """Return a time as the database has it (UTC, no zone) from ISO 8601 with a zone, or seconds since 1970.

    Raises:
        Problem: It is neither.
    """
    try:
        if _SECONDS.fullmatch(text):
            when = datetime.fromtimestamp(float(text), UTC)
        else:
            when = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise Problem(f"{name} must be a time such as 2026-11-28T08:30:00+08:00, not {shown(text)}") from None
    if when.tzinfo is None:
        raise Problem(f"{name} must say its zone, as 2026-11-28T08:30:00+08:00 or …Z do; {shown(text)} does not")
    try:
        when = when.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        when = datetime.min
    if not _YEARS[0] <= when.year < _YEARS[1]:
        raise Problem(f"{name} must lie between the years {_YEARS[0]} and {_YEARS[1]}, not at {shown(text)}")
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
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and abs(value) <= _DEGREES[name]):
        raise Problem(
            f"{name} must be degrees between -{_DEGREES[name]:.0f} and {_DEGREES[name]:.0f}, not {shown(text)}"
        )
    return value


def _tags(given: Mapping[str, str]) -> tuple[str, ...]:
    tags = dict.fromkeys(tag for part in given.get("tags", "").split(",") if (tag := part.strip()))
    if len(tags) > TAGS:
        raise Problem(f"a file can have {TAGS} tags, divided by commas; {len(tags)} came")
    for tag in tags:
        if len(tag) > TAG_LENGTH:
            raise Problem(f"a tag must have {TAG_LENGTH} characters at the most; {shown(tag)} has {len(tag)}")
        _readable("tags", tag)
    return tuple(tags)


def _readable(name: str, text: str) -> str:
    if plain(text) != text:
        raise Problem(f"{name} must not have control characters: {shown(text)}")
    return text
