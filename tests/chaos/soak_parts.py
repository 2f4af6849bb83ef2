"""The parts of a soak: what each has the real services do, and what they use for it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from redis.asyncio import Redis
from servers_services import Service
from sites import site

from roadvault_common.events.kinds import FileReceived
from roadvault_common.sql.db import Database

AT_ONCE = 16
FOLDER_FILES = 5
_WARM = 0.2
"""The share of a run after which a process is as large as it gets, but for connections in its pool (32 at most)."""
_GROWTH, _GROWTH_BYTES, _GROWTH_FILES = 1.2, 8_000_000, 40
_PATIENCE_SECONDS = 120
"""How long a part may go without anything done."""

Tick = Callable[[int], None]


@dataclass
class Reading:
    """What a process uses: memory in bytes, open files."""

    memory: int
    files: int

    @classmethod
    def of(cls, service: Service) -> "Reading":
        assert service.process is not None
        proc = Path(f"/proc/{service.process.pid}")
        status = (proc / "status").read_text()
        return cls(int(status.split("VmRSS:")[1].split()[0]) * 1024, len(list((proc / "fd").iterdir())))


@dataclass
class Result:
    """One part of the soak; `warm` and `end` are readings of the process under test."""

    name: str
    count: int
    seconds: float
    warm: Reading
    end: Reading

    def leaks(self) -> list[str]:
        """Return what grew after the process was warm."""
        wrong = []
        if self.end.memory > self.warm.memory * _GROWTH + _GROWTH_BYTES:
            wrong.append(f"{self.name}: memory grew from {self.warm.memory} to {self.end.memory} bytes")
        if self.end.files > self.warm.files + _GROWTH_FILES:
            wrong.append(f"{self.name}: open files grew from {self.warm.files} to {self.end.files}")
        return wrong


@dataclass
class Part:
    """One part: how much there is to do by which services, how much is done, and how they are at the end."""

    name: str
    count: int
    services: list[Service]
    tick: Tick
    done: int = 0
    warm: list[Reading] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def note(self, done: int) -> None:
        """Note how much is done by now."""
        self.tick(done - self.done)
        self.done = done
        if not self.warm and done >= _WARM * self.count:
            self.warm = [Reading.of(service) for service in self.services]

    def results(self) -> list[Result]:
        """Return what each of the services used."""
        seconds = time.monotonic() - self._began
        return [
            Result(f"{self.name} ({service.name})", self.count, seconds, warm, Reading.of(service))
            for service, warm in zip(self.services, self.warm, strict=True)
        ]


@dataclass
class Soak:
    """The services, and what they work on."""

    db: Database
    redis: Redis
    ingest: Service
    packer: Service
    pinner: Service
    retriever: Service
    notifier: Service
    receiver: str
    called: list[str]

    async def worked_off(self, part: Part, count: str) -> None:
        """Follow a part until a query counts as much as there is to do."""
        while part.done < part.count:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while (row := await self.db.fetch_one(count)) is None or row["n"] <= part.done:
                    await asyncio.sleep(0.1)
            part.note(min(row["n"], part.count))

    async def files(self, part: Part) -> None:
        """Upload small files."""
        numbers = iter(range(part.count))

        async def client(http: aiohttp.ClientSession) -> None:
            for _ in numbers:
                form = aiohttp.FormData()
                form.add_field("filename", "a.mp4")
                form.add_field("file", os.urandom(10_000), filename="a.mp4")
                async with http.post(f"{self.ingest.url}/api/open/upload", data=form) as response:
                    assert response.status == 200, await response.text()
                part.note(part.done + 1)

        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(client(http) for _ in range(AT_ONCE)))

    async def archives(self, part: Part) -> None:
        """Have the files packed and pinned, and the uploads dropped."""
        await self.worked_off(part, "SELECT COUNT(*) AS n FROM zip_ipfs_info WHERE uploads_dropped_at IS NOT NULL")

    async def requests(self, part: Part) -> list[str]:
        """Bring files back and call back: a long queue, and meanwhile new requests, which must not wait for its end."""
        await self.db.execute(
            "INSERT INTO download_info (file_id, cb_url, open_key, fetch_due)"
            " SELECT file_id, %s, SHA2(file_id, 256), UTC_TIMESTAMP(6) - INTERVAL (%s - file_id) SECOND"
            " FROM file_upload_info ORDER BY file_id LIMIT %s",
            (f"{self.receiver}/cb", part.count, part.count),
        )
        newcomers = asyncio.create_task(self._ask_on(part))
        await self.worked_off(
            part,
            f"SELECT COUNT(*) AS n FROM download_info WHERE status = 2 AND download_id <= {part.count}",  # noqa: S608
        )
        await newcomers
        wrong = await self._order(
            f"SELECT download_id FROM download_info WHERE download_id <= {part.count} ORDER BY extracted_at",  # noqa: S608
            "requests",
        )
        overtaken = await self.db.fetch_all(
            "SELECT COUNT(*) AS n FROM download_info AS new JOIN download_info AS old ON old.download_id <= %s"
            " AND old.extracted_at BETWEEN new.create_time AND new.extracted_at"
            " WHERE new.download_id > %s GROUP BY new.download_id",
            (part.count, part.count),
        )
        most = max((row["n"] for row in overtaken), default=0)
        if most > max(4 * AT_ONCE, part.count // 10):
            wrong.append(f"requests: a new one waited for {most} of the queue")
        return wrong

    async def _ask_on(self, part: Part) -> None:
        asked = 0
        async with aiohttp.ClientSession() as http:
            while part.done < part.count:
                body = {"fileID": 1, "cbUrl": f"{self.receiver}/new/{asked}"}
                async with http.post(f"{self.ingest.url}/api/open/downFile", json=body) as response:
                    assert response.status == 200, await response.text()
                asked += 1
                await asyncio.sleep(0.2)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while sum(path.startswith("/new/") for path in self.called) < asked:
                await asyncio.sleep(0.1)

    async def rows(self, part: Part) -> list[str]:
        """Expire extractions that are due."""
        row = await self.db.fetch_one("SELECT MAX(download_id) AS n FROM download_info")
        first = row["n"] + 1 if row else 1
        await self.db.execute(
            "INSERT INTO download_info (download_id, file_id, cb_url, status, expire_due)"  # noqa: S608 - a number
            f" SELECT %s + seq, 1, '', 2, UTC_TIMESTAMP(6) - INTERVAL (%s - seq) SECOND FROM seq_1_to_{part.count}",
            (first, part.count + 10),
        )
        mine = f"download_id > {first}"
        await self.worked_off(part, f"SELECT COUNT(*) AS n FROM download_info WHERE status = 4 AND {mine}")  # noqa: S608
        return await self._order(f"SELECT download_id FROM download_info WHERE {mine} ORDER BY update_time", "rows")  # noqa: S608

    async def _order(self, select: str, what: str) -> list[str]:
        """Compare the order in which rows were worked off with that in which they came due, which is their ids'."""
        done = [row["download_id"] for row in await self.db.fetch_all(select)]
        places = {row_id: place for place, row_id in enumerate(sorted(done))}
        # A claim that the server answers late lets others pass; nobody is left behind for long.
        late = sorted(abs(place - places[row_id]) for place, row_id in enumerate(done))
        if late[int(0.99 * len(late))] > 4 * AT_ONCE or late[-1] > 50 * AT_ONCE:
            return [f"{what}: not in the order in which they came due, off by up to {late[-1]} places"]
        return []

    async def events(self, part: Part) -> None:
        """Send events about a folder that is packed; the packer reads its row and acknowledges each."""
        body = FileReceived(file_id=1, folder_id=1).model_dump_json()
        for sent in range(0, part.count, 500):
            number = min(500, part.count - sent)
            async with self.redis.pipeline(transaction=False) as pipe:
                for _ in range(number):
                    pipe.xadd("file.received", {"event": body})
                await pipe.execute()
            await self._caught_up(2000)
            part.note(sent + number)
        await self._caught_up(0)

    async def _caught_up(self, behind: int) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                (group,) = await self.redis.xinfo_groups("file.received")
                if (group["lag"] or 0) + group["pending"] <= behind:
                    return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(database_url: str, redis_url: str, service: Callable[..., Service]) -> AsyncIterator[Soak]:
    """Start the services, and a receiver of callbacks."""
    called: list[str] = []

    async def take(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    settings = {"folder_files": FOLDER_FILES, "concurrency": AT_ONCE}
    made = {name: service(name, **settings) for name in ("ingest", "packer", "pinner", "retriever", "notifier")}
    redis = Redis.from_url(redis_url)
    async with (
        Database.open(database_url, size=4) as db,
        redis,
        site([web.post("/{path:.*}", take)]) as receiver,
    ):
        await asyncio.gather(*(one.start() for one in made.values()))
        yield Soak(db, redis, **made, receiver=receiver, called=called)
