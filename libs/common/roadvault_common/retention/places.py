"""The places of the keyring: files with the same content, on disks that are not lost together."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

_MODE = 0o600
_PATIENCE_SECONDS = 10.0
"""What a place is waited for: a mount whose other end is gone answers never. Rows are locked meanwhile."""


class Places:
    """Writes the keyring wherever the operator wants it."""

    def __init__(self, paths: Sequence[Path], patience: float = _PATIENCE_SECONDS) -> None:
        self.paths = tuple(paths)
        self._patience = patience
        self._threads = ThreadPoolExecutor(max(len(paths), 1), thread_name_prefix="keyring")
        self._at_work: dict[Path, asyncio.Future[bytes | None]] = {}
        """What was begun last in each place: one that hangs has a thread, and gets no second."""

    async def keep(self, make: Callable[[str], bytes]) -> list[str]:
        """Have every place hold the keyring made of what all hold; return what is wrong with each that does not.

        What can't be read is not written over. A place that does not answer in time may still write what it was given
        once it does, which the next look mends.
        """
        texts = await asyncio.gather(*(self._try(path, _read) for path in self.paths))
        held = {path: text for path, text in zip(self.paths, texts, strict=True) if not isinstance(text, str)}
        keyring = make("\n".join(text.decode(errors="replace") for text in held.values() if text is not None))
        written = await asyncio.gather(*(self._try(path, partial(_keep, text, keyring)) for path, text in held.items()))
        return [wrong for wrong in (*texts, *written) if isinstance(wrong, str)]

    async def _try(self, path: Path, work: Callable[[Path], bytes | None]) -> bytes | str | None:
        """Do something in a place; return what comes of it, or what is wrong with the place."""
        last = self._at_work.get(path)
        if last is None or last.done():
            last = self._at_work[path] = asyncio.wrap_future(self._threads.submit(work, path))
            last.add_done_callback(asyncio.Future.exception)  # nobody may be there to hear of it
            await asyncio.wait([last], timeout=self._patience)
        if not last.done():
            return f"{path}: it does not answer: is what is mounted there away?"
        try:
            return last.result()
        except OSError as error:
            return f"{path}: {error.strerror or error}"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _keep(held: bytes | None, keyring: bytes, path: Path) -> None:
    if held != keyring or path.stat().st_mode & 0o777 != _MODE:
        _replace(path, keyring)


def _replace(path: Path, keyring: bytes) -> None:
    """Write a file beside the old one, durably, and put it in its place; the directory has to be there.

    Who calls this holds the period keys' rows: one writer at a time, so that what an earlier one left can go.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, _MODE)
        file.write(keyring)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
