"""The pinner's check of every member, whatever the pieces it comes in."""

import hashlib
import os

import pytest

from roadvault_common.archive.verify import Member, MemberCheck
from roadvault_common.errors import IntegrityError

SIZES = [10, 1, 0, 4096, 33, 7]
HEAD = 32


def _archive() -> tuple[bytes, list[Member]]:
    content, members = bytearray(os.urandom(HEAD)), []
    for number, size in enumerate(SIZES):
        data = os.urandom(size)
        members.append(Member(number, len(content), size, hashlib.sha256(data).hexdigest()))
        content += data
    return bytes(content) + os.urandom(50), members


def _feed(content: bytes, members: list[Member], piece: int) -> None:
    check = MemberCheck(members)
    for start in range(0, len(content), piece):
        check.feed(content[start : start + piece])
    check.finish()


@pytest.mark.parametrize("piece", [1, 3, 16, 41, 42, 43, 4096, 10_000])
def test_a_whole_archive_passes_in_any_pieces(piece: int) -> None:
    content, members = _archive()
    _feed(content, members[::-1], piece)


@pytest.mark.parametrize("piece", [1, 16, 10_000])
@pytest.mark.parametrize("at", [HEAD, HEAD + 9, HEAD + 10, HEAD + 11, HEAD + 4106, HEAD + 4140, HEAD + 4146])
def test_every_changed_byte_of_a_member_is_found(piece: int, at: int) -> None:
    content, members = _archive()
    damaged = bytearray(content)
    damaged[at] ^= 1
    with pytest.raises(IntegrityError, match="SHA-256"):
        _feed(bytes(damaged), members, piece)


def test_an_archive_that_ends_early_is_found() -> None:
    content, members = _archive()
    with pytest.raises(IntegrityError, match="before the end of file 5"):
        _feed(content[: HEAD + sum(SIZES) - 1], members, 16)
