"""Steady load: clients that upload files of mixed sizes and ask for some of them back, and note what they were told."""

import asyncio
import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from chaos.wiring import Wiring

from roadvault_stack.ports import HOST

UPLOADERS, ASKERS = 3, 1
_PAUSE_SECONDS = 0.25
_ASK_PAUSE_SECONDS = 0.8
_FOLLOWERS = 4
_FOLLOW_SECONDS = 40
"""Less than a link lives."""
_NAMES = ("路口 1.mp4", "cam-07.mp4", "a b 'c'.mkv", "x" * 200 + ".mov", "no-extension")
_LARGEST = 1_900_000


Body = dict[str, object]


@dataclass(frozen=True)
class File:
    """A file whose fileID a client was given; `size` is bytes."""

    file_id: int
    name: str
    size: int
    sha256: str


@dataclass
class Request:
    """A download request that was accepted; what came back for it."""

    file: File
    url: str

    @property
    def path(self) -> str:
        """Where the receiver takes its callbacks."""
        return "/" + self.url.rpartition("/")[2]


class Receiver:
    """Takes callbacks, in the mood that it is put into."""

    def __init__(self) -> None:
        self.mood = "takes"
        self.calls: Counter[str] = Counter()
        self.met: dict[str, Counter[str]] = {}
        """By the path of each callback, the moods that it met."""
        self.taken: dict[str, list[tuple[int, str]]] = {}
        self.arrived: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        """Links that are still to be followed."""

    async def take(self, request: web.Request) -> web.StreamResponse:
        mood = self.mood
        self.calls[mood] += 1
        self.met.setdefault(request.path, Counter())[mood] += 1
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
        self.taken.setdefault(request.path, []).append((body["fileID"], body["fileUrl"]))
        self.arrived.put_nowait((request.path, body["fileUrl"]))
        return web.Response()


