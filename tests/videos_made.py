"""Small videos, and files that were made to do harm, for what parses videos."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

WIDTH, HEIGHT, RATE = 192, 108, 10
QUARTERS = ((76, 85, 255), (150, 44, 21), (29, 255, 107), (255, 128, 128))
"""Y, U and V of red, green, blue and white: the corners from the left above, row by row."""
PORTRAIT = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)
"""Shown turned by 90 degrees, clockwise."""


def made(
    path: Path, *, seconds: float = 5, codec: str = "libx264", metadata: dict[str, str] | None = None, every: int = 10
) -> Path:
    """Write a video, with a key frame at each second."""
    options = {"movflags": "use_metadata_tags"} if metadata and any("." in key for key in metadata) else {}
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.codec_context.gop_size = WIDTH, HEIGHT, every
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec.startswith("libx26"):
            stream.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
        for number in range(int(seconds * RATE)):
            for packet in stream.encode(_frame(number, stream.pix_fmt)):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def content_of_a_video() -> bytes:
    """Return a video of two seconds."""
    with TemporaryDirectory() as directory:
        return made(Path(directory) / "a.mp4", seconds=2).read_bytes()


def _frame(number: int, pix_fmt: str) -> VideoFrame:
    frame = VideoFrame(WIDTH, HEIGHT, pix_fmt)
    for plane, of in zip(frame.planes, range(3), strict=True):
        half, rows = plane.width // 2, plane.height // 2
        pad = bytes(plane.line_size - plane.width)
        left_top, right_top, left, right = (bytes([corner[of]]) * half for corner in QUARTERS)
        plane.update((left_top + right_top + pad) * rows + (left + right + pad) * (plane.height - rows))
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def patched(path: Path, change: Callable[[bytearray], bytearray | None]) -> Path:
    """Change a file's bytes, in place or by others."""
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data) or data)
    return path


def turned(path: Path, matrix: bytes = PORTRAIT) -> Path:
    """Have an MP4's first track shown turned."""

    def change(data: bytearray) -> None:
        at = data.index(b"tkhd") + 4 + 40
        data[at : at + len(matrix)] = matrix

    return patched(path, change)


def with_gpmf(path: Path, *samples: bytes) -> Path:
    """Add a GoPro's track to an MP4 that ends with its `moov`; the samples are a second long."""

    def change(data: bytearray) -> None:
        moov = data.rindex(b"moov") - 4
        (size,) = struct.unpack_from(">I", data, moov)
        assert moov + size == len(data)
        track = _gpmf_track(0, samples)
        track = _gpmf_track(moov + size + len(track) + 8, samples)
        data[moov : moov + 4] = struct.pack(">I", size + len(track))
        data += track + box(b"mdat", *samples)

    return patched(path, change)


def _gpmf_track(offset: int, samples: tuple[bytes, ...]) -> bytes:
    count, full = len(samples), bytes(4)
    unity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    tkhd = box(b"tkhd", b"\0\0\0\3", struct.pack(">5I", 0, 0, 9, 0, count * 1000), bytes(16), unity, bytes(8))
    mdhd = box(b"mdhd", full, struct.pack(">4IHH", 0, 0, 1000, count * 1000, 0x55C4, 0))
    hdlr = box(b"hdlr", full, bytes(4), b"meta", bytes(12), b"GoPro MET\0")
    entry = box(b"gpmd", bytes(6), b"\0\1")
    stbl = box(
        b"stbl",
        box(b"stsd", full, struct.pack(">I", 1), entry),
        box(b"stts", full, struct.pack(">3I", 1, count, 1000)),
        box(b"stsc", full, struct.pack(">4I", 1, 1, count, 1)),
        box(b"stsz", full, struct.pack(">2I", 0, count), *(struct.pack(">I", len(one)) for one in samples)),
        box(b"stco", full, struct.pack(">2I", 1, offset)),
    )
    dinf = box(b"dinf", box(b"dref", full, struct.pack(">I", 1), box(b"url ", b"\0\0\0\1")))
    return box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", box(b"nmhd", full), dinf, stbl)))


def nested(depth: int) -> bytes:
    """An MP4 whose boxes are in each other."""
    data = b""
    for _ in range(depth):
        data = box(b"moov", data) if len(data) < 1 << 31 else data
    return box(b"ftyp", b"isom", bytes(4), b"isom") + data


def enormous_pictures(path: Path) -> Path:
    """A video whose pictures say that they are 65 500 by 65 500."""

    def change(data: bytearray) -> None:
        at = 0
        while (at := data.find(b"\xff\xc0", at)) >= 0:
            data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
            at += 9

    return patched(made(path, codec="mjpeg"), change)


def many_samples(path: Path, table: bytes = b"stsz") -> Path:
    """An MP4 that says that it has four thousand million samples of a byte each."""

    def change(data: bytearray) -> None:
        at = data.index(table) + 8
        data[at : at + 8] = struct.pack(">II", 1, 0xFFFFFFF0)
        stts = data.index(b"stts") + 12
        data[stts : stts + 4] = struct.pack(">I", 0xFFFFFFF0)

    return patched(made(path), change)
