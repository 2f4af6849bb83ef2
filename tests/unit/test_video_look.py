"""What is found in videos, and that nothing else happens to files that are none, or were made to do harm."""

import asyncio
import zipfile
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import pytest
from av.video.frame import VideoFrame
from videos_made import box, enormous_pictures, made, many_samples, nested, patched, turned, with_gpmf

from roadvault_video import gpmf, looking, sandbox
from roadvault_video.looking import Found, Look, look
from roadvault_video.names import told_by
from roadvault_video.sandbox import Kind, Limits, Message, UnreadableVideo
from roadvault_video.source import LocalFile

GPMF = Path(__file__).parents[1] / "gpmf"
SHANGHAI = ZoneInfo("Asia/Shanghai")
LIMITS = Limits(seconds=20, memory_bytes=256 << 20, asked_bytes=64 << 20, told_bytes=1 << 20)


class Counted(LocalFile):
    """Notes what was read."""

    asked = 0

    async def read(self, offset: int, size: int) -> bytes:
        self.asked += size
        return await super().read(offset, size)


async def looked(path: Path, name: str | None = None, limits: Limits = LIMITS) -> Look:
    source = LocalFile(path)
    try:
        return await look(source, name or path.name, limits, SHANGHAI)
    finally:
        source.close()


def decoded(jpeg: bytes) -> VideoFrame:
    with av.open(BytesIO(jpeg), "r", format="jpeg_pipe") as container:
        return next(container.decode(video=0)).reformat(format="rgb24")


def colour(frame: VideoFrame, x: float, y: float) -> str:
    """The strongest of red, green and blue there; white for all."""
    plane = frame.planes[0]
    at = int(y * frame.height) * plane.line_size + int(x * frame.width) * 3
    red, green, blue = bytes(plane)[at : at + 3]
    if min(red, green, blue) > 150:
        return "white"
    return max(("red", red), ("green", green), ("blue", blue), key=lambda one: one[1])[0]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx265"),
        ("a.mkv", "libx264"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mov", "mjpeg"),
    ],
)
async def test_facts_and_three_pictures(name: str, codec: str, tmp_path: Path) -> None:
    seen = await looked(made(tmp_path / name, codec=codec))
    assert seen.unreadable is None
    found = seen.found
    assert (found.width, found.height, round(found.frame_rate or 0), round(found.duration or 0)) == (192, 108, 10, 5)
    assert found.video_codec == {"libx264": "h264", "libx265": "hevc"}.get(codec, codec)
    places = [at for at, _ in seen.pictures]
    # Without an index a place is found by guesses.
    assert len(places) == 3 - name.endswith(".ts")
    assert places == sorted(set(places))
    assert all(0 <= at < 5 for at in places)
    for _, jpeg in seen.pictures:
        frame = decoded(jpeg)
        assert (frame.width, frame.height) == (320, 180)
        corners = [colour(frame, x, y) for y in (0.25, 0.75) for x in (0.25, 0.75)]
        assert corners == ["red", "green", "blue", "white"]
        assert len(jpeg) < 20_000


async def test_a_picture_says_how_it_is_turned(tmp_path: Path) -> None:
    seen = await looked(turned(made(tmp_path / "a.mp4")))
    assert seen.found.rotation == 90
    jpeg = seen.pictures[0][1]
    assert b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06" in jpeg
    frame = decoded(jpeg)
    assert frame.height == 320, "the width, once it is turned"
    assert colour(frame, 0.25, 0.25) == "red"


async def test_few_bytes_of_a_large_video_are_read(tmp_path: Path) -> None:
    made(tmp_path / "a.mp4", seconds=10)
    source = Counted(patched(tmp_path / "a.mp4", lambda data: data.extend(box(b"free", bytes(50 << 20)))))
    seen = await look(source, "a.mp4", LIMITS, SHANGHAI)
    source.close()
    assert len(seen.pictures) == 3
    assert source.asked < 1 << 20


