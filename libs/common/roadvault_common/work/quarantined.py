"""What a person does with files in quarantine: by the command line, or on a page."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from roadvault_common.archive import local
from roadvault_common.errors import PermanentError, brief
from roadvault_common.files.quarantine import Entry
from roadvault_common.files.vault import ARCHIVES, DOWNLOADS, POSTERS, RECEIVED
from roadvault_common.sql.db import Database
from roadvault_common.sql.mirror import named_paths

_NAMED: dict[str, Callable[[Database, list[str]], Awaitable[set[str]]]] = {
    RECEIVED: lambda db, paths: named_paths(db, "file_upload_info", paths),
    ARCHIVES: local.named,
    DOWNLOADS: lambda db, paths: named_paths(db, "download_info", paths),
    POSTERS: lambda db, paths: named_paths(db, "video_info", paths),
}
"""Which of some paths rows name, by the directory where they are."""
_AT_ONCE = 500
"""Files that are looked up at a time."""


async def named(db: Database, entries: Sequence[Entry]) -> list[Entry]:
    """Return those that a row names by the path that they had."""
    found = list[Entry]()
    for directory, asked in _NAMED.items():
        own = [entry for entry in entries if entry.origin.startswith(f"{directory}/")]
        for start in range(0, len(own), _AT_ONCE):
            some = own[start : start + _AT_ONCE]
            paths = await asked(db, [entry.origin for entry in some])
            found += [entry for entry in some if entry.origin in paths]
    return found


def each(entries: Iterable[Entry], act: Callable[[str], object]) -> tuple[int, list[str]]:
    """Do something to each entry; return how often it was done, and why it was not where it can't be. Blocks."""
    done, troubles = 0, list[str]()
    for entry in entries:
        try:
            act(entry.name)
        except (PermanentError, OSError) as error:
            troubles.append(brief(error))
        else:
            done += 1
    return done, troubles
