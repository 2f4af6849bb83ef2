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
from chaos.receiver import BATCH, Receiver
from chaos.transfers import Transfer, Transfers
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
_BY_FORM = 0.5
"""How many uploads are one request and no more."""
_BATCHES, _BATCH_FILES = 0.15, 3
"""How often many files are asked for at once, and how many at the most."""
_TRIES = 10


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
    def address(self) -> str:
        """The path of its URL."""
        return "/" + self.url.rpartition("/")[2]

    @property
    def path(self) -> str:
        """By which the receiver notes its callbacks."""
        return f"{self.address}/{self.file.file_id}" if self.address.startswith(BATCH) else self.address


@dataclass(frozen=True)
class Batch:
    """A batch that was accepted."""

    batch_id: int
    files: int
    path: str


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
        self.batches: list[Batch] = []
        self.transfers = Transfers(http, self.doors, self._has_become)
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
        self._uploaders: list[asyncio.Task[None]] = []

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
                        uploads = load._upload_on(random.Random(f"{seed}/uploader {number}"))
                        load._uploaders.append(group.create_task(uploads))
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
        content, name = dice.randbytes(size), dice.choice(_NAMES)
        if dice.random() > _BY_FORM:
            await self.transfers.go_on(self.transfers.begin(dice, name, content), dice, self.ended)
            return
        sha256 = hashlib.sha256(content).hexdigest()
        fields = {"filename": name}
        if dice.random() < 0.5:
            fields["sha256"] = sha256
        body = await self._post("/api/open/upload", dice, lambda: {"data": _form(fields, content)})
        if body is not None:
            if body["fileID"] in self.files or body["fileID"] in self.lost:  # no other answer may have had it
                self.doubled.append(body["fileID"])
            self._accept(File(body["fileID"], name, size, sha256))

    def _has_become(self, door: str, transfer: Transfer, file_id: int) -> None:
        self.answered[door] += 1
        self._accept(File(file_id, transfer.name, transfer.size, transfer.sha256))

    def _accept(self, file: File) -> None:
        known = self.files.get(file.file_id, self.lost.get(file.file_id))
        if known not in {None, file}:
            self.doubled.append(file.file_id)
        self.files[file.file_id] = file
        self.note_outage()

    async def finish(self) -> None:
        """Once all runs: go on with half of the uploads that are broken off, ask how the others stand; have a batch."""
        await asyncio.wait(self._uploaders)
        dice, never = random.Random(0), asyncio.Event()
        for _ in range(_TRIES):
            if not self.batches:
                await self._attempt(self._ask_for_some, dice)
        for number, transfer in enumerate(self.transfers.unfinished()):
            if transfer.way == "key" or number % 2:
                await self.transfers.go_on(transfer, dice, never)
            else:
                await self.transfers.look(transfer, dice)

    def note_outage(self) -> None:
        """Count the time since the last upload that was acknowledged."""
        now = time.monotonic()
        self.longest_outage, self._last = max(self.longest_outage, now - self._last), now

    async def _ask(self, dice: random.Random) -> None:
        if not self.again and dice.random() < _BATCHES and len(self.files) > _BATCH_FILES:
            await self._ask_for_some(dice)
            return
        once_more = bool(self.again)
        file = self.again[0] if once_more else dice.choice(list(self.files.values()))
        url = f"{self._callbacks}/{time.monotonic_ns()}"
        body = {"fileID": file.file_id, "cbUrl": url}
        if await self._post("/api/open/downFile", dice, lambda: {"json": body}) is not None:
            self.requests.append(Request(file, url))
            if once_more:
                self.again.popleft()

    async def _ask_for_some(self, dice: random.Random) -> None:
        files = dice.sample(list(self.files.values()), dice.randint(1, _BATCH_FILES))
        url = f"{self._callbacks}{BATCH}{time.monotonic_ns()}"
        body = {"fileIDs": [file.file_id for file in files], "cbUrl": url}
        answer = await self._post("/api/open/downFiles", dice, lambda: {"json": body})
        if answer is not None:
            requests = [Request(file, url) for file in files]
            self.requests += requests
            self.batches.append(Batch(answer["batchID"], len(files), requests[0].address))

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
