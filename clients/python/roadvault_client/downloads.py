"""Downloads of links: resumed where they broke off, also by a later run, and checked at the end."""

import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from roadvault_client.core import LATER, Core
from roadvault_client.errors import ConnectionFailed, RoadVaultError, WrongBytes, refused
from roadvault_client.source import PIECE_BYTES, Progress
from roadvault_client.steps import Answer, Call, Sink, Sleep, Steps, work

if sys.platform != "win32":
    import fcntl

_SHA256 = re.compile(r'"([0-9a-f]{64})"')
_WHOLE, _PARTIAL, _NO_SUCH_BYTES = 200, 206, 416
_PLAIN = {"Accept-Encoding": "identity"}


class _Part:
    """What has come of a file: its bytes beside the target, and their hash."""

    def __init__(self, path: Path, size: int | None, progress: Progress | None) -> None:
        self.path = path
        self.total = size
        self._progress = progress
        self._file: BinaryIO | None = None
        self._kept = True
        self.hash = hashlib.sha256()
        self.size = 0

    def open(self) -> None:
        """Read what is there already; while another download of the same bytes has that in hand, begin anew."""
        self._file = self.path.open("a+b")
        if not _is_ours(self._file, self.path):
            self._file.close()
            self.path = self.path.with_name(f".{secrets.token_hex(8)}.part")
            self._file, self._kept = self.path.open("x+b"), False
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            self.hash.update(piece)
            self.size += len(piece)

    def add(self, piece: bytes) -> None:
        """Add what came."""
        self.file.write(piece)
        self.hash.update(piece)
        self.size += len(piece)
        if self._progress is not None:
            self._progress(self.size, self.total)

    def clear(self) -> None:
        """Begin anew."""
        self.file.truncate(0)
        self.hash, self.size = hashlib.sha256(), 0

    @property
    def file(self) -> BinaryIO:
        """The open file."""
        assert self._file is not None, "not opened"  # noqa: S101 - a defect
        return self._file

    def close(self) -> None:
        """Leave what came for a later run, where one finds it by its name."""
        if self._file is not None:
            self._file.close()
            if not self._kept:
                self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing."""
        self._let_go()
        self.path.unlink()

    def finish(self, target: Path) -> None:
        """Give it its name, durably."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._let_go()
        self.path.replace(target)

    def _let_go(self) -> None:
        """Close it where an open file can't be moved; elsewhere it is ours until it has gone."""
        if sys.platform == "win32":
            self.file.close()


def _is_ours(file: BinaryIO, path: Path) -> bool:
    """Take a file until it is closed; tell whether no other download has it, or has just given it its name."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # a file system without locks
        return True


def download(
    core: Core,
    url: str,
    path: str | os.PathLike[str],
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Steps[str]:
    """Download a link; return the SHA-256 of the file.

    It goes on where it broke off, even in another run: until then what came is in `.<16 hex digits>.part` beside
    `path`, which appears, durable, when it is whole and checked, and replaces what was there.

    Raises:
        WrongBytes: They are not those that the server names, or not `sha256`.
    """
    target = Path(path)
    head = yield from core.send(Call("HEAD", url, _PLAIN))
    etag, length = head.headers.get("ETag", ""), head.headers.get("Content-Length")
    named = _SHA256.fullmatch(etag)
    wanted = {one for one in (sha256, named and named[1]) if one}
    if len(wanted) > 1:
        raise WrongBytes(f"the link has a file with the SHA-256 {etag}, not {sha256}")
    mark = hashlib.sha256((etag or url).encode()).hexdigest()[:16]
    part = _Part(target.with_name(f".{mark}.part"), None if length is None else int(length), progress)
    with ExitStack() as stack:
        stack.callback(part.close)
        yield from work(part.open)
        yield from _fetch(core, url, etag, part)
        if (wanted and part.hash.hexdigest() not in wanted) or part.size != (part.total or part.size):
            yield from work(part.remove)
            raise WrongBytes(f"what came, {part.size} bytes with the SHA-256 {part.hash.hexdigest()}, is not the file")
        yield from work(lambda: part.finish(target))
    return part.hash.hexdigest()


def _fetch(core: Core, url: str, etag: str, part: _Part) -> Steps[None]:
    """Get what is missing, as long as something comes."""
    failures, furthest = 0, part.size
    while True:
        error: RoadVaultError
        try:
            answer: Answer = yield Call("GET", url, _conditions(etag, part), into=_into(part))
        except ConnectionFailed as failed:
            error = failed
        else:
            if answer.status in {_WHOLE, _PARTIAL} or (answer.status == _NO_SUCH_BYTES and part.size):
                return
            error = refused(answer.status, answer.headers, answer.content)
            if answer.status not in LATER:
                raise error
        if part.size > furthest:
            furthest, failures = part.size, 0
        failures += 1
        if failures >= core.retries.attempts:
            raise error
        yield Sleep(core.retries.pause(failures, error))


def _conditions(etag: str, part: _Part) -> dict[str, str]:
    if not part.size:
        return _PLAIN
    return {**_PLAIN, "Range": f"bytes={part.size}-", **({"If-Range": etag} if etag else {})}


def _into(part: _Part) -> Callable[[Answer], Sink]:
    def begin(answer: Answer) -> Sink:
        if answer.status == _WHOLE:
            part.clear()  # it is another one by now, or nothing was there
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            raise WrongBytes(f"asked for what is behind {part.size} bytes, other bytes came")
        return part.add

    return begin
