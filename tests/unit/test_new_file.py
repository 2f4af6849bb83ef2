"""How a file is written past the page cache, also where that can't be."""

import errno
import hashlib
import os
from mmap import mmap
from pathlib import Path

import pytest

from roadvault_common.errors import DiskFull
from roadvault_common.files.new_file import BLOCK_BYTES, NewFile
from roadvault_common.files.vault import Vault


def aligned(content: bytes) -> memoryview:
    """Return the bytes in memory that begins at a block, as writes past the page cache need it."""
    memory = mmap(-1, len(content))
    memory[:] = content
    return memoryview(memory)


def test_what_goes_past_the_page_cache_and_what_comes_after_it_arrives(tmp_path: Path) -> None:
    content, file = os.urandom(5 * BLOCK_BYTES), NewFile(tmp_path / "file")
    file.bypass_cache(on=True)
    assert file.bypasses
    file.write(aligned(content))
    file.bypass_cache(on=False)
    file.write(b"more")
    file.finish()
    content += b"more"
    assert file.path.read_bytes() == content
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("length", [1, BLOCK_BYTES + 1, 23_456])
def test_writes_that_the_file_system_refuses_go_through_the_page_cache(tmp_path: Path, length: int) -> None:
    content, file = os.urandom(length), NewFile(tmp_path / "file")  # no whole number of blocks: EINVAL
    file.bypass_cache(on=True)
    file.write(aligned(content))
    assert not file.bypasses
    file.finish()
    assert file.path.read_bytes() == content


def test_a_file_system_that_knows_no_such_writes_takes_the_usual_ones() -> None:
    name = Path("/proc/self/task", str(os.getpid()), "comm")
    before = name.read_bytes()
    try:
        with name.open("wb", buffering=0) as opened:
            file = NewFile(name)
            file._file = opened
            file.bypass_cache(on=True)
            assert not file.bypasses
            file.write(b"direct")
        assert name.read_bytes() == b"direct\n"
    finally:
        name.write_bytes(before)


def test_a_directory_for_which_there_is_no_room_is_told_as_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(DiskFull):
        Vault(tmp_path).make_directory("1")
