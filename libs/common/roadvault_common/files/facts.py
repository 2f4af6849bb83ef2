"""What is known of a file besides its name, if its client said so: camera, when and where it was recorded, tags.

The names of the fields are those of the JSON, here, in manifests, in tags of uploads, and in the API.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from roadvault_common.sql.db import Row, Transaction

CAMERA_LENGTH = 100
"""Characters of `file_upload_info.camera`."""
TAG_LENGTH = 50
"""Characters of `file_tag_info.tag`."""
TAGS, TAGS_BYTES = 20, 500
"""Tags of a file, and their length together, in UTF-8 and with a comma between them: so manifests stay short, all of it
fits beside the name into an extended attribute, and a GROUP_CONCAT of any server has room for it."""
YEARS = 1970, 2200
"""The years in which a recording can have begun: the first, and the one behind the last."""
COLUMNS = ("camera", "recorded_at", "lat", "lon")
"""Of `file_upload_info`; tags have their own table."""
SELECT = (
    "{file}.camera, {file}.recorded_at, {file}.lat, {file}.lon,"
    " (SELECT GROUP_CONCAT(tag) FROM file_tag_info WHERE file_tag_info.file_id = {file}.file_id) AS tags"
)
"""What `of` reads, of a `file_upload_info` that the query calls `file`."""
_AT_ONCE = 1000
"""Tags in one statement."""

_Degrees = Field(allow_inf_nan=False)


class Facts(BaseModel):
    """What is known of a file; whatever has a tag or an entry in a manifest is some, too."""

    model_config = ConfigDict(frozen=True)

    camera: Annotated[str, Field(min_length=1, max_length=CAMERA_LENGTH)] | None = None
    recordedAt: AwareDatetime | None = None  # noqa: N815 - as the JSON has it
    """UTC."""
    lat: Annotated[float, _Degrees, Field(ge=-90, le=90)] | None = None
    """WGS 84, as is `lon`."""
    lon: Annotated[float, _Degrees, Field(ge=-180, le=180)] | None = None
    tags: tuple[Annotated[str, Field(min_length=1, max_length=TAG_LENGTH, pattern="^[^,]+$")], ...] = ()
    """In order, each once."""

    @field_validator("recordedAt")
    @classmethod
    def _in_utc(cls, when: datetime | None) -> datetime | None:
        if when is None:
            return None
        when = when.astimezone(UTC) if YEARS[0] - 1 <= when.year <= YEARS[1] else when
        if not YEARS[0] <= when.year < YEARS[1]:
            raise ValueError(f"it must lie between the years {YEARS[0]} and {YEARS[1]}")
        return when

    @field_validator("tags")
    @classmethod
    def _each_once(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        tags = tuple(sorted({tag.strip() for tag in tags} - {""}))
        if len(tags) > TAGS or len(",".join(tags).encode()) > TAGS_BYTES:
            raise ValueError(f"there must be {TAGS} at the most, and together {TAGS_BYTES} bytes")
        return tags


NOTHING = Facts()


def of(row: Row) -> Facts:
    """Return what a row says that was read with SELECT."""
    tags = row["tags"]
    if tags is None and all(row[name] is None for name in COLUMNS):
        return NOTHING
    when = row["recorded_at"]
    return Facts(
        camera=row["camera"],
        recordedAt=None if when is None else when.replace(tzinfo=UTC),
        lat=row["lat"],
        lon=row["lon"],
        tags=() if tags is None else tags.split(","),
    )


def told(facts: Facts) -> dict[str, object]:
    """Return what is known, and only that, as JSON takes it."""
    when = facts.recordedAt
    known = {
        "camera": facts.camera,
        "recordedAt": None if when is None else f"{when:%Y-%m-%dT%H:%M:%S.%fZ}",
        "lat": facts.lat,
        "lon": facts.lon,
        "tags": list(facts.tags) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def values(facts: Facts) -> list[object]:
    """Return the values of COLUMNS."""
    when = facts.recordedAt
    return [facts.camera, None if when is None else when.replace(tzinfo=None), facts.lat, facts.lon]


async def insert_tags(tx: Transaction, files: Iterable[tuple[int, Facts]]) -> None:
    """Write the tags of files that were just written, by their numbers; no statement if there are none."""
    rows = [(tag, file_id) for file_id, facts in files for tag in facts.tags]
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        await tx.execute(
            f"INSERT INTO file_tag_info (tag, file_id) VALUES {', '.join(['(%s, %s)'] * len(some))}",  # noqa: S608
            [value for row in some for value in row],
        )
