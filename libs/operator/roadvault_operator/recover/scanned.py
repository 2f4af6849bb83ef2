"""Notes of what was found in the chain's blocks, so that a pass that was killed goes on where it was.

Lines of JSON, one for each chunk of blocks, in a file of the data directory that is only added to. Nothing depends on
it: who removes it has the blocks be read again.
"""

import os
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import BaseModel, ValidationError

FILE = "recovery-chain.jsonl"
"""Its name in the data directory."""


class Sent(NamedTuple):
    """An extrinsic of the account: its block, its number among all of the account's, and the CID that it orders."""

    block: int
    nonce: int
    cid: str | None
    """None: it asks for something else than storage."""


class _Line(BaseModel):
    genesis: str
    account: str
    first: int
    last: int
    sent: list[Sent]


class Scanned:
    """What is noted of one account on one chain. Use `Scanned.read`."""

    def __init__(self, path: Path | None, genesis: str, account: bytes) -> None:
        """Note it in the file at `path`; None: nowhere."""
        self._path = path
        self._genesis = genesis
        self._account = account.hex()
        self._found: dict[tuple[int, int], list[Sent]] = {}

    @classmethod
    def read(cls, root: Path, genesis: str, account: bytes, *, adds: bool) -> Self:
        """Read the notes in a data directory; `adds` has more be noted there. Blocks.

        Raises:
            OSError: They can't be read.
        """
        path = root / FILE
        scanned = cls(path if adds else None, genesis, account)
        if path.exists():
            with path.open("rb") as lines:
                for line in lines:
                    scanned._take(line)
        return scanned

    def _take(self, content: bytes) -> None:
        try:
            line = _Line.model_validate_json(content)
        except ValidationError:
            return  # it was killed while it wrote this
        if (line.genesis, line.account) == (self._genesis, self._account):
            self._found[line.first, line.last] = line.sent

    def found(self, blocks: range) -> list[Sent] | None:
        """Return what was found in these very blocks; None if they were not read."""
        return self._found.get((blocks[0], blocks[-1]))

    def note(self, blocks: range, sent: list[Sent]) -> None:
        """Note what was found. Blocks.

        Raises:
            OSError: It can't be written.
        """
        if self._path is None:
            return
        line = _Line(genesis=self._genesis, account=self._account, first=blocks[0], last=blocks[-1], sent=sent)
        # It begins with a line break: the line before may have been broken off.
        content = f"\n{line.model_dump_json()}".encode()
        with os.fdopen(
            os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644), "wb", 0
        ) as file:
            file.write(content)
