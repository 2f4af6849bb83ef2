"""Takes a body that is a file's bytes and nothing else, or some of them."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from roadvault_common.files.new_file import BLOCK_BYTES, NewFile
from roadvault_ingest.problems import Problem, TooLarge
from roadvault_ingest.uploads import facts
from roadvault_ingest.uploads.checksums import Checksum
from roadvault_ingest.uploads.disk import Disk
from roadvault_ingest.uploads.receive import (
    CHUNK_BYTES,
    WIRE_BYTES,
    Body,
    Incoming,
    Received,
    check_sha256,
    expected_sha256,
)
from roadvault_ingest.uploads.wire import Buffers, Room, from_thread


@dataclass(frozen=True)
class Plain:
    """What is known of a file before its bytes come: its name, what the query says, and what it must hash to."""

    name: str
    fields: Mapping[str, str]
    checks: Sequence[Checksum]

    async def receive(self, body: Body, incoming: Incoming, disk: Disk, room: Room, most: int) -> Received:
        """Read a body that is the file.

        Raises:
            Problem: It is not what it should be. The caller discards `incoming`.
            DiskFull: There is no room for the file.
        """
        known = facts.read(self.fields)
        expected_sha256(self.fields)
        incoming.also += [check.hash for check in self.checks]
        rest: list[bytes] = []
        await take(body, incoming, disk, room, most, rest)
        if not (incoming.size or rest):
            raise Problem("the file is empty")
        await disk.finish(incoming, rest)
        for check in self.checks:
            check.verify()
        check_sha256(self.fields, incoming.sha256)
        return Received(self.name, incoming.relative, incoming.size, incoming.sha256, facts=known)


async def take(body: Body, file: NewFile, disk: Disk, room: Room, most: int, rest: list[bytes]) -> None:
    """Append a body to `file` as it comes in; `rest` has, at the end and on any error, what came and is not written.

    The file becomes `most` bytes long.

    Raises:
        TooLarge: It would become longer.
        TooSlow: The client is.
        Problem: The body can't be read.
        DiskFull: There is no room.
    """
    length = 0
    while data := await body.read():
        length += len(data)
        if file.size + length > most:
            raise TooLarge(f"the body goes on behind the {most} bytes that the file may have")
        rest.append(data)
        if length < CHUNK_BYTES:
            continue
        with disk.lend() if body.left >= WIRE_BYTES else nullcontext() as buffers:
            if buffers is not None:
                await _pour(body, file, disk, room, buffers, rest)
                return
        await room(file.size + length)
        await disk.write(file, rest)
        rest.clear()
        length = 0
    await room(file.size + length)


async def _pour(body: Body, file: NewFile, disk: Disk, room: Room, buffers: Buffers, rest: list[bytes]) -> None:
    """Have a thread write what comes from the wire, past the page cache from where a block of the file begins."""
    with body.from_the_wire() as (ahead, wire):
        first = b"".join((*rest, ahead))
        rest.clear()
        begin = -file.size % BLOCK_BYTES
        if begin:
            await disk.write(file, [first[:begin]])
        if disk.direct:
            file.bypass_cache(on=True)
        await disk.run(partial(wire.pour, first[begin:], file, buffers.pair[0], from_thread(room)), wire.stop)
