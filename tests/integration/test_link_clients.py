"""The programs that people follow links with: resuming, in several ranges at once, playing."""

import asyncio
import json
import os
from pathlib import Path

from clients_run import answer
from servers_door import LinkDoor

CONTENT = os.urandom(9_000_001)


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
