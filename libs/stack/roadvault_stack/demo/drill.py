"""One archive is lost by the network's node: an audit finds that, and the archive is mended."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from roadvault_common.sql.db import Database
from roadvault_stack.demo import network
from roadvault_stack.demo.client import Client
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder

_SECONDS = 90
_LOOK_SECONDS = 0.3
_LOG_LINES = 12


@dataclass
class Drill:
    """What the network loses, and who is asked about it: our node (with its token), the network's, and the devnet.

    `log` is crust-orderer's, for what is told of an audit that finds nothing.
    """

    client: Client
    folder: Folder
    ours: tuple[str, str]
    network: str
    devnet: str
    log: Path

    async def begin(self, db: Database) -> datetime:
        """Have the network's node lose the archive, and an audit be due; return when (UTC).

        The network has but one storage node here: ours is made to hold the archive, as another one would.

        Raises:
            DemoError: It was not lost.
        """
        zip_id, cid = self.folder.archive["zipID"], self.folder.archive["cid"]
        await network.pin(*self.ours, cid)
        await network.lose(self.devnet, cid)
        if await network.has_pinned(self.network, cid):
            raise DemoError(f"the network's node did not lose archive {zip_id}")
        begun: datetime = await db.fetch_value("SELECT UTC_TIMESTAMP(3)")
        # It would be due within a month.
        await db.execute("UPDATE zip_ipfs_info SET audit_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
        return begun.replace(tzinfo=UTC)

    async def end(self, db: Database, begun: datetime) -> tuple[float, float]:
        """Return after how many seconds it was found, and how many it took from there to be mended.

        Both the custody log tells: as a state of the archive, what an audit found is there for less than a second.

        Raises:
            DemoError: It was not found, or not mended.
        """
        found = await self._until(db, "no audit found that it is lost", partial(self._lost, begun))
        mended = await self._until(db, "it was not mended", partial(self._mended, db, found))
        return (found - begun).total_seconds(), (mended - found).total_seconds()

    async def _lost(self, begun: datetime) -> datetime | None:
        """Return when an audit found that the network has lost the archive; None if none has yet."""
        lines = await self._lines("audited", begun)
        return next((_time(line) for line in lines if line["facts"].get("found")), None)

    async def _mended(self, db: Database, found: datetime) -> datetime | None:
        """Return when the archive was proven anew; None if it has not been yet."""
        # A proof that came before the network's node had pulled it again waits for a quarter of an hour.
        await db.execute(
            "UPDATE zip_ipfs_info SET prove_due = UTC_TIMESTAMP(6)"
            " WHERE zip_id = %s AND prove_due > UTC_TIMESTAMP(6) AND prove_token IS NULL",
            (self.folder.archive["zipID"],),
        )
        return next(map(_time, await self._lines("proven", found)), None)

    async def _lines(self, act: str, since: datetime) -> list[dict[str, Any]]:
        """Return the custody log's lines of an act on the network's copy of the archive, since a time."""
        lines = await self.client.custody(self.folder.files[0].file_id)
        ours = [line for line in lines if line["act"] == act and line["facts"].get("where") != "local"]
        return [line for line in ours if _time(line) >= since]

    async def _until(self, db: Database, otherwise: str, look: Callable[[], Awaitable[datetime | None]]) -> datetime:
        deadline = time.monotonic() + _SECONDS
        while (seen := await look()) is None:
            if time.monotonic() > deadline:
                zip_id = self.folder.archive["zipID"]
                raise DemoError(f"archive {zip_id}: {otherwise} within {_SECONDS} s\n{await self._told(db, zip_id)}")
            await asyncio.sleep(_LOOK_SECONDS)
        return seen

    async def _told(self, db: Database, zip_id: int) -> str:
        """Return what the rows and the log say of the archive's audits, and of what should follow them."""
        stages = await db.fetch_one(
            "SELECT UTC_TIMESTAMP(6) AS now, audit_due, audit_token, audit_attempts, audit_reason, order_due,"
            " order_reason, restore_due, restore_reason, prove_due, prove_reason FROM zip_ipfs_info WHERE zip_id = %s",
            (zip_id,),
        )
        audits = await db.fetch_all("SELECT * FROM audit_info WHERE zip_id = %s", (zip_id,))
        held = await network.has_pinned(self.network, self.folder.archive["cid"])
        log = await asyncio.to_thread(self.log.read_text, errors="replace")
        lines = [line for line in log.splitlines() if "audit" in line or "away" in line or "there again" in line]
        words = [f"the network's node {'holds' if held else 'does not hold'} it", *map(_row, [stages or {}, *audits])]
        return "\n".join([*words, f"the end of {self.log}, of audits:", *lines[-_LOG_LINES:]])


def _time(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["at"])


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in row.items() if value is not None)