async def test_where_and_when_metadata_say(tmp_path: Path) -> None:
    told = {"creation_time": "2026-05-01T07:15:00Z", "location": "+31.2304+121.4737/"}
    seen = await looked(made(tmp_path / "a.mov", metadata=told))
    assert (seen.found.lat, seen.found.lon) == (31.2304, 121.4737)
    assert (seen.recorded_at, seen.recorded_by) == (datetime(2026, 5, 1, 7, 15, tzinfo=UTC), "metadata")

    phone = {"com.apple.quicktime.make": "Apple", "com.apple.quicktime.model": "iPhone 14"}
    phone |= {"com.apple.quicktime.creationdate": "2026-05-01T15:15:00+0800"}
    phone |= {"com.apple.quicktime.location.ISO6709": "-33.8568+151.2153+010.5/"}
    seen = await looked(made(tmp_path / "b.mov", metadata=phone))
    assert seen.camera == "Apple iPhone 14"
    assert (seen.recorded_at, seen.recorded_by) == (datetime(2026, 5, 1, 7, 15, tzinfo=UTC), "metadata")
    assert (seen.found.lat, seen.found.lon) == (-33.8568, 151.2153)


async def test_a_name_counts_more_than_what_is_called_creation_time(tmp_path: Path) -> None:
    """Dashcams write local time there, others the end of the recording."""
    path = made(tmp_path / "2026_0501_071500_001A.MP4", metadata={"creation_time": "2026-05-01T07:18:00Z"})
    seen = await looked(path)
    assert (seen.recorded_at, seen.recorded_by) == (datetime(2026, 4, 30, 23, 15, tzinfo=UTC), "name")


async def test_a_gopro_knows_where_and_when(tmp_path: Path) -> None:
    no_fix, fix = (GPMF / "hero6.raw").read_bytes(), (GPMF / "hero11.raw").read_bytes()
    path = with_gpmf(made(tmp_path / "GX010123.MP4", metadata={"creation_time": "2016-01-01T00:00:00Z"}), no_fix, fix)
    seen = await looked(path)
    assert seen.unreadable is None
    assert len(seen.pictures) == 3
    assert (round(seen.found.lat or 0, 4), round(seen.found.lon or 0, 4)) == (42.4262, -8.65)
    # A second after the recording began; GPS9's own time.
    assert seen.recorded_by == "gps"
    assert seen.recorded_at is not None
    assert abs((seen.recorded_at - datetime(2022, 9, 20, 13, 29, 37, tzinfo=UTC)).total_seconds()) < 2
    assert seen.camera == "GoPro HERO11 Black"


def test_positions_of_real_gopros() -> None:
    told = gpmf.read((GPMF / "hero5.raw").read_bytes())
    assert told.place is not None
    assert [round(one, 4) for one in told.place] == [33.1265, -117.3274]
    assert told.at == datetime(2017, 4, 17, 17, 31, 3, tzinfo=UTC)
    without = gpmf.read((GPMF / "hero6.raw").read_bytes())
    assert (without.camera, without.place, without.at) == ("Hero6 Black", None, None)


@pytest.mark.parametrize(
    ("name", "time", "camera"),
    [
        ("2026_0501_071500_001A.MP4", "2026-05-01 07:15:00", None),
        ("20260501071500_000123F.MP4", "2026-05-01 07:15:00", None),
        ("NO20260501-071500-000123F.MP4", "2026-05-01 07:15:00", None),
        ("20260501_071500_NF.mp4", "2026-05-01 07:15:00", None),
        ("VID_20260501_071500.mp4", "2026-05-01 07:15:00", None),
        ("2026-05-01_07-15-00-front.mp4", "2026-05-01 07:15:00", None),
        ("ch01_20260501071500.mp4", "2026-05-01 07:15:00", "ch01"),
        ("gate 7_ch2_main_20260501071500_20260501072000.dav", "2026-05-01 07:15:00", "gate 7 ch2"),
        ("192.168.1.64_01_20260501071500123_TIMING.mp4", "2026-05-01 07:15:00", "192.168.1.64_01"),
        ("GX010123.MP4", None, None),
        ("20261399_999999.mp4", None, None),
        ("1234567890123456789012345678901234.mp4", None, None),
        ("ch1" * 80 + "_" * 10_000, None, None),
    ],
)
def test_what_names_tell(name: str, time: str | None, camera: str | None) -> None:
    told = told_by(name)
    assert (None if told.at is None else str(told.at), told.camera) == (time, camera)


def archive() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("video.mp4", "nothing")
    return file.getvalue()


