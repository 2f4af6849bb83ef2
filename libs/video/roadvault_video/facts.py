"""What a video says of itself: how long, how large, of which codecs, and when, where and by what it was recorded.

Runs in the sandbox.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice

from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import DataStream, Stream
from av.video.stream import VideoStream

from roadvault_video import gpmf
from roadvault_video.child import Video

_SAMPLES = 30
"""Of a track with positions: about as many seconds in which the receiver may still look for satellites."""
_SAMPLE_BYTES = 1 << 18
_PLACE = re.compile(r"([+-]\d{2}(?:\.\d+)?)([+-]\d{3}(?:\.\d+)?)", re.ASCII)
"""ISO 6709, in degrees."""
_LOCATIONS = ("com.apple.quicktime.location.iso6709", "location")
_MAKERS = (("com.apple.quicktime.make", "com.apple.quicktime.model"), ("make", "model"))
_LONG = 100


def of(container: InputContainer, video: Video) -> dict[str, object]:
    """Return what is known, and only that."""
    found: dict[str, object | None] = {"container": container.format.name.split(",")[0]}
    if container.duration is not None and container.duration > 0:
        found["duration"] = container.duration / 1e6
    if container.streams.video:
        found |= _of_picture(container.streams.video[0])
    if container.streams.audio:
        found["audio_codec"] = _codec(container.streams.audio[0])
    metadata = {key.lower(): value for key, value in container.metadata.items()}
    found |= _of_metadata(metadata)
    for stream in container.streams.data:
        if stream.metadata.get("handler_name", "").strip("\0\t\r\b ").endswith("GoPro MET"):
            found |= _of_gopro(stream, video)
    return {name: value for name, value in found.items() if value is not None}


def _of_picture(stream: VideoStream) -> dict[str, object | None]:
    rate = stream.average_rate
    found: dict[str, object | None] = {"video_codec": _codec(stream), "frame_rate": float(rate) if rate else None}
    if found["video_codec"] is not None:
        found |= {"width": stream.codec_context.width or None, "height": stream.codec_context.height or None}
    return found


def _codec(stream: Stream) -> str | None:
    """Return what a stream is coded with; None if that is unknown here, when there is no context, whatever its type."""
    context: CodecContext | None = stream.codec_context
    return None if context is None else context.name


def _of_metadata(metadata: dict[str, str]) -> dict[str, object | None]:
    found: dict[str, object | None] = {
        # The second is UTC as the standard has it, and whatever the camera's clock said in fact.
        "zoned_at": _time(metadata.get("com.apple.quicktime.creationdate")),
        "created_at": _time(metadata.get("creation_time")),
    }
    for name in _LOCATIONS:
        if place := _PLACE.match(metadata.get(name, "")):
            found |= {"lat": float(place[1]), "lon": float(place[2])}
            break
    for make, model in _MAKERS:
        if model in metadata:
            maker = metadata.get(make, "")
            named = metadata[model] if metadata[model].startswith(maker) else f"{maker} {metadata[model]}"
            found["camera"] = named.strip()[:_LONG] or None
            break
    return found


def _time(text: str | None) -> str | None:
    try:
        return None if text is None else datetime.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _of_gopro(stream: DataStream, video: Video) -> dict[str, object | None]:
    """Return what the first samples tell, up to the first that knows where it is."""
    found: dict[str, object | None] = {}
    for entry in islice(stream.index_entries, _SAMPLES):
        try:
            told = gpmf.read(video.at(entry.pos, min(entry.size, _SAMPLE_BYTES)))
            since = timedelta(seconds=float(entry.timestamp * (stream.time_base or 0)))
            began = None if told.at is None else (told.at - since).astimezone(UTC).isoformat()
        except (ValueError, ArithmeticError):
            continue
        if told.camera is not None:
            found["camera"] = told.camera if "gopro" in told.camera.lower() else f"GoPro {told.camera}"[:_LONG]
        if told.place is not None:
            return found | {"lat": told.place[0], "lon": told.place[1], "gps_at": began}
    return found
