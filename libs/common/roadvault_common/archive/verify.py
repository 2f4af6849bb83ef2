"""Reads an archive once: what is sent to IPFS is decrypted and checked member by member on the way."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roadvault_common.archive.crypto import ArchiveKey
from roadvault_common.errors import IntegrityError, RoadVaultError

READ_BYTES = 4 << 20
"""Read at a time: large enough that the change of thread costs nothing beside hashing."""


@dataclass(frozen=True)
class Member:
    """A file in the archive: where it begins and how long it is (bytes), and what it must be."""

    file_id: int
    offset: int
    size: int
    sha256: str


def refuse(member: Member) -> None:
    """Raise IntegrityError: the member is not what its row says."""
    raise IntegrityError(f"file {member.file_id} in the archive does not have the SHA-256 of its row")


class MemberCheck:
    """Takes an archive's plaintext piece by piece and checks each member as it passes.

    `damaged` is told of each that is not what its row says; by default the first one raises IntegrityError.
    """

    def __init__(self, members: Sequence[Member], damaged: Callable[[Member], None] = refuse) -> None:
        self._damaged = damaged
        self._waiting = sorted(members, key=lambda member: member.offset, reverse=True)
        self._position = 0
        self._hash = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        """Take the next piece, and check the members that end in it."""
        view, start = memoryview(data), self._position
        self._position += len(data)
        while self._waiting:
            member = self._waiting[-1]
            begin, end = max(member.offset - start, 0), member.offset + member.size - start
            if begin >= len(view):
                break
            self._hash.update(view[begin : min(end, len(view))])
            if end > len(view):
                break
            self._end_of(member)

    def finish(self) -> None:
        """Raise IntegrityError if the archive ended before its last member did."""
        if self._waiting:
            member = self._waiting[-1]
            raise IntegrityError(f"the archive ends at byte {self._position}, before the end of file {member.file_id}")

    def _end_of(self, member: Member) -> None:
        if self._hash.hexdigest() != member.sha256:
            self._damaged(member)
        self._waiting.pop()
        self._hash = hashlib.sha256()


class VerifiedStream:
    """The ciphertext of an archive, as an async iterable; ends early, with `failure` set, when a check fails."""

    def __init__(
        self, path: Path, size: int, key: ArchiveKey, members: Sequence[Member], progress: Callable[[int], None]
    ) -> None:
        self._path = path
        self._size = size
        self._cipher = key.stream()
        self._check = MemberCheck(members)
        self._progress = progress
        self.failure: RoadVaultError | None = None
        """Why the stream broke off; whoever reads it over HTTP sees only a broken connection."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the archive as it stands on the disk."""
        try:
            with await asyncio.to_thread(self._path.open, "rb", buffering=0) as file:
                sent = 0
                while data := await asyncio.to_thread(self._read, file.read):
                    sent += len(data)
                    yield data
            if sent != self._size:
                raise IntegrityError(f"{self._path.name} has {sent} bytes, its row says {self._size}")
            self._check.finish()
        except FileNotFoundError:
            self.failure = IntegrityError(f"the archive {self._path.name} is missing from the disk")
            raise self.failure from None
        except RoadVaultError as error:
            self.failure = error
            raise

    def _read(self, read: Callable[[int], bytes | None]) -> bytes:
        data = read(READ_BYTES) or b""
        self._check.feed(self._cipher.update(data))
        self._progress(len(data))
        return data
