"""Looks at a folder: which files are there, and which of them are finished."""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from roadvault_agent import names
from roadvault_agent.config import Folder

_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Found:
    """A file as it was when it was looked at; `path` is below the folder, with `/`."""

    path: str
    size: int
    mtime_ns: int
    place: tuple[int, int]
    """Its device and number there."""


class FolderAway(Exception):
    """The folder is not there: a disk that is not mounted, a server that is off."""


class Watch:
    """One folder, over time."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.troubles: list[str] = []
        """Why parts of it could not be read when it was last looked at."""
        self.unsettled = False
        """Whether there were files that may still be written to."""
        self._since: dict[str, tuple[Found, float]] = {}
        """Since when (monotonic) each file is as it is."""

    def look(self) -> list[Found]:
        """Return the files that are finished.

        Raises:
            FolderAway: It is not there.
        """
        now, wanted = time.monotonic(), {}
        self.troubles, self.unsettled = [], False
        markers: set[str] = set()
        for found in self._walk(self.folder.path, ()):
            markers.add(found.path)
            if found.size and self._is_wanted(found.path):  # what is empty has not begun
                before = self._since.get(found.path)
                wanted[found.path] = before if before is not None and before[0] == found else (found, now)
        if not self.troubles:
            self._since = wanted
        else:  # what could not be seen may be as it was
            self._since |= wanted
        ready = [one for one, since in wanted.values() if now - since >= self.folder.settle_seconds]
        self.unsettled = len(ready) < len(wanted)
        if self.folder.marker:
            ready = [one for one in ready if self._marker(one.path) in markers]
        if self.folder.check_open and ready:
            fresh = _open_for_writing()
            ready = [one for one in ready if one.place not in fresh]
        return ready

    def _is_wanted(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        if name.startswith(names.OURS) or name.endswith(names.MARK):
            return False
        return names.matches(path, self.folder.include) and not names.matches(path, self.folder.exclude)

    def _marker(self, path: str) -> str:
        directory, slash, name = path.rpartition("/")
        return directory + slash + self.folder.marker.format(name=name, stem=PurePath(name).stem)

    def _walk(self, directory: Path, above: tuple[str, ...]) -> Iterator[Found]:
        try:
            with os.scandir(directory) as entries:
                inside = list(entries)
        except OSError as error:
            if not above:
                raise FolderAway(f"{directory}: {error.strerror}") from None
            self.troubles.append(f"{directory}: {error.strerror}")
            return
        for entry in inside:
            with suppress(FileNotFoundError):
                try:
                    yield from self._entry(entry, above)
                except OSError as error:
                    if isinstance(error, FileNotFoundError):
                        raise
                    self.troubles.append(f"{entry.path}: {error.strerror}")

    def _entry(self, entry: "os.DirEntry[str]", above: tuple[str, ...]) -> Iterator[Found]:
        if entry.is_dir(follow_symlinks=False):
            if not getattr(os.path, "isjunction", lambda _: False)(entry.path):
                yield from self._walk(Path(entry.path), (*above, entry.name))
            return
        state = Path(entry.path).lstat()  # the entry's own is not complete on Windows
        if stat.S_ISREG(state.st_mode):
            path = "/".join((*above, entry.name))
            yield Found(path, state.st_size, state.st_mtime_ns, (state.st_dev, state.st_ino))


def _open_for_writing() -> set[tuple[int, int]]:
    """Return what processes of this machine have open for writing, as far as we may see that; Linux tells."""
    places = set()
    for process in _numbers("/proc"):
        for descriptor in _numbers(f"/proc/{process}/fd"):
            with suppress(OSError, ValueError):
                flags = Path(f"/proc/{process}/fdinfo/{descriptor}").read_text().partition("flags:")[2].split()[0]
                if int(flags, 8) & _WRITING:
                    state = Path(f"/proc/{process}/fd/{descriptor}").stat()
                    places.add((state.st_dev, state.st_ino))
    return places


def _numbers(directory: str) -> Iterable[str]:
    try:
        return [path.name for path in Path(directory).iterdir() if path.name.isdecimal()]
    except OSError:
        return []
