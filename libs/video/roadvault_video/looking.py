"""Looks at a video: asks the sandbox for facts and pictures, and believes what can be true."""

from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json

from roadvault_common.files.facts import CAMERA_LENGTH, YEARS
from roadvault_common.plain import plain
from roadvault_video import sandbox
from roadvault_video.names import told_by
from roadvault_video.sandbox import Kind, Limits, UnreadableVideo
from roadvault_video.source import Source

JOB = "roadvault_video.look"
PICTURES = 3
PICTURE_BYTES = 1 << 16
"""The largest picture that is kept."""
_NOTES = 10

_Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,30}$")]


class Found(BaseModel):
    """What a video says of itself. A value that can't be is none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    container: _Name | None = None
    video_codec: _Name | None = None
    audio_codec: _Name | None = None
    width: Annotated[int, Field(ge=1, le=65_535)] | None = None
    height: Annotated[int, Field(ge=1, le=65_535)] | None = None
    rotation: Literal[0, 90, 180, 270] | None = None
    """By how many degrees it is turned to be shown, clockwise."""
    frame_rate: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    duration: Annotated[float, Field(gt=0, le=1e8, allow_inf_nan=False)] | None = None
    """Seconds."""
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    camera: str | None = None
    gps_at: AwareDatetime | None = None
    zoned_at: AwareDatetime | None = None
    created_at: AwareDatetime | None = None

    @field_validator("gps_at", "zoned_at", "created_at")
    @classmethod
    def _possible(cls, when: datetime | None) -> datetime | None:
        # 1904 and 1970 are what a clock says that nobody set.
        if when is None or not YEARS[0] < when.year < YEARS[1]:
            return None
        return when.astimezone(UTC)

    @field_validator("camera")
    @classmethod
    def _one_line(cls, name: str | None) -> str | None:
        return None if name is None else plain(name)[:CAMERA_LENGTH].strip() or None

    @classmethod
    def of(cls, notes: dict[str, object]) -> "Found":
        """Make it of what a child said."""
        try:
            return cls.model_validate(notes)
        except ValidationError as error:
            wrong = {str(detail["loc"][0]) for detail in error.errors(include_input=False) if detail["loc"]}
        if wrong & {"lat", "lon"}:
            wrong |= {"lat", "lon"}
        return cls.model_validate({name: value for name, value in notes.items() if name not in wrong})


@dataclass
class Look:
    """What was found in a video, and of its name."""

    found: Found = field(default_factory=Found)
    pictures: list[tuple[float, bytes]] = field(default_factory=list)
    """JPEGs, each with its place in seconds."""
    unreadable: str | None = None
    """Why it, or the rest of it, could not be read."""
    camera: str | None = None
    recorded_at: datetime | None = None
    """UTC."""
    recorded_by: Literal["gps", "metadata", "name"] | None = None
    """What told when."""


async def look(source: Source, name: str, limits: Limits, zone: tzinfo) -> Look:
    """Look at a video that is called `name`; names have their times in `zone`. One that can't be read has no pictures.

    Raises:
        SettingsError: Nothing can be parsed safely on this machine.
        TransientError: Nor was it, for now.
    """
    seen = Look()
    notes: dict[str, object] = {}
    try:
        async with aclosing(sandbox.run(JOB, source, limits, idle=True)) as messages:
            said = 0
            async for kind, data in messages:
                said += 1
                if kind is Kind.NOTE and said <= _NOTES:
                    notes |= _note(data)
                elif kind is Kind.DATA and len(seen.pictures) < PICTURES:
                    seen.pictures.append((_place(notes), _picture(data)))
    except UnreadableVideo as error:
        seen.unreadable = str(error)
    seen.found = Found.of(notes)
    _conclude(seen, name, zone)
    return seen


def _note(data: bytes) -> dict[str, object]:
    try:
        note = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise UnreadableVideo("its child speaks nonsense") from error
    if not isinstance(note, dict):
        raise UnreadableVideo("its child speaks nonsense")
    return note


def _place(notes: dict[str, object]) -> float:
    at = notes.get("picture")
    return float(at) if isinstance(at, int | float) and 0 <= at <= 1e8 else 0.0  # noqa: PLR2004 - some years


def _picture(data: bytes) -> bytes:
    if len(data) > PICTURE_BYTES or not data.startswith(b"\xff\xd8\xff") or not data.endswith(b"\xff\xd9"):
        raise UnreadableVideo("its child gives no pictures")
    return data


def _conclude(seen: Look, name: str, zone: tzinfo) -> None:
    """Decide when and by what it was recorded: satellites know, then what has a zone, then the name, which has none.

    What is called creation time comes last: many write it at the end, or in local time.
    """
    found, named = seen.found, told_by(name)
    seen.camera = found.camera or named.camera
    by_name = None if named.at is None else named.at.replace(tzinfo=zone).astimezone(UTC)
    if found.gps_at is not None:
        seen.recorded_at, seen.recorded_by = found.gps_at, "gps"
    elif found.zoned_at is not None:
        seen.recorded_at, seen.recorded_by = found.zoned_at, "metadata"
    elif by_name is not None:
        seen.recorded_at, seen.recorded_by = by_name, "name"
    elif found.created_at is not None:
        seen.recorded_at, seen.recorded_by = found.created_at, "metadata"
