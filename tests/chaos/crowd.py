"""Clients of ingest, and services that are told to stop: what several tests stand on."""

import asyncio
import hashlib
import os
from collections import Counter
from io import BytesIO

import aiohttp
from servers_services import Service


async def upload(http: aiohttp.ClientSession, url: str, content: bytes) -> int:
    form = aiohttp.FormData()
    form.add_field("filename", "a.mp4")
    form.add_field("file", BytesIO(content), filename="a.mp4")
    form.add_field("sha256", hashlib.sha256(content).hexdigest())
    async with http.post(f"{url}/api/open/upload", data=form) as response:
        assert response.status == 200, await response.text()
        return int((await response.json())["result"]["fileID"])


class Crowd:
    """Clients that upload small files and ask where they stand, one request after another."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.results: Counter[str] = Counter()
        self.file_ids: list[int] = []
        self.over = asyncio.Event()

    async def client(self) -> None:
        async with aiohttp.ClientSession() as http:
            while not self.over.is_set():
                try:
                    file_id = await upload(http, self._url, os.urandom(20_000))
                    self.file_ids.append(file_id)
                    async with http.get(f"{self._url}/api/open/file/{file_id}") as response:
                        assert response.status == 200
                    self.results["good"] += 1
                except (aiohttp.ClientError, AssertionError) as error:
                    self.results[f"{type(error).__name__} {error}"] += 1

    async def went_on(self) -> None:
        """Wait until some more requests have been answered."""
        until = self.results.total() + 5
        async with asyncio.timeout(20):
            while self.results.total() < until:
                await asyncio.sleep(0.02)


async def left_by_itself(service: Service) -> None:
    """Wait for the service's end, which was no end by force: that comes 5 s after notice and drain, with code 1."""
    code, _ = await service.ended(60)
    assert code == 0, service.log.read_text()


async def restart(service: Service) -> None:
    """Stop a service in good order and start it again."""
    service.terminate()
    await left_by_itself(service)
    await service.start()
