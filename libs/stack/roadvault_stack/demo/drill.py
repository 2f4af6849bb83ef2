"""One archive is lost by the network's node: an audit finds that, and the archive is mended."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from roadvault_common.sql.db import Database
from roadvault_stack.demo import network
from roadvault_stack.demo.client import Client
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder

_SECONDS = 90
_LOOK_SECONDS = 0.3


@dataclass
class Drill:
    """What the network loses, and who is asked about it: our node (with its token), the network's, and the devnet."""

    client: Client
    folder: Folder
    ours: tuple[str, str]
    network: str
    devnet: str

    async def run(self, db: Database) -> tuple[float, float]:
        """Return after how many seconds it was found, and how many it took from there to be mended.

        The network has but one storage node here: ours is made to hold the archive, as another one would.

        Raises:
            DemoError: It was not found, or not mended.
        """
        zip_id, cid = self.folder.archive["zipID"], self.folder.archive["cid"]
        await network.pin(*self.ours, cid)
        await network.lose(self.devnet, cid)
        if await network.has_pinned(self.network, cid):
            raise DemoError(f"the network's node did not lose archive {zip_id}")
        begun = time.monotonic()
        # Its audit would be due within a month.
        await db.execute("UPDATE zip_ipfs_info SET audit_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
        await self._until("no audit found that it is lost", self._is_lost)
        found = time.monotonic()
        await self._until("the network's node did not pull it again", lambda: network.has_pinned(self.network, cid))
        # What can't be proven yet waits for a quarter of an hour.
        await db.execute(
            "UPDATE zip_ipfs_info SET prove_due = UTC_TIMESTAMP(6)"
            " WHERE zip_id = %s AND prove_due IS NOT NULL AND prove_token IS NULL",
            (zip_id,),
        )
        await self._until("it was not mended", self._is_mended)
        return found - begun, time.monotonic() - found

    async def _archive(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.client.state(self.folder.files[0].file_id))["archive"]
        return state

    async def _is_lost(self) -> bool:
        return (await self._archive())["auditProblem"] is not None

    async def _is_mended(self) -> bool:
        archive = await self._archive()
        return archive["auditProblem"] is None and archive["proven"] is not None

    async def _until(self, otherwise: str, condition: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + _SECONDS
        while not await condition():
            if time.monotonic() > deadline:
                raise DemoError(f"archive {self.folder.archive['zipID']}: {otherwise} within {_SECONDS} s")
            await asyncio.sleep(_LOOK_SECONDS)
