"""What was found in a file that is a video: under its own names, beside what its client said, which counts more."""

from datetime import UTC
from typing import Any

from roadvault_common.sql.db import Row

_NAMES = {
    "camera": "camera",
    "recorded_at": "recordedAt",
    "duration": "duration",
    "container": "container",
    "video_codec": "videoCodec",
    "audio_codec": "audioCodec",
    "width": "width",
    "height": "height",
    "rotation": "rotation",
    "frame_rate": "frameRate",
    "lat": "lat",
    "lon": "lon",
}
"""Columns of `video_info`, and what the API calls them."""
SELECT = ", ".join(
    [
        *(f"video.{column} AS found_{column}" for column in _NAMES),
        "COALESCE(file.camera, video.camera) AS known_camera",
        "COALESCE(file.recorded_at, video.recorded_at) AS known_at",
    ]
)
"""What `of` and filters read, of a `file_upload_info` that the query calls `file`, with JOIN."""
JOIN = "LEFT JOIN video_info AS video ON video.file_id = file.file_id"


def of(row: Row) -> dict[str, Any] | None:
    """Return what was found in a file; None if nothing was, or nobody has looked yet."""
    found = {name: row[f"found_{column}"] for column, name in _NAMES.items()}
    if all(value is None for value in found.values()):
        return None
    when = found["recordedAt"]
    return {
        **found,
        "recordedAt": None if when is None else when.replace(tzinfo=UTC).isoformat(timespec="milliseconds"),
    }
