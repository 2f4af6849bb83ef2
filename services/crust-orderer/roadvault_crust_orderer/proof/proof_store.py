"""The proof's SQL."""

from dataclasses import dataclass

from roadvault_common.archive.verify import Member
from roadvault_common.errors import PermanentError
from roadvault_common.ipfs.path import archive_path
from roadvault_common.retention.ends import PERIOD_KEY
from roadvault_common.sql.db import Database


@dataclass(frozen=True)
class Sealed:
    """What it takes to read an archive on the network."""

    cid: str
    kind: str
    store: str
    """That has the local copies."""
    format: int
    key: str
    master_key: str | None
    period_key: str | None
    iv: str
    size: int

    @property
    def path(self) -> str:
        """Where it is on IPFS."""
        return archive_path(self.cid, self.format)


class ProofStore:
    """Archives to prove, and their members."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archive(self, zip_id: int) -> Sealed:
        """Return the archive's CID and format, wrapped key and initial counter block.

        Raises:
            PermanentError: There is no such archive on IPFS.
        """
        row = await self._db.fetch_one(
            "SELECT cid, kind, store, format, `key`, master_key,"  # noqa: S608 - a constant
            f" {PERIOD_KEY.format(zip='zip_ipfs_info')} AS period_key, iv, size FROM zip_ipfs_info WHERE zip_id = %s",
            (zip_id,),
        )
        if row is None or row["cid"] is None:
            raise PermanentError(f"archive {zip_id} has no CID to prove")
        return Sealed(**row)

    async def members(self, zip_id: int) -> list[Member]:
        """Return the archive's members that have bytes: of an empty one nothing would be fetched."""
        rows = await self._db.fetch_all(
            "SELECT file_id, zip_offset AS `offset`, size, sha256 FROM file_upload_info WHERE zip_id = %s AND size > 0",
            (zip_id,),
        )
        return [Member(**row) for row in rows]
