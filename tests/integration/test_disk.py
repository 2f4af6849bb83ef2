"""How ingest takes uploads to disk: short ones together, long ones by several threads."""

import asyncio
import hashlib
import os
import threading
from pathlib import Path

import pytest

from roadvault_common.files.vault import Vault
from roadvault_ingest.uploads.disk import _DIRECT, _LONG_THREADS, Disk
from roadvault_ingest.uploads.receive import Incoming


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    made = Vault(tmp_path / "data")
    made.prepare()
    return made


@pytest.fixture(params=[True, False], ids=["direct", "cached"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(lambda: 1 << 20, direct=request.param)


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
    sink = disk.sink(file)
    for piece in pieces:
        await sink.add([piece[:1000], piece[1000:]])
    await sink.finish()
    await disk.finish(file, [b"the rest"])
    content = b"".join(pieces) + b"the rest"
    assert file.path.read_bytes() == content
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


async def test_long_files_at_once_share_the_threads_which_end_with_them(vault: Vault, disk: Disk) -> None:
    async def write(number: int) -> None:
        file, pieces = Incoming(vault), [os.urandom(300_000 + number) for _ in range(20)]
        sink = disk.sink(file)
        for piece in pieces:
            await sink.add([piece])
        assert 0 < len(ours()) <= _LONG_THREADS
        await sink.finish()
        await disk.finish(file, [])
        assert file.path.read_bytes() == b"".join(pieces)
        assert file.sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()

    def ours() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "uploads"]

    await asyncio.gather(*map(write, range(12)))
    for thread in ours():
        await asyncio.to_thread(thread.join, 20)
    assert ours() == []
    await write(12)


async def test_more_than_its_share_of_a_file_waits_for_the_threads(vault: Vault) -> None:
    class Slow(Incoming):
        go_on = threading.Semaphore(0)

        def append(self, data: bytes) -> None:
            assert self.go_on.acquire(timeout=20)
            super().append(data)

    file = Slow(vault)
    sink = Disk(lambda: 500_000, direct=False).sink(file)
    await sink.add([bytes(300_000)])
    adding = asyncio.create_task(sink.add([bytes(300_000)]))
    await asyncio.wait({adding}, timeout=0.1)
    assert not adding.done()
    file.go_on.release()  # 300,000 bytes are left, more than half of the share
    await asyncio.wait({adding}, timeout=0.1)
    assert not adding.done()
    file.go_on.release()
    await adding
    await sink.finish()
    await asyncio.to_thread(file.discard)


async def test_the_first_long_files_of_a_time_go_past_the_page_cache(vault: Vault) -> None:
    disk = Disk(lambda: 1 << 20, direct=True)

    async def write(number: int) -> bool:
        file, content = Incoming(vault), os.urandom(3_000_000 + number)
        sink = disk.sink(file)
        await sink.add([content])
        direct = file._direct is not None and file._direct._bypasses()
        await together.wait()
        await sink.finish()
        await disk.finish(file, [b"the rest"])
        assert file.path.read_bytes() == content + b"the rest"
        return direct

    for _ in range(2):  # the buffers come back
        together = asyncio.Barrier(_DIRECT + 4)
        assert sum(await asyncio.gather(*map(write, range(_DIRECT + 4)))) == _DIRECT


async def test_a_thread_that_fails_is_heard_and_the_others_are_waited_for(vault: Vault, disk: Disk) -> None:
    file = Incoming(vault)
    file.path.touch()
    sink = disk.sink(file)
    await sink.add([bytes(300_000)])
    with pytest.raises(FileExistsError):
        await sink.finish()
    await asyncio.to_thread(file.discard)
