"""Cutting clips out of videos of all kinds: what ffprobe says of them, and how little is read."""

import io
import os
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clip_videos import RATE, copied, frames, make, probed, repeated

from roadvault_video.clip import Clip, Wanted, cut
from roadvault_video.packets import NoClip

BLOCK = 1 << 20
_PIECES = "frag_keyframe+empty_moov+default_base_moof"
KINDS: dict[str, tuple[str, ...]] = {
    "mp4, index behind": (".mp4",),
    "mp4, index in front": (".mp4", "-movflags", "faststart"),
    "mp4 in fragments": (".mp4", "-movflags", _PIECES),
    "mp4 in fragments, with places": (".mp4", "-movflags", _PIECES + "+global_sidx"),
    "mov": (".mov",),
    "mpeg-ts": (".ts",),
    "mkv": (".mkv",),
    "mkv without cues": (".mkv", "-live", "1"),
}
LARGEST = 1 << 30


class Counted(io.FileIO):
    """A file that counts what is read of it, also in the blocks in which it would come from the network."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count, self.blocks = 0, set[int]()

    def read(self, size: int | None = -1, /) -> bytes:
        at, data = self.tell(), super().read(size) or b""
        self.count += len(data)
        if data:
            self.blocks |= set(range(at // BLOCK, (at + len(data) - 1) // BLOCK + 1))
        return data


def clipped(source: Path, wanted: Wanted, largest: int = LARGEST) -> tuple[Path, Clip]:
    """Cut a clip out of a file."""
    target = source.with_name("clip.mp4")
    with source.open("rb", buffering=0) as video, target.open("wb") as out:
        return target, cut(video, wanted, out, largest)


def span(begin: float, end: float) -> Wanted:
    return Wanted(Fraction(str(begin)), Fraction(str(end)))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory, made = tmp_path_factory.mktemp("videos"), {}
    for codec in ("libx264", "libx265"):
        made[codec] = directory / f"{codec}.mp4"
        make(made[codec], codec, rotation=90)
    return made


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_clip_is_what_was_asked_for(kind: str, codec: str, videos: dict[str, Path], tmp_path: Path) -> None:
    ending, *options = KINDS[kind]
    source = tmp_path / f"a{ending}"
    copied(videos[codec], source, *options)
    for begin, end, first in ((3.25, 4.5, 2), (0, 0.5, 0), (7.3, 20, 6)):
        path, clip = clipped(source, span(begin, end))
        told = probed(path)
        assert clip.begin == pytest.approx(first, abs=0.001)  # Matroska rounds to milliseconds
        assert told["start"] == 0
        assert min(end, 8) <= clip.end <= min(end + 0.5, 8.001)
        assert told["seconds"] == pytest.approx(float(clip.end - clip.begin), abs=0.21)  # two pictures: their order
        assert (told["codec"], told["tag"]) == {"libx264": ("h264", "avc1"), "libx265": ("hevc", "hvc1")}[codec]
        assert abs(told["rotation"]) == (90 if ending in {".mp4", ".mov"} else 0)
        assert "aac" in told["streams"]
        assert frames(path) == round((clip.end - clip.begin) * RATE)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "a.mp4"
    repeated(path, 100)
    assert path.stat().st_size > 300_000_000
    return path


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_piece_of_a_large_file_moves_a_few_bytes_more_than_it_has(kind: str, large: Path, tmp_path: Path) -> None:
    ending, *options = KINDS[kind]
    source, out = tmp_path / f"a{ending}", tmp_path / "clip.mp4"
    copied(large, source, *options)
    for begin, seconds in ((60.5, 11), (0, 0.5), (1, 0.5), (13.3, 0.5), (37.95, 2), (61, 1), (88.05, 0.3), (98.7, 9)):
        with Counted(source) as video, out.open("wb") as written:
            clip = cut(video, span(begin, begin + seconds), written, LARGEST)
        assert round(clip.begin, 1) == int(begin)
        assert min(begin + seconds, 100) <= round(clip.end, 1) <= begin + seconds + 0.5
        (sound,) = probed(out)["sound"]
        assert sound == pytest.approx(float(clip.end - clip.begin), abs=0.5)  # pictures: their order
        assert video.count <= out.stat().st_size + (6 << 20)
        assert len(video.blocks - {0}) * BLOCK <= out.stat().st_size + (8 << 20)  # in the first one is the index
    source.unlink()


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_an_mpeg_ts_as_cameras_write_it(codec: str, videos: dict[str, Path], tmp_path: Path) -> None:
    copied(videos[codec], tmp_path / "a.ts")
    data = (tmp_path / "a.ts").read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    timed = b"".join(number.to_bytes(4) + packet for number, packet in enumerate(packets))
    cut_off = b"".join(packets[40:])  # recorders begin a file where they are
    gap = b"".join([*packets[:60], packets[60][:90], *packets[61:]])
    for content, first in ((timed, 2), (cut_off, 1.7), (gap, 2)):
        (tmp_path / "b.ts").write_bytes(content)
        path, clip = clipped(tmp_path / "b.ts", span(3.25, 4.5))
        assert "aac" in probed(path)["streams"]
        assert clip.begin == pytest.approx(first, abs=0.11)


def test_a_time_that_only_the_clock_has(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", recorded="2026-11-28T08:30:00Z")
    at = Fraction(1795854600)  # 2026-11-28T08:30:00Z
    path, clip = clipped(tmp_path / "a.mp4", Wanted(at + 3, at + 4, on_clock=True))
    assert clip.begin == 2
    assert clip.recorded == at + 2
    assert probed(path)["created"] == "2026-11-28T08:30:02.000000Z"
    later = Wanted(at + 103, at + 104, on_clock=True, recorded=at + 99)  # its client knows better
    assert clipped(tmp_path / "a.mp4", later)[1].begin == 4
    assert clipped(tmp_path / "a.mp4", Wanted(at - 60, at + 1, on_clock=True))[1].begin == 0
    for begin, end, why in ((-9, -5, "it begins 5.000 s after that"), (70, 80, "it ends after 8.000 s")):
        with pytest.raises(NoClip, match=why):
            clipped(tmp_path / "a.mp4", Wanted(at + begin, at + end, on_clock=True))
    make(tmp_path / "b.mp4", seconds=1)
    with pytest.raises(NoClip, match="nor its client says when it was recorded"):
        clipped(tmp_path / "b.mp4", Wanted(at, at + 1, on_clock=True))


@pytest.mark.parametrize("kind", list(KINDS))
def test_behind_the_end_there_is_nothing(kind: str, videos: dict[str, Path], tmp_path: Path) -> None:
    ending, *options = KINDS[kind]
    copied(videos["libx264"], tmp_path / f"a{ending}", *options)
    with pytest.raises(NoClip, match=r"it ends after 8\.00"):
        clipped(tmp_path / f"a{ending}", span(8.1, 9))


def test_what_an_mp4_can_not_hold_is_left_out_and_told(tmp_path: Path) -> None:
    make(tmp_path / "a.mov", sound="pcm_mulaw")
    path, clip = clipped(tmp_path / "a.mov", span(1, 2))
    assert (clip.dropped, probed(path)["streams"]) == (["audio pcm_mulaw"], ["h264"])


def test_a_clip_that_is_too_large_is_refused(videos: dict[str, Path]) -> None:
    with pytest.raises(NoClip, match="it has more than 20000 bytes"):
        clipped(videos["libx264"], span(0, 8), 20_000)


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_other_codecs_are_refused(codec: str, tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", codec, seconds=1, sound=None)
    with pytest.raises(NoClip, match=f"its pictures are {codec}"):
        clipped(tmp_path / "a.mkv", span(0, 1))


def test_what_is_no_video_is_refused_and_little_of_it_read(tmp_path: Path) -> None:
    contents = {
        "nothing": b"",
        "noise": os.urandom(30 << 20),
        "text": b"#EXTM3U\n#EXT-X-STREAM-INF:\nfile:///etc/passwd\n" * 9,
        "list": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "boxes": (b"\0\0\0\x08moof" * 1000) + (b"\0\0\0\x08moov" * 1000),
        "clusters": bytes.fromhex("1a45dfa380 18538067ff") + bytes.fromhex("1f43b675ff") * 5000,
        "endless": b"\0\0\0\x01ftyp" + b"\xff" * 60,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with Counted(tmp_path / name) as video, pytest.raises(NoClip):
            cut(video, span(0, 1), io.BytesIO(), LARGEST)
        assert video.count <= 4 << 20, name


def test_of_a_video_with_few_key_frames_no_more_is_held_than_fits(tmp_path: Path) -> None:
    class Bounded(io.BytesIO):
        most = 0

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            self.most = max(self.most, video.count - len(self.getvalue()))
            return super().write(data)

    repeated(tmp_path / "a.mp4", 40, only_key=True)
    out = Bounded()
    with Counted(tmp_path / "a.mp4") as video:
        clip = cut(video, span(0, 39), out, LARGEST)
    assert clip.begin == 0
    assert len(out.getvalue()) > 130_000_000
    assert out.most <= 40 << 20


def test_where_no_key_frame_is_little_is_read(large: Path, tmp_path: Path) -> None:
    copied(large, tmp_path / "a.ts", "-bsf:v", "filter_units=remove_types=5-8", "-an")
    for begin in (1, 50):
        with Counted(tmp_path / "a.ts") as video, pytest.raises(NoClip):
            cut(video, span(begin, begin + 1), io.BytesIO(), LARGEST)
        assert video.count <= 200 << 20


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"mp4, index behind", "mov"}])
def test_a_file_that_breaks_off_gives_what_it_has(kind: str, videos: dict[str, Path], tmp_path: Path) -> None:
    ending, *options = KINDS[kind]
    whole, part = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    copied(videos["libx264"], whole, *options)
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    path, clip = clipped(part, span(3, 7))
    assert clip.begin == pytest.approx(2, abs=0.001)
    assert 4 < clip.end < 6
    assert probed(path)["start"] == 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_spoilt_bytes_end_in_a_clip_or_a_reason(kind: str, videos: dict[str, Path], tmp_path: Path) -> None:
    ending, *options = KINDS[kind]
    whole, spoilt = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    copied(videos["libx264"], whole, *options)
    content, clips, reasons = whole.read_bytes(), 0, list[str]()
    for number in range(30):
        data = bytearray(content)
        for place in range(number * 37 % 61, len(data), 997 if number % 2 else 31 + number * 101):
            data[place] = number * 41 % 256
        spoilt.write_bytes(data)
        try:
            path, clip = clipped(spoilt, span(1 + number / 6, 6))
        except NoClip as why:
            reasons.append(str(why))
            continue
        clips += 1
        assert 0 <= clip.begin < clip.end
        with av.open(str(path)) as made:
            assert any(packet.size for packet in made.demux(made.streams.video[0]))
    assert all(reason.startswith(("it ", "its ")) for reason in reasons)
    assert clips >= 10  # few bytes spoilt are no reason to give nothing
