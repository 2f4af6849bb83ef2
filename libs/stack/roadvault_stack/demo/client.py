"""A client of RoadVault as any other, with an address for its callbacks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadvault_client import AsyncClient, Receiver, TookTooLong, Uploaded, receive
from roadvault_stack.demo.errors import DemoError

__all__ = ["Client", "Uploaded"]


@dataclass(frozen=True)
class Client:
    """Talks to ingest by `api`. Use `Client.open`."""

    api: AsyncClient
    _callbacks: Receiver

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Client"]:
        """Open the client and its callback receiver."""
        with receive(None) as callbacks:
            async with AsyncClient(url) as api:
                yield cls(api, callbacks)

    async def upload(self, path: Path, progress: Callable[[int], object]) -> Uploaded:
        """Upload a file; `progress` is told the bytes of each piece sent."""
        before = 0

        def note(sent: int, _: int | None) -> None:
            nonlocal before
            progress(sent - before)
            before = sent

        return await self.api.upload(path, progress=note)

    async def state(self, file_id: int) -> dict[str, Any]:
        """Return where a file stands."""
        return {**await self.api.file(file_id)}

    async def custody(self, file_id: int) -> list[dict[str, Any]]:
        """Return the newest lines of the custody log of a file and its archive, the first first."""
        return [{**line} for line in await self.api.custody(file_id)]

    async def ask(self, file_id: int, seconds: float) -> str:
        """Ask for a file and return the link that the callback brings within `seconds`."""
        await self.api.request(file_id, self._callbacks.url)
        try:
            return (await asyncio.to_thread(self._callbacks.wait, file_id, seconds)).url
        except TookTooLong as late:
            state = await self.api.file(file_id)
            raise DemoError(f"{late}: {state['requests'][:1]}") from None