HEAD = box(b"ftyp", b"isom", bytes(4), b"isom")
STRANGE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b"\0"),
    "a page": lambda path: path.write_bytes(b"<!doctype html><title>404</title>" * 100),
    "an archive": lambda path: path.write_bytes(archive()),
    "a play list": lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
    "a list of files": lambda path: path.write_text("ffconcat version 1.0\nfile /etc/passwd\n"),
    "zeros": lambda path: path.write_bytes(bytes(1 << 20)),
    "a head alone": lambda path: path.write_bytes(made(path).read_bytes()[:1000]),
    "half of it": lambda path: patched(made(path), lambda data: data.__delitem__(slice(len(data) // 2, None))),
    "no codec of this world": lambda path: patched(made(path), lambda data: data.replace(b"avc1", b"zzzz")),
    "enormous pictures": lambda path: enormous_pictures(path.with_suffix(".mov")).rename(path),
    "samples without end": many_samples,
    "boxes in boxes": lambda path: path.write_bytes(nested(50_000)),
    "boxes without end": lambda path: path.write_bytes(HEAD + box(b"moov", box(b"trak") * 500_000)),
    "a box of nothing": lambda path: path.write_bytes(HEAD + bytes(8) + b"moov" * 1000),
}


@pytest.mark.parametrize("what", STRANGE)
async def test_a_file_that_is_no_video_has_no_pictures_and_no_more_happens(what: str, tmp_path: Path) -> None:
    STRANGE[what](tmp_path / "a.mp4")
    limits = Limits(seconds=8, memory_bytes=128 << 20, asked_bytes=32 << 20, told_bytes=1 << 20)
    seen = await looked(tmp_path / "a.mp4", limits=limits)
    assert seen.pictures == []


async def test_what_is_known_of_a_codec_of_another_world(tmp_path: Path) -> None:
    seen = await looked(patched(made(tmp_path / "a.mp4"), lambda data: data.replace(b"avc1", b"zzzz")))
    assert (seen.unreadable, seen.found.video_codec, seen.found.duration) == (None, None, 5.0)


@pytest.mark.parametrize("spoil", range(6))
async def test_spoilt_videos_end_in_their_time(spoil: int, tmp_path: Path) -> None:
    """Each some hundred bytes are others; what can be seen is."""

    def change(data: bytearray) -> None:
        for at in range(spoil * 37, len(data), 331):
            data[at] ^= 1 << (at % 8)

    seen = await looked(patched(made(tmp_path / "a.mp4"), change))
    assert len(seen.pictures) <= 3


def says(*said: Message, then: Exception | None = None) -> Callable[..., AsyncGenerator[Message, None]]:
    async def run(*_: object, **__: object) -> AsyncGenerator[Message, None]:
        for one in said:
            await asyncio.sleep(0)
            yield one
        if then is not None:
            raise then

    return run


async def test_what_a_child_says_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", seconds=1)
    jpeg = b"\xff\xd8\xff\xe0...\xff\xd9"
    for wrong in (b"[" * 60_000, b"NaN", b'{"duration": NaN}', b"[]", b"\xff"):
        monkeypatch.setattr(sandbox, "run", says((Kind.NOTE, wrong), (Kind.DATA, jpeg)))
        seen = await looked(path)
        assert (seen.pictures, seen.unreadable) == ([], "its child speaks nonsense")
    for picture in (b"<script>", jpeg + b"\0" * (1 << 16), jpeg[:-1]):
        monkeypatch.setattr(sandbox, "run", says((Kind.DATA, picture)))
        assert (await looked(path)).pictures == []
    monkeypatch.setattr(sandbox, "run", says(*[(Kind.DATA, jpeg)] * 50))
    assert len((await looked(path)).pictures) == looking.PICTURES
    note = b"""{"width": 1920, "height": -1, "video_codec": "<b>", "camera": "a\\u001b[2Jb",
        "gps_at": "1970-01-01T00:00Z", "lat": 3, "lon": 1000}"""
    monkeypatch.setattr(sandbox, "run", says((Kind.NOTE, note), then=UnreadableVideo("it broke down")))
    seen = await looked(path)
    assert seen.found == Found(width=1920, camera="a\N{REPLACEMENT CHARACTER}[2Jb")
    assert seen.unreadable == "it broke down"
