"""Where archives are looked for: lists of CIDs, and copies on the disk."""

import os
import stat
from pathlib import Path

from roadvault_common.archive.label import MOST_BYTES
from roadvault_common.archive.local import beside
from roadvault_common.errors import SettingsError
from roadvault_common.files.vault import ARCHIVES
from roadvault_operator.recover.reading import Place

_ARCHIVE = ".7z.enc"


def listed(file: Path) -> list[str]:
    """Return the CIDs that a file lists, one a line, each once; what stands behind one, or behind a `#`, is ignored.

    Raises:
        SettingsError: It can't be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read: {error}") from None
    words = (line.partition("#")[0].split() for line in lines)
    return list(dict.fromkeys(some[0] for some in words if some))


def on_disk(root: Path) -> list[Place]:
    """Return the archives in the data directory, with their labels where they have one. Blocks."""
    try:
        names = sorted(path.name for path in (root / ARCHIVES).iterdir() if path.name.endswith(_ARCHIVE))
    except FileNotFoundError:  # no service has run here yet
        names = []
    paths = [f"{ARCHIVES}/{name}" for name in names]
    return [Place(path=path, label=_label(root / beside(path))) for path in paths if _is_file(root / path)]


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _label(path: Path) -> bytes | None:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError:
        return None
