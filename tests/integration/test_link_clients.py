"""The programs that people follow links with: resuming, in several ranges at once, playing."""

import asyncio
import io
import json
import os
import subprocess
from fractions import Fraction
from pathlib import Path

import av
from clients_run import answer
from servers_door import LinkDoor

CONTENT = os.urandom(9_000_001)
BYTES = bytes(range(256)) * 40
CJK = "2025年1月 路口.mp4"


async def test_downloads_go_on_where_they_broke_off(link_door: LinkDoor, tmp_path: Path) -> None:
    link = await link_door.link(CONTENT, "gate-7.mp4")
    for command in (["curl", "-sS", "-C", "-", "-o", "a"], ["wget", "-q", "-c", "-O", "a"]):
        (tmp_path / "a").write_bytes(CONTENT[:3_000_000])
        await answer(command, link, cwd=tmp_path)
        assert (tmp_path / "a").read_bytes() == CONTENT, command


async def test_programs_call_the_file_by_its_name(link_door: LinkDoor, tmp_path: Path) -> None:
    link = await link_door.link(CONTENT, "gate-7.mp4")
    for number, command in enumerate((["curl", "-sSOJ"], ["wget", "-q", "--content-disposition"], ["aria2c", "-q"])):
        place = tmp_path / str(number)
        place.mkdir()
        await answer(command, link, cwd=place)
        assert [path.name for path in place.iterdir()] == ["gate-7.mp4"], command
        assert (place / "gate-7.mp4").read_bytes() == CONTENT, command


async def test_aria2_takes_several_ranges_at_once(link_door: LinkDoor, tmp_path: Path) -> None:
    link = await link_door.link(CONTENT, "京A12345_前方.mp4")
    out = await answer(["aria2c", "-x8", "-s8", "-k1M", "--console-log-level=info", "-o", "a"], link, cwd=tmp_path)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert out.count("Range: bytes=") > 1


async def test_ffmpeg_plays_and_jumps(link_door: LinkDoor, tmp_path: Path) -> None:
    made = tmp_path / "made.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=duration=20:size=640x360:rate=25", "-c:v", "mpeg4", "-q:v", "3"]
    await answer(["ffmpeg", "-v", "error", *source, str(made)])  # its index is at the end
    video = await asyncio.to_thread(made.read_bytes)
    assert video.index(b"moov") > video.index(b"mdat")
    link = await link_door.link(video, "drive.mp4")
    told = json.loads(await answer(["ffprobe", "-v", "error", "-show_format", "-of", "json"], link))
    assert float(told["format"]["duration"]) == 20.0
    await answer(["ffmpeg", "-v", "error", "-ss", "17", "-i"], link, "-frames:v", "1", str(tmp_path / "frame.png"))
    assert (tmp_path / "frame.png").stat().st_size > 0


async def test_a_link_takes_nothing(link_door: LinkDoor, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    command = ["curl", "-sS", "-o", os.devnull, "-w", "%{http_code}", "-T", str(tmp_path / "x")]
    assert await answer(command, await link_door.link(CONTENT)) == "405"


async def test_players_jump_to_the_end_of_what_is_as_long_as_fat32_takes_and_longer(link_door: LinkDoor) -> None:
    end = CONTENT[:20]
    url = await link_door.link(b"begin")
    (path,) = (path for path in (link_door.vault.root / "downloads").rglob("*") if path.is_file())
    for size in ((1 << 32) - 1, (1 << 32) + 10):
        with path.open("r+b") as file:  # sparse
            file.seek(size - 20)
            file.write(end)
        head = await link_door.ask(url, "HEAD")
        assert head.headers["Content-Length"] == str(size)
        for asked in ("bytes=-20", f"bytes={size - 20}-", f"bytes={size - 20}-{1 << 33}"):
            answer = await link_door.ask(url, Range=asked)
            assert (answer.status, answer.body) == (206, end)
            assert answer.headers["Content-Range"] == f"bytes {size - 20}-{size - 1}/{size}"
        assert (await link_door.ask(url, Range=f"bytes={size}-")).status == 416


async def run(directory: Path, *command: str) -> dict[str, bytes]:
    """Run a client there; return the files that it leaves."""
    return await asyncio.to_thread(_run, directory, command)


def _run(directory: Path, command: tuple[str, ...]) -> dict[str, bytes]:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def test_curl_saves_a_link_under_a_name(link_door: LinkDoor, tmp_path: Path) -> None:
    names = {
        "gate 7.mp4": "gate 7.mp4",
        CJK: "2025_1_ __.mp4",
        '../../a"b.mp4': "_._.._a_b.mp4",
        "-o x.mp4": "_o x.mp4",
    }
    for number, (name, saved) in enumerate(names.items()):
        directory = tmp_path / str(number)
        directory.mkdir()
        url = await link_door.link(BYTES, name)
        assert await run(directory, "curl", "-sS", "--fail", "-OJ", url) == {saved: BYTES}


async def test_wget_saves_a_link_under_its_name(link_door: LinkDoor, tmp_path: Path) -> None:
    url = await link_door.link(BYTES, "gate 7.mp4")
    assert await run(tmp_path, "wget", "-q", "--content-disposition", url) == {"gate 7.mp4": BYTES}


async def test_a_download_that_broke_off_goes_on(link_door: LinkDoor, tmp_path: Path) -> None:
    url = await link_door.link(BYTES)
    wget = ("wget", "-q", "-c", "-O", "part")
    for command in (("curl", "-sS", "--fail", "-C", "-", "-o", "part"), wget):
        (tmp_path / "part").write_bytes(BYTES[:4000])
        assert await run(tmp_path, *command, url) == {"part": BYTES}
    assert await run(tmp_path, *wget, url) == {"part": BYTES}  # now it is whole, and wget is told so by 416


async def test_ffmpeg_seeks_in_a_video_whose_index_is_at_its_end(link_door: LinkDoor) -> None:
    url = await link_door.link(_video(), CJK)

    def far() -> float:
        with av.open(url) as container:
            container.seek(4_000_000)
            frame = next(container.decode(video=0))
            assert frame.time is not None
            return frame.time

    assert await asyncio.to_thread(far) > 3


def _video(seconds: int = 6, rate: int = 10) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.time_base = 320, 240, Fraction(1, rate)
        for number in range(seconds * rate):
            frame = av.VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(os.urandom(plane.buffer_size))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = file.getvalue()
    assert content.index(b"moov") > len(content) // 2
    return content
