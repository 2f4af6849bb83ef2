"""How ingest takes uploads to disk: short ones together, long ones each in order."""

import asyncio
import hashlib
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from roadvault_common.files.vault import Vault
from roadvault_ingest.uploads.disk import WIRES, Disk
from roadvault_ingest.uploads.receive import Incoming


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made = Vault(tmp_path / "data")
    made.prepare()
    return made


@pytest.fixture(params=[True, False], ids=["direct", "cached"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(direct=request.param)


async def test_short_files_that_end_together_are_all_whole(vault: Vault, disk: Disk) -> None:
    files = {Incoming(vault): [os.urandom(number), os.urandom(700)] for number in range(1, 101)}
    async with asyncio.TaskGroup() as group:
        for file, pieces in files.items():
            group.create_task(disk.finish(file, pieces))
    for file, pieces in files.items():
        assert file.path.read_bytes() == b"".join(pieces)
        assert file.sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()


async def test_a_file_that_fails_takes_no_other_with_it(vault: Vault, disk: Disk) -> None:
    files = [Incoming(vault) for _ in range(9)]
    files[4].path.touch()  # a name that is taken
    results = await asyncio.gather(*(disk.finish(file, [b"content"]) for file in files), return_exceptions=True)
    assert [type(result) for result in results] == [*[type(None)] * 4, FileExistsError, *[type(None)] * 4]
    assert all(file.path.read_bytes() == b"content" for file in files if file is not files[4])


async def test_a_file_that_nobody_waits_for_is_not_begun(vault: Vault, disk: Disk) -> None:
    files = [Incoming(vault) for _ in range(3)]
    tasks = [asyncio.create_task(disk.finish(file, [b"content"])) for file in files]
    await asyncio.sleep(0)  # all have asked, and no thread has begun
    tasks[1].cancel()
    await asyncio.gather(tasks[0], tasks[2])
    assert [file.path.exists() for file in files] == [True, False, True]


async def test_a_short_file_that_comes_as_the_last_thread_ends_is_not_forgotten(
    vault: Vault, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_ingest.uploads.disk._THREADS", 1)
    async with asyncio.timeout(30):
        for _ in range(20):
            await disk.finish(Incoming(vault), [b"content"])


async def test_a_long_file_is_written_and_hashed_in_order(vault: Vault, disk: Disk) -> None:
    file, pieces = Incoming(vault), [os.urandom(300_000 + number) for number in range(250)]
    for piece in pieces:
        await disk.write(file, [piece[:1000], piece[1000:]])
    await disk.finish(file, [b"the rest"])
    content = b"".join(pieces) + b"the rest"
    assert file.path.read_bytes() == content
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


async def test_buffers_are_lent_to_some_and_come_back(disk: Disk) -> None:
    for _ in range(2):
        with ExitStack() as stack:
            lent = [stack.enter_context(disk.lend()) for _ in range(WIRES + 2)]
            assert len({id(buffer) for buffer in lent if buffer is not None}) == WIRES
            assert lent[WIRES:] == [None, None]


async def test_who_is_told_to_stop_waits_for_the_thread(disk: Disk) -> None:
    begun, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert stop.wait(20)
        ended.set()

    task = asyncio.create_task(disk.run(work, stop.set))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
