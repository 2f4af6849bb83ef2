"""What may be archives, and what became of them in a recovery."""

from dataclasses import dataclass, field

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.sql.db import Row
from roadvault_operator.recover.reading import Place


@dataclass(frozen=True)
class Candidate:
    """What may be an archive."""

    place: Place
    """A CID, or a local copy."""
    record: ArchiveRecord | None = None
    """What the catalogue says of it."""
    sure: bool = True
    """Whether somebody says that it is one; else it is just something that was found."""
    run_out: bool = False
    """Whether what was bought for it may have ended: then it is no wonder that nobody gives it."""

    def __str__(self) -> str:
        """Return what it is called in a report."""
        name = self.place.cid or self.place.path or ""
        return name if self.record is None else f"archive {self.record.zip_id}, {name}"


@dataclass
class Report:
    """What became of the archives."""

    archives: int = 0
    files: int = 0
    known: set[int] = field(default_factory=set)
    """Numbers of archives that had their rows already."""
    completed: set[int] = field(default_factory=set)
    """Those of them that lacked what was found now: CID, purchase, or local copy."""
    failed: list[str] = field(default_factory=list)
    """Not recovered: which, and why."""
    spoilt: list[str] = field(default_factory=list)
    """Local copies that are not what they were; their archives come from the network."""
    held: list[str] = field(default_factory=list)
    """Holds of the catalogue that were brought back on archives that had their rows."""
    ends: list[str] = field(default_factory=list)
    """When archives end that had their rows, where the catalogue says otherwise than these."""
    ended: int = 0
    """Archives whose key was destroyed at their end, by the catalogue, or the custody log: nothing brings them back."""
    over: list[str] = field(default_factory=list)
    """Of those that ended: what lives here and is over now, and what was found and not brought back."""
    destroyed: list[Row] = field(default_factory=list)
    """Period keys that were destroyed, and are in the keyring, or live here: as `periods.bring_back` has them."""
    strange: list[str] = field(default_factory=list)
    """Found, and no archive: which, and what it is."""
