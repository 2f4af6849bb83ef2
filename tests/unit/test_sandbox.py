"""What a video's parser can't do, whatever it is made to do: its child is confined, and nothing it says is believed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from roadvault_common.errors import SettingsError, TransientError
from roadvault_video import sandbox, seccomp
from roadvault_video.sandbox import Kind, Limits, Message, NoMemory, UnreadableVideo
from roadvault_video.source import LocalFile, Source

TESTS = Path(__file__).parents[1]
LIMITS = Limits(seconds=5, memory_bytes=64 << 20, asked_bytes=8 << 20, told_bytes=8 << 20)
QUICK = Limits(seconds=1, memory_bytes=64 << 20, asked_bytes=1 << 20, told_bytes=1 << 20, frames=5000)


class Given:
    """Bytes at hand; `pause` before each answer."""

    def __init__(self, data: bytes, pause: float = 0) -> None:
        self.data, self.pause, self.size = data, pause, len(data)

    async def read(self, offset: int, size: int) -> bytes:
        await asyncio.sleep(self.pause)
        return self.data[offset : offset + size]


@pytest.fixture(autouse=True)
def _jobs_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PATIENCE", 600)  # whatever else runs on the machine: it comes last
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from roadvault_video.child import main; main()"
    monkeypatch.setattr(sandbox, "_COMMAND", (sys.executable, "-I", "-c", code))


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """The children that were started."""
    started = []
    start = asyncio.create_subprocess_exec

    async def noted(*args: object, **kwargs: object) -> asyncio.subprocess.Process:
        started.append(await start(*args, **kwargs))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return started


def hostile(
    do: str, source: Source | None = None, limits: Limits = QUICK, **args: object
) -> AsyncGenerator[Message, None]:
    return sandbox.run("hostile_job", source or Given(bytes(1 << 20)), limits, {"do": do, **args}, idle=True)


async def all_of(messages: AsyncGenerator[Message, None]) -> list[Message]:
    async with aclosing(messages):
        return [message async for message in messages]


async def test_a_child_can_do_nothing_but_compute_read_and_write() -> None:
    await sandbox.check()


async def test_it_reads_the_video_through_its_parent_and_says_what_it_found(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "video").write_bytes(data)
    source = LocalFile(tmp_path / "video")
    said = await all_of(hostile("echo", source, LIMITS))
    source.close()
    assert {kind for kind, _ in said} == {Kind.DATA}
    assert b"".join(piece for _, piece in said) == data


async def test_an_idle_one_gives_way_from_its_beginning(children: list[asyncio.subprocess.Process]) -> None:
    async with aclosing(hostile("echo")) as messages:
        await anext(messages)
        pid = children[0].pid
        assert (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)) == (19, os.SCHED_IDLE)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("spin", "more time"),
        ("eat", "MemoryError"),
        ("crash", "broke down"),
        ("nonsense", "nonsense"),
        ("huge", "nonsense"),
        ("chatter", "says too much"),
        ("flood", "says too much"),
        ("ask for ever", "asks for too much"),
        ("ask beyond", "not there"),
    ],
)
async def test_whatever_it_does_its_video_is_unreadable_and_it_is_gone(
    do: str, words: str, children: list[asyncio.subprocess.Process]
) -> None:
    with pytest.raises(UnreadableVideo, match=words):
        await all_of(hostile(do))
    assert children[0].returncode is not None


async def test_what_it_says_it_may_have_asked_for() -> None:
    limits = Limits(seconds=5, memory_bytes=64 << 20, asked_bytes=1 << 20, told_bytes=8 << 20)
    said = await all_of(hostile("copy", Given(bytes(4 << 20)), limits))
    assert sum(len(data) for _, data in said) == 4 << 20
    with pytest.raises(UnreadableVideo, match="asks for too much"):
        await all_of(hostile("echo", Given(bytes(4 << 20)), limits))  # which reads all of it first


async def test_one_that_gets_no_processor_time_is_no_videos_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PATIENCE", 0.5)
    with pytest.raises(TransientError, match="no processor time"):
        await all_of(hostile("hang"))


async def test_one_that_is_killed_where_memory_is_short_is_tried_again(
    children: list[asyncio.subprocess.Process],
) -> None:
    class Last(Given):
        async def read(self, offset: int, size: int) -> bytes:
            children[0].kill()
            return await super().read(offset, size)

    with pytest.raises(NoMemory, match="memory is short"):
        await all_of(hostile("wait", Last(b"x"), seconds=600))


async def test_a_child_that_spins_is_ended_by_the_kernel_should_its_parent_hang() -> None:
    told = {
        "job": "hostile_job",
        "size": 0,
        "seconds": 1,
        "memory_bytes": 1 << 26,
        "args": {"do": "spin"},
    }
    process = await asyncio.create_subprocess_exec(*sandbox._COMMAND, json.dumps(told), stdout=subprocess.DEVNULL)
    async with asyncio.timeout(30):
        assert await process.wait() == -signal.SIGXCPU


async def test_its_time_passes_only_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A video that comes slowly from the network is not the child's fault."""
    monkeypatch.setattr(sandbox, "_PATIENCE", 2.5)
    said = await all_of(hostile("wait", Given(b"x", pause=3)))
    assert said == [(Kind.DATA, b"waited")]


async def test_it_ends_with_whoever_listens(children: list[asyncio.subprocess.Process]) -> None:
    async with aclosing(hostile("flood", limits=LIMITS)) as messages:
        async for _ in messages:
            break
    assert children[0].returncode == -9

    reading = asyncio.create_task(all_of(hostile("hang", limits=LIMITS)))
    while len(children) < 2 or state(children[1].pid) != "S":  # it hangs, or is just about to
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert children[1].returncode == -9


async def test_no_more_is_read_than_was_taken(children: list[asyncio.subprocess.Process]) -> None:
    """What is not listened to fills pipes, not the parent's memory."""
    limits = Limits(seconds=5, memory_bytes=64 << 20, asked_bytes=0, told_bytes=1 << 40)
    async with aclosing(hostile("flood", limits=limits)) as messages:
        await anext(messages)
        before = rss()
        while state(children[0].pid) != "S":  # its pipe is full
            await asyncio.sleep(0.01)
        assert rss() - before < 8 << 20


def state(pid: int) -> str:
    """Return what a process does: R it runs, S it waits."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def rss() -> int:
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * 4096


async def test_an_error_of_the_source_is_its_own() -> None:
    class Broken(Given):
        async def read(self, offset: int, size: int) -> bytes:
            raise ConnectionResetError(f"{size} bytes at {offset} did not come")

    with pytest.raises(ConnectionResetError):
        await all_of(hostile("echo", Broken(b"xxxx")))


@pytest.mark.parametrize(
    "kernel",
    ["def install(): raise seccomp.Unfiltered('not here')", "def install(): pass"],
    ids=["refuses the filter", "takes it and does nothing"],
)
async def test_where_a_child_can_not_be_confined_nothing_is_parsed(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
from roadvault_video import seccomp
{kernel}
seccomp.install = install
from roadvault_video.child import main
main()"""
    monkeypatch.setattr(sandbox, "_COMMAND", (sys.executable, "-I", "-c", code))
    with pytest.raises(SettingsError, match=r"seccomp|a child can"):
        await sandbox.check()


def test_a_machine_without_a_list_of_calls_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(seccomp.Unfiltered, match="riscv64"):
        seccomp.install()


def test_who_has_videos_parsed_loads_no_parser() -> None:
    code = "import sys, roadvault_video.sandbox; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
