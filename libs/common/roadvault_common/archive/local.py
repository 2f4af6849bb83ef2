"""An archive's local copy: two files that one row names, the archive and, beside it, its label."""

from roadvault_common.sql.db import Database
from roadvault_common.sql.mirror import named_paths

_ARCHIVE, _LABEL = ".7z.enc", ".label.json"


def beside(archive: str) -> str:
    """Return the path of the label that lies beside an archive."""
    return archive.removesuffix(_ARCHIVE) + _LABEL


def _archive_of(path: str) -> str:
    """Return the path of the archive that a file belongs to: a label, or the archive itself."""
    return path.removesuffix(_LABEL) + _ARCHIVE if path.endswith(_LABEL) else path


async def named(db: Database, paths: list[str]) -> set[str]:
    """Return those of `paths` (relative to the data directory) that belong to the local copy of an archive."""
    archives = {path: _archive_of(path) for path in paths}
    found = await named_paths(db, "zip_ipfs_info", sorted(set(archives.values())))
    return {path for path, archive in archives.items() if archive in found}
