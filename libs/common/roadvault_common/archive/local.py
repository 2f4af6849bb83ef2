"""An archive's local copy: two files that one row names, the archive and, beside it, its label."""

from collections.abc import Mapping

from roadvault_common.sql.db import Database, Transaction, marks
from roadvault_common.sql.mirror import named_paths

_AT_ONCE = 500
"""Paths in one statement."""
_LONGEST, _REASON_LENGTH = 100, 500
"""Characters of `left_out_info.cid`, and of its reason."""
_ARCHIVE, _LABEL = ".7z.enc", ".label.json"


def beside(archive: str) -> str:
    """Return the path of the label that lies beside an archive."""
    return archive.removesuffix(_ARCHIVE) + _LABEL


def _archive_of(path: str) -> str:
    """Return the path of the archive that a file belongs to: a label, or the archive itself."""
    return path.removesuffix(_LABEL) + _ARCHIVE if path.endswith(_LABEL) else path


async def named(db: Database, paths: list[str]) -> set[str]:
    """Return those of `paths` (relative to the data directory) that belong to the local copy of an archive.

    Those are among them that recovery could not open: they may be the only copies, so nothing sweeps them.
    """
    archives = {path: _archive_of(path) for path in paths}
    asked = sorted(set(archives.values()))
    found = await named_paths(db, "zip_ipfs_info", asked)
    for begin in range(0, len(asked), _AT_ONCE):
        some = asked[begin : begin + _AT_ONCE]
        rows = await db.fetch_all(f"SELECT cid FROM left_out_info WHERE cid IN ({marks(some)})", some)  # noqa: S608
        found |= {row["cid"] for row in rows}
    return {path for path, archive in archives.items() if archive in found}


def may_be_noted(path: str) -> bool:
    """Tell whether a local copy can be noted as not opened: its path is none that only others give."""
    return len(path) <= _LONGEST


async def note_unopened(db: Database, copies: Mapping[str, str]) -> None:
    """Note local copies that recovery could not open, and why; and no more those that a row names by now."""

    async def write(tx: Transaction) -> None:
        for path, reason in copies.items():
            await tx.execute(
                "REPLACE INTO left_out_info (cid, kind, archives, reason) VALUES (%s, 'copy', 1, %s)",
                (path, reason[:_REASON_LENGTH]),
            )
        await tx.execute(
            "DELETE left_out_info FROM left_out_info JOIN zip_ipfs_info AS zip ON zip.path = left_out_info.cid"
            " WHERE left_out_info.zip_id IS NULL AND left_out_info.kind = 'copy'"
        )

    await db.transact(write)
