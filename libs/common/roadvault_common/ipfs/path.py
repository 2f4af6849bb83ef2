"""Where a file is on IPFS: its own CID, or the CID of a directory and the file's name there."""

from dataclasses import dataclass

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.dag import DAG_PB, Cid, Node, Part, directory, parse

ARCHIVE, LABEL = "archive.7z.enc", "label.json"
"""What is in the directory that an archive of format 2 is on IPFS."""


def archive_path(cid: str, format: int) -> str:  # noqa: A002 - as the column is called
    """Return the path of an archive, by its row's `cid` and `format`."""
    return cid if format == 1 else f"{cid}/{ARCHIVE}"


@dataclass(frozen=True, slots=True)
class Path:
    """A CID, and the name in the directory that it is of; None where it is the file's own."""

    root: Cid
    name: str | None

    @classmethod
    def parse(cls, text: str) -> "Path":
        """Read `<cid>` or `<cid>/<name>`.

        Raises:
            IpfsUnavailable: It is none of these.
        """
        cid, slash, name = text.partition("/")
        path = cls(Cid.parse(cid), name if slash else None)
        if slash and (path.root.codec != DAG_PB or name in {"", ".", ".."} or "/" in name):
            raise IpfsUnavailable(f"{text[:200]} is no path of a file in a directory")
        return path

    def __str__(self) -> str:
        """Return it as it is written."""
        return str(self.root) if self.name is None else f"{self.root}/{self.name}"

    def key(self, cid: Cid) -> "Cid | Path":
        """Return what a node on the way to the file is known by: the directory's, of many names, by this one."""
        return self if self.name is not None and cid == self.root else cid

    def node(self, cid: Cid, block: bytes) -> Node:
        """Read a node on the way to the file; below the directory's there is just the file, its size yet unknown.

        Raises:
            IpfsUnavailable: It is no such node, or the directory has no such name.
        """
        if self.key(cid) is cid:
            return parse(block)
        child = directory(block).get(self.name or "")
        if child is None:
            raise IpfsUnavailable(f"there is no {self.name} in the directory {self.root}")
        return Node(-1, (Part(child, 0, -1),))
