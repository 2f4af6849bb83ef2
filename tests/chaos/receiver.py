"""Takes callbacks, for files and for batches, in the mood that it is put into."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web

BATCH = "/batch-"
"""What the path begins with by which a batch is called back."""


class Receiver:
    """Takes callbacks; what comes for a file of a batch is kept by the batch's path and the file's number."""

    def __init__(self) -> None:
        self.mood = "takes"
        self.calls: Counter[str] = Counter()
        self.met: dict[str, Counter[str]] = {}
        """By the path of each callback, the moods that it met."""
        self.taken: dict[str, list[tuple[int, str]]] = {}
        self.reports: dict[str, list[tuple[dict[str, Any], int]]] = {}
        """By a batch's path, what was told of it at its end, and how many of its files had been called back by then."""
        self.arrived: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        """Links that are still to be followed."""

    async def take(self, request: web.Request) -> web.StreamResponse:
        mood, path = self.mood, request.path
        self.calls[mood] += 1
        self.met.setdefault(path, Counter())[mood] += 1
        if mood == "hangs":
            await asyncio.sleep(60)
        if mood == "errs":
            return web.Response(status=500)
        if mood == "drips":
            response = web.StreamResponse(status=500, headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            with suppress(ConnectionError):
                for _ in range(120):
                    await response.write(b".")
                    await asyncio.sleep(0.5)
            return response
        if mood == "redirects":
            return web.Response(status=302, headers={"Location": str(request.url.with_path("/elsewhere"))})
        try:
            body = await request.json()
        except (ConnectionError, ValueError, aiohttp.ClientPayloadError):  # cut short
            return web.Response(status=400)
        if "batchID" in body:
            called = sum(place.startswith(f"{path}/") for place in self.taken)
            self.reports.setdefault(path, []).append((body, called))
            return web.Response()
        place = f"{path}/{body['fileID']}" if path.startswith(BATCH) else path
        self.taken.setdefault(place, []).append((body["fileID"], body["fileUrl"]))
        self.arrived.put_nowait((place, body["fileUrl"]))
        return web.Response()
