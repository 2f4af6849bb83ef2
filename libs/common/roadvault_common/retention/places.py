"""The places of the keyring: files with the same content, on disks that are not lost together."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

_MODE = 0o600


class Places:
    """Writes the keyring wherever the operator wants it. Its methods block, as long as a disk does."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def keep(self, make: Callable[[str], bytes]) -> list[str]:
        """Have every place hold the keyring made of what all hold; return what is wrong with each that does not.

        What can't be read is not written over.
        """
        held, wrong = dict[Path, bytes | None](), []
        for path in self.paths:
            try:
                held[path] = _read(path)
            except OSError as error:
                wrong.append(f"{path}: {error.strerror or error}")
        keyring = make("\n".join(text.decode(errors="replace") for text in held.values() if text is not None))
        for path, text in held.items():
            try:
                if text != keyring or path.stat().st_mode & 0o777 != _MODE:
                    _replace(path, keyring)
            except OSError as error:
                wrong.append(f"{path}: {error.strerror or error}")
        return wrong


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


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
