"""Three small pictures of a video, from key frames. Runs in the sandbox."""

from fractions import Fraction

import av
from av.codec.context import CodecContext, ThreadType
from av.container import InputContainer
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from roadvault_video.child import Out

WIDTH = 320
"""Pixels of a picture, as it is shown."""
PLACES = (0.1, 0.5, 0.9)
_TALLEST = 4
"""Pictures that are more times as high as wide, or as wide as high, are none of a road."""
_PACKETS = 400
"""Looked at for one picture."""
_KEY_FRAMES = 4
_CODECS = frozenset(
    ("h264", "hevc", "mpeg4", "mjpeg", "mpeg1video", "mpeg2video", "h263", "vp8", "vp9", "libdav1d", "av1", "prores")
)
_ORIENTATIONS = {90: 6, 180: 3, 270: 8}
"""EXIF's, of pictures that are shown turned by so many degrees, clockwise."""
_TOO_EARLY = (0.0, 4.0, 15.0)
"""Seconds: where a container's index leads behind its last key frame, one goes back."""


def make(container: InputContainer, out: Out) -> None:
    """Note each picture's place in the video, in seconds, and give it out, as JPEG."""
    stream = next(iter(container.streams.video), None)
    context: CodecContext | None = None if stream is None else stream.codec_context
    if stream is None or context is None or context.name not in _CODECS:
        return
    stream.codec_context.thread_type, stream.codec_context.thread_count = ThreadType.NONE, 1
    for other in container.streams:
        other.discard = Discard.all
    stream.discard = Discard.nonkey
    seconds, begins = (container.duration or 0) / 1e6, (container.start_time or 0) / 1e6
    shown = set[float]()
    for place in PLACES if seconds > 1 else (0.0,):
        found = _frame(container, stream, begins, seconds * place)
        if found is None:
            continue
        frame, at = found[0], max(found[1] - begins, 0.0)
        if at in shown:
            continue
        shown.add(at)
        turned = -frame.rotation % 360
        if picture := _picture(frame, stream, turned):
            out.note(picture=at, rotation=turned)
            out.data(picture)


def _frame(container: InputContainer, stream: VideoStream, begins: float, at: float) -> tuple[VideoFrame, float] | None:
    """Return the key frame at a place, or else near it, and its time."""
    for earlier in _TOO_EARLY:
        container.seek(int((begins + max(at - earlier, 0)) * 1e6), backward=True, any_frame=False)
        if (found := _next(container, stream)) is not None:
            return found
    return None


def _next(container: InputContainer, stream: VideoStream) -> tuple[VideoFrame, float] | None:
    """Return the next key frame, of its packet alone, and its time."""
    tried = 0
    for number, packet in enumerate(container.demux(stream)):
        if number >= _PACKETS or tried >= _KEY_FRAMES:
            break
        if not packet.is_keyframe or packet.size == 0:
            continue
        tried += 1
        stream.codec_context.flush_buffers()
        try:
            frames = [*stream.codec_context.decode(packet), *stream.codec_context.decode(None)]
        except av.error.InvalidDataError:
            continue
        finally:
            stream.codec_context.flush_buffers()
        if frames:
            return frames[0], float((packet.pts or 0) * (packet.time_base or 0))
    return None


def _picture(frame: VideoFrame, stream: VideoStream, turned: int) -> bytes | None:
    """Return a frame as JPEG, as it is to be shown."""
    ratio = Fraction(frame.height, frame.width) / (stream.sample_aspect_ratio or 1)
    if turned in {90, 270}:
        width, height = round(WIDTH / ratio), WIDTH
    else:
        width, height = WIDTH, round(WIDTH * ratio)
    if not WIDTH / _TALLEST <= min(width, height) <= max(width, height) <= WIDTH * _TALLEST:
        return None
    codec = CodecContext.create("mjpeg", "w")
    assert isinstance(codec, VideoCodecContext)  # noqa: S101 - it makes pictures
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1, 25)
    codec.thread_type, codec.thread_count = ThreadType.NONE, 1
    codec.options = {"qmin": "4", "qmax": "8"}
    small = frame.reformat(width, height, "yuvj420p")
    small.pts = 0
    jpeg = b"".join(bytes(packet) for packet in [*codec.encode(small), *codec.encode(None)])
    return jpeg[:2] + _exif(_ORIENTATIONS[turned]) + jpeg[2:] if turned in _ORIENTATIONS else jpeg


def _exif(orientation: int) -> bytes:
    """Return the part of a JPEG that says how it is to be turned."""
    entry = b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0])
    return b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
