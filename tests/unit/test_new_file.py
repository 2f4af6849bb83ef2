"""How a file is written past the page cache, also where that can't be."""

import hashlib
import os
from mmap import mmap
from pathlib import Path

import pytest

from roadvault_common.files.new_file import BUFFER_BYTES, DirectFile, NewFile


@pytest.mark.parametrize("length", [1, 4096, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES + 4097])
def test_every_byte_arrives_whatever_the_length(tmp_path: Path, length: int) -> None:
    content, file = os.urandom(length), NewFile(tmp_path / "file")
    file.bypass_cache(mmap(-1, BUFFER_BYTES))
    for start in range(0, length, 300_007):
        file.write(content[start : start + 300_007])
    file.settle()
    file.write(b"more")
    file.finish()
    content += b"more"
    assert file.path.read_bytes() == content
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_file_that_ends_unsettled_is_whole(tmp_path: Path) -> None:
    file = NewFile(tmp_path / "file")
    file.bypass_cache(mmap(-1, BUFFER_BYTES))
    file.write(b"content")
    file.finish()
    assert file.path.read_bytes() == b"content"


def test_a_buffer_that_is_free_again_is_not_written_for_the_file_before(tmp_path: Path) -> None:
    buffer, file = mmap(-1, BUFFER_BYTES), NewFile(tmp_path / "file")
    file.bypass_cache(buffer)
    file.write(b"content")
    file.settle()
    buffer[:5] = b"other"
    file.finish()
    assert file.path.read_bytes() == b"content"


def test_writes_that_the_file_system_refuses_go_through_the_page_cache(tmp_path: Path) -> None:
    content = os.urandom(23_456)
    with (tmp_path / "file").open("xb", buffering=0) as file:
        direct = DirectFile(file, mmap(-1, 5000))  # no whole number of blocks: EINVAL
        direct.write(content)
        direct.finish()
    assert (tmp_path / "file").read_bytes() == content


def test_a_file_system_that_knows_no_such_writes_takes_the_usual_ones() -> None:
    name = Path("/proc/self/task", str(os.getpid()), "comm")
    before = name.read_bytes()
    try:
        with name.open("wb", buffering=0) as file:
            direct = DirectFile(file, mmap(-1, BUFFER_BYTES))
            assert not direct._bypasses()
            direct.write(b"direct")
            direct.finish()
        assert name.read_bytes() == b"direct\n"
    finally:
        name.write_bytes(before)