class Load:
    """What the clients did and were told. Use `Load.open`."""

    def __init__(self, wiring: Wiring, http: aiohttp.ClientSession, receiver: Receiver) -> None:
        self.doors = wiring.doors
        self._callbacks = wiring.receiver_url
        self._http = http
        self.receiver = receiver
        self.files: dict[int, File] = {}
        self.lost: dict[int, File] = {}
        """Files that were lost with the machine, as they might."""
        self.requests: list[Request] = []
        self.again: deque[File] = deque()
        """Files that are asked for once more, before others."""
        self.answered: Counter[str] = Counter()
        """Uploads and requests that were accepted, by door."""
        self.refused: Counter[str] = Counter()
        """Uploads and requests that were not accepted, by what the client saw."""
        self.doubled: list[int] = []
        """File ids that were given out twice."""
        self.followed: dict[str, list[str]] = {}
        """What the links of each callback's path gave: a SHA-256, or how they refused."""
        self.longest_outage = 0.0
        """Seconds in which no upload was acknowledged, of all three clients."""
        self._last = time.monotonic()
        self.ended = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, wiring: Wiring, seed: int) -> AsyncIterator["Load"]:
        """Run the clients against all doors of ingest until `ended` is set."""
        receiver = Receiver()
        application = web.Application()
        application.router.add_post("/{name}", receiver.take)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, HOST, wiring.receiver_port).start()
        timeout = aiohttp.ClientTimeout(total=30, sock_connect=3)
        connector = aiohttp.TCPConnector(force_close=True)
        try:
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
                load = cls(wiring, http, receiver)
                async with asyncio.TaskGroup() as group:
                    for number in range(UPLOADERS):
                        group.create_task(load._upload_on(random.Random(f"{seed}/uploader {number}")))
                    for number in range(ASKERS):
                        group.create_task(load._ask_on(random.Random(f"{seed}/asker {number}")))
                    followers = [group.create_task(load._follow_on()) for _ in range(_FOLLOWERS)]
                    try:
                        yield load
                    finally:
                        load.ended.set()
                        for follower in followers:
                            follower.cancel()
        finally:
            await runner.cleanup()

    async def _upload_on(self, dice: random.Random) -> None:
        while not self.ended.is_set():
            await self._attempt(self._upload, dice)

    async def _ask_on(self, dice: random.Random) -> None:
        while not self.ended.is_set():
            if self.files:
                await self._attempt(self._ask, dice)
            await asyncio.sleep(0 if self.again else _ASK_PAUSE_SECONDS)

    async def _attempt(self, act: Callable[[random.Random], Awaitable[None]], dice: random.Random) -> None:
        try:
            await act(dice)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: half an answer
            self.refused[type(error).__name__] += 1
        await asyncio.sleep(dice.uniform(0, 2 * _PAUSE_SECONDS))

    async def _upload(self, dice: random.Random) -> None:
        # Mostly small, now and then one that is nearly a folder of its own; always different content.
        size = min(int(dice.lognormvariate(10.5, 1.8)) + 1, _LARGEST)
        content = dice.randbytes(size)
        sha256 = hashlib.sha256(content).hexdigest()
        name = dice.choice(_NAMES)
        fields = {"filename": name}
        if dice.random() < 0.5:
            fields["sha256"] = sha256
        body = await self._post("/api/open/upload", dice, lambda: {"data": _form(fields, content)})
        if body is None:
            return
        file_id = body["fileID"]
        if file_id in self.files or file_id in self.lost:
            self.doubled.append(file_id)
        self.files[file_id] = File(file_id, name, size, sha256)
        self.note_outage()

    def note_outage(self) -> None:
        """Count the time since the last upload that was acknowledged."""
        now = time.monotonic()
        self.longest_outage, self._last = max(self.longest_outage, now - self._last), now

    async def _ask(self, dice: random.Random) -> None:
        once_more = bool(self.again)
        file = self.again[0] if once_more else dice.choice(list(self.files.values()))
        url = f"{self._callbacks}/{time.monotonic_ns()}"
        body = {"fileID": file.file_id, "cbUrl": url}
        if await self._post("/api/open/downFile", dice, lambda: {"json": body}) is not None:
            self.requests.append(Request(file, url))
            if once_more:
                self.again.popleft()

    def right(self, request: Request) -> bool:
        """Tell whether a link for a request was followed to the right bytes."""
        return request.file.sha256 in self.followed.get(request.path, [])

    async def _post(self, path: str, dice: random.Random, body: Callable[[], Body]) -> dict[str, int] | None:
        """Post to one of ingest's processes; one that does not run just now is passed over, as by a load balancer."""
        for door in dice.sample(self.doors, len(self.doors)):
            with suppress(aiohttp.ClientConnectorError):
                async with self._http.post(f"{door}{path}", **body()) as response:  # type: ignore[arg-type]
                    answer = await response.json()
                    if response.status != 200:
                        self.refused[f"{response.status} {answer.get('message', '')[:60]}"] += 1
                        return None
                    self.answered[door] += 1
                    result = answer["result"]
                    return result if isinstance(result, dict) else {}
        self.refused["no ingest listens"] += 1
        return None

    async def _follow_on(self) -> None:
        """Follow each link as it comes, as a client does; again while ingest is away, for as long as it may live."""
        while True:
            path, link = await self.receiver.arrived.get()
            self.followed.setdefault(path, []).append(await self._follow(link))

    async def _follow(self, link: str) -> str:
        until = time.monotonic() + _FOLLOW_SECONDS
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                got = await self._fetch(link)
                if not got.startswith("HTTP 5") or time.monotonic() > until:
                    return got
            if time.monotonic() > until:
                return "no answer"
            await asyncio.sleep(0.5)

    async def _fetch(self, link: str) -> str:
        """Return the SHA-256 of what a link gives, or how it refuses."""
        digest = hashlib.sha256()
        async with self._http.get(link) as response:
            async for piece in response.content.iter_chunked(1 << 16):
                digest.update(piece)
            return digest.hexdigest() if response.status == 200 else f"HTTP {response.status}"


def _form(fields: dict[str, str], content: bytes) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("file", content, filename="x", content_type="application/octet-stream")
    return form
