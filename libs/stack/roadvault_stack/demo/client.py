"""A client of RoadVault as any other: uploads, asks for files, takes callbacks, downloads links."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from roadvault_stack.demo.errors import DemoError
from roadvault_stack.ports import HOST

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Uploaded:
    """A file that RoadVault took; `size` is bytes."""

    file_id: int
    path: Path
    size: int
    sha256: str


class Client:
    """Talks to ingest's API at `url`, and takes callbacks at an address of its own. Use `Client.open`."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self.callback_url = ""
        self._callbacks: dict[int, asyncio.Future[str]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Client"]:
        """Open the client and its callback receiver."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300, sock_connect=5)) as http:
            client = cls(url, http)
            receiver = web.Application()
            receiver.router.add_post("/callback", client._take_callback)
            runner = web.AppRunner(receiver, access_log=None, handle_signals=False)
            await runner.setup()
            try:
                await web.TCPSite(runner, HOST, 0).start()
                client.callback_url = f"http://{HOST}:{runner.addresses[0][1]}/callback"
                yield client
            finally:
                await runner.cleanup()

    async def upload(self, path: Path, progress: Callable[[int], None]) -> Uploaded:
        """Upload a file with its SHA-256; `progress` is told the bytes of each piece sent."""
        digest, size = hashlib.sha256(), 0

        async def content() -> AsyncIterator[bytes]:
            nonlocal size
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    progress(len(chunk))
                    yield chunk

        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("filename", path.name)
        form.add_field("file", content(), filename=path.name)
        result = await self._result(self._http.post(f"{self._url}/api/open/upload", data=form))
        return Uploaded(result["fileID"], path, size, digest.hexdigest())

    async def state(self, file_id: int) -> dict[str, Any]:
        """Return where a file stands."""
        state: dict[str, Any] = await self._result(self._http.get(f"{self._url}/api/open/file/{file_id}"))
        return state

    async def custody(self, file_id: int) -> list[dict[str, Any]]:
        """Return the newest lines of the custody log of a file and its archive, the first first."""
        answer = await self._result(self._http.get(f"{self._url}/api/open/file/{file_id}/custody"))
        lines: list[dict[str, Any]] = answer["lines"]
        return lines

    async def receipt(self, file_id: int, target: Path) -> None:
        """Download a file's receipt to `target`."""
        await self.download(f"{self._url}/api/open/file/{file_id}/receipt", target)

    async def ask(self, file_id: int, seconds: float) -> str:
        """Ask for a file and return the link that the callback brings within `seconds`."""
        arrival = self._callbacks[file_id] = asyncio.get_running_loop().create_future()
        fields = {"fileID": file_id, "cbUrl": self.callback_url}
        await self._result(self._http.post(f"{self._url}/api/open/downFile", json=fields))
        try:
            return await asyncio.wait_for(arrival, seconds)
        except TimeoutError:
            state = await self.state(file_id)
            raise DemoError(f"file {file_id}: no callback within {seconds:.0f} s: {state['requests'][:1]}") from None

    async def download(self, link: str, target: Path) -> str:
        """Download a link to `target` and return the SHA-256 of what came."""
        digest = hashlib.sha256()
        async with self._http.get(link) as response:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise DemoError(f"{link} answers {response.status}: {(await response.text())[:200]}")
            with target.open("wb") as file:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    async def _take_callback(self, request: web.Request) -> web.Response:
        body = await request.json()
        arrival = self._callbacks.get(body["fileID"])
        if arrival is not None and not arrival.done():
            arrival.set_result(body["fileUrl"])
        return web.Response()

    async def _result(self, call: Any) -> Any:  # noqa: ANN401 - aiohttp's request, and JSON
        async with call as response:
            body = await response.json()
            if body["code"] != 0:
                raise DemoError(f"{response.method} {response.url.path}: {body['code']} {body['message']}")
            return body["result"]
