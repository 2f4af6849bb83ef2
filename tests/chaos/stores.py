"""Several stores on one database cluster and Redis with Sentinels, under load, until one store is lost for good.

`make chaos STORES=3 N=40 SEED=7`. Everything that is broken here was started here.
"""

import argparse
import asyncio
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pymysql
from aiohttp import web
from chaos import history
from free_ports import accepts, pick_free
from rich.console import Console

from roadvault_stack import plan, processes
from roadvault_stack.plan import Plan
from roadvault_stack.ports import HOST
from roadvault_stack.settings import CLUSTER_PORTS, STORES, StackSettings
from roadvault_stack.up import Stack

LEASE_SECONDS = 8.0
_STEP = 64
"""Between the ports of two stores: more than one store and the cluster have."""
_LARGEST = 600_000
_TABLES = {"pack": "folder_info", "fetch": "download_info"} | dict.fromkeys(
    ("pin", "order", "prove", "drop", "restore"), "zip_ipfs_info"
)
_QUIET_SECONDS, _READY_SECONDS = 240, 90
_ENVIRONMENT = {
    "ROADVAULT_LEASE_SECONDS": str(LEASE_SECONDS),
    "ROADVAULT_REQUESTS_PER_PEER": "1000",
    "ROADVAULT_STORE_AWAY_SECONDS": "10",
    "ROADVAULT_AUDIT_DAYS": "1000",
}


@dataclass(frozen=True)
class File:
    """What a client was told of an upload."""

    file_id: int
    store: str
    sha256: str


@dataclass
class Estate:
    """A running stack of several stores, and the hands to break it with. Use `open_estate`."""

    settings: StackSettings
    plan: Plan
    stack: Stack
    lost: set[str] = field(default_factory=set)
    """Stores that are gone for good."""

    @property
    def stores(self) -> list[str]:
        """The stores that are there."""
        return [name for name in STORES[: self.settings.stores] if name not in self.lost]

    def ingest(self, store: str) -> str:
        """Return the URL of a store's ingest."""
        return f"http://{HOST}:{self.settings.of_store(STORES.index(store)).ingest_port}"

    def programs(self, store: str) -> list[str]:
        """Return the names of a store's own programs, its Kubo first."""
        names = [program.name for program in self.plan.programs()]
        return [name for name in names if name.endswith(f"-{store}")]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a program, if it runs just now."""
        pid = self.stack.supervisor.states().get(name, {}).get("pid")
        if pid:
            processes.send(pid, self.settings.dir, number)

    def halt(self, names: list[str]) -> None:
        """Kill programs with -9 and have them stay down."""
        for name in names:
            self.signal(name, signal.SIGSTOP)
        groups = {program.name: group.name for group in self.plan.groups for program in group.programs}
        with self.stack.supervisor._commands() as commands:
            for name in names:
                commands.stopProcess(f"{groups[name]}:{name}", False)  # noqa: FBT003 - "wait"
        for name in names:
            self.signal(name, signal.SIGKILL)

    def ready(self, seconds: float, but: tuple[str, ...] = ()) -> list[str]:
        """Wait until all programs are ready but those of lost stores; return what is not."""
        gone = {name for store in self.lost for name in self.programs(store)} | {*but}
        waiting = [program for program in self.plan.programs() if program.name not in gone]
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            waiting = [program for program in waiting if not program.ready()]
            time.sleep(0.2 if waiting else 0)
        return [f"{program.name}: {program.explain()}" for program in waiting]

    def sql(self, statement: str, *args: object) -> list[dict[str, Any]]:
        """Run a statement at the first node that answers."""
        for server in self.plan.servers[:3]:
            node: Any = server
            with suppress(pymysql.Error, OSError), node.connect() as connection:
                if node.answers():
                    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
                        cursor.execute(statement, args)
                        return list(cursor.fetchall())
        raise AssertionError("no node of the database answers")

    def roadvault(self, *arguments: str) -> tuple[int, str]:
        """Run the operator's tool; return its exit code, and what it said."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("roadvault")), *arguments],
            env={"PATH": os.environ["PATH"], "COLUMNS": "1000", **self.plan.environments.everything()},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout


@contextmanager
def open_estate(root: Path, stores: int, console: Console) -> Iterator[Estate]:
    """Start everything below `root`, which must be new; stop it at the end."""
    os.environ.update(_ENVIRONMENT)
    settings = _settings(root, stores)
    made = plan.make(settings)
    stack = Stack(settings, console, lambda _: made)
    try:
        stack.up(detach=True)
        yield Estate(settings, made, stack)
    finally:
        stack.down()


def _settings(root: Path, stores: int) -> StackSettings:
    names = [name for name in StackSettings.model_fields if name.endswith("_port") and name != "cluster_port"]
    while True:
        (base,) = pick_free(1)
        ports = dict(zip(names, range(base, base + len(names)), strict=True))
        values = {"folder_bytes": 8 << 20, "folder_age_seconds": 5, "block_seconds": 0.2, "replicas_per_block": 20}
        settings = StackSettings.model_validate({
            "dir": root, "stores": stores, "store_ports": _STEP, "cluster_port": base + len(names), **values, **ports
        })  # fmt: skip
        assert len(names) + CLUSTER_PORTS < _STEP
        if base + (stores + 1) * _STEP < 32_000 and not any(map(accepts, settings.ports().values())):
            return settings


class Clients:
    """Who uploads and asks, and what they were told."""

    def __init__(self, estate: Estate, dice: random.Random, http: aiohttp.ClientSession) -> None:
        self._estate, self._dice, self._http = estate, dice, http
        self.files: dict[int, File] = {}
        self.wrong: list[str] = []
        self.links: dict[int, str] = {}
        self.refused = 0
        self._callbacks = ""

    async def listen(self) -> web.AppRunner:
        """Take callbacks."""
        app = web.Application()
        app.add_routes([web.post("/cb", self._called)])
        runner = web.AppRunner(app)
        await runner.setup()
        (port,) = pick_free(1)
        await web.TCPSite(runner, HOST, port).start()
        self._callbacks = f"http://{HOST}:{port}/cb"
        return runner

    async def _called(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.links[body["fileID"]] = body["fileUrl"]
        return web.Response()

    async def upload_until(self, ended: asyncio.Event) -> None:
        """Upload one file after the other, each until it is acknowledged, or its store is gone."""
        number = 0
        while not ended.is_set():
            store = self._dice.choice(self._estate.stores)
            content = self._dice.randbytes(self._dice.randint(1000, _LARGEST))
            key, number = f"{id(asyncio.current_task())}-{number}", number + 1
            while store not in self._estate.lost and not await self._upload(store, key, content):
                self.refused += 1
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.4)

    async def _upload(self, store: str, key: str, content: bytes) -> bool:
        url = f"{self._estate.ingest(store)}/api/open/upload/{key}.mp4"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.put(url, data=content, headers={"Idempotency-Key": key}) as answer:
                told = await answer.json()
                if answer.status != 200:
                    return False
                file_id = int(told["result"]["fileID"])
                if file_id in self.files:
                    self.wrong.append(f"the number {file_id} was given out twice")
                self.files[file_id] = File(file_id, store, hashlib.sha256(content).hexdigest())
                return True
        return False

    async def ask_until(self, ended: asyncio.Event) -> None:
        """Ask for files now and then, at any store."""
        while not ended.is_set():
            if self.files:
                await self._ask(self._dice.choice(list(self.files)))
            await asyncio.sleep(0.5)

    async def _ask(self, file_id: int) -> bool:
        url = f"{self._estate.ingest(self._dice.choice(self._estate.stores))}/api/open/downFile"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.post(url, json={"fileID": file_id, "cbUrl": self._callbacks}) as answer:
                return answer.status == 200
        return False

    async def see_all(self, lost: set[int], seconds: float) -> None:
        """Ask for every file that was not lost, once more, and compare what comes."""
        wanted = {file_id for file_id in self.files if file_id not in lost}
        for file_id in wanted:
            self.links.pop(file_id, None)
            while not await self._ask(file_id):
                await asyncio.sleep(0.3)
        deadline = time.monotonic() + seconds
        while wanted - self.links.keys() and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
        for file_id in sorted(wanted):
            await self._compare(self.files[file_id])

    async def _compare(self, file: File) -> None:
        link = self.links.get(file.file_id)
        if link is None:
            self.wrong.append(f"file {file.file_id}, uploaded to {file.store}, does not come back")
            return
        async with self._http.get(link) as answer:
            content = await answer.read()
            if answer.status != 200 or hashlib.sha256(content).hexdigest() != file.sha256:
                self.wrong.append(f"file {file.file_id}, uploaded to {file.store}: {answer.status}, other bytes")


Fault = Callable[["Chaos"], Awaitable[str]]


@dataclass
class Chaos:
    """One run."""

    estate: Estate
    dice: random.Random
    say: Callable[[str], None]

    async def node_killed(self) -> str:
        """Kill a node of the database; it comes back with what the others have."""
        name = f"galera-{self.dice.randrange(3)}"
        self.estate.signal(name, signal.SIGKILL)
        return f"{name}, and waited for: {await asyncio.to_thread(self.estate.ready, _READY_SECONDS) or 'well'}"

    async def node_paused(self) -> str:
        """Have a node of the database stand still, longer than the others wait for it."""
        name = f"galera-{self.dice.randrange(3)}"
        await self._pause([name], 12)
        return f"{name}, and waited for: {await asyncio.to_thread(self.estate.ready, _READY_SECONDS) or 'well'}"

    async def redis_killed(self) -> str:
        """Kill one of the two Redis servers, the master or not."""
        name = f"redis-{self.dice.randrange(2)}"
        self.estate.signal(name, signal.SIGKILL)
        await asyncio.sleep(3)
        return name

    async def redis_paused(self) -> str:
        """Have one of them stand still until another is the master."""
        name = f"redis-{self.dice.randrange(2)}"
        await self._pause([name, f"sentinel-{self.dice.randrange(3)}"], 8)
        return name

    async def services_killed(self) -> str:
        """Kill some services, and perhaps a Kubo."""
        names = [name for store in self.estate.stores for name in self.estate.programs(store)]
        names += ["ingest", "packer", "pinner", "retriever", "crust-orderer", "notifier", "ipfs"]
        chosen = self.dice.sample(sorted(set(names)), 3)
        for name in chosen:
            self.estate.signal(name, signal.SIGKILL)
        return ", ".join(chosen)

    async def store_stopped(self) -> str:
        """Have a whole store stand still for longer than any lease."""
        store = self.dice.choice(self.estate.stores[1:])
        await self._pause(self.estate.programs(store), 2 * LEASE_SECONDS)
        return store

    async def store_lost(self) -> str:
        """Lose a store for good, with its disk, and write it off."""
        store = self.dice.choice(self.estate.stores[1:])
        others = [name for name in self.estate.programs(store) if not name.startswith(("crust-orderer", "notifier"))]
        self.estate.halt(others)
        self.estate.lost.add(store)
        await asyncio.to_thread(shutil.rmtree, self.estate.settings.dir / "stores" / store)
        report = self.estate.settings.dir / f"{store}.csv"
        code, said = await asyncio.to_thread(
            self.estate.roadvault, "store", "lost", store, "--to", "main", "--yes", "--report", str(report)
        )
        if code:
            raise AssertionError(f"roadvault store lost {store}: {said}")
        return f"{store}: {len(self.reported())} files were lost with it"

    def reported(self) -> set[int]:
        """Return the files that the reports of lost stores list."""
        found = set[int]()
        for store in self.estate.lost:
            with (self.estate.settings.dir / f"{store}.csv").open(encoding="utf-8-sig", newline="") as file:
                found |= {int(row["fileID"]) for row in csv.DictReader(file) if row["fileID"]}
        return found

    async def _pause(self, names: list[str], seconds: float) -> None:
        for name in names:
            self.estate.signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            for name in names:
                self.estate.signal(name, signal.SIGCONT)


FAULTS: dict[str, Fault] = {
    "kill a node of the database": Chaos.node_killed,
    "stop a store for longer than a lease": Chaos.store_stopped,
    "kill a Redis": Chaos.redis_killed,
    "kill services": Chaos.services_killed,
    "pause a node of the database": Chaos.node_paused,
    "pause a Redis and a Sentinel": Chaos.redis_paused,
}


async def run(estate: Estate, count: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Break things under load, lose a store, wait for quiet; return what was done and what is wrong."""
    dice, chaos, ended = random.Random(seed), Chaos(estate, random.Random(seed + 1), say), asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        clients = Clients(estate, dice, http)
        runner = await clients.listen()
        tasks = [asyncio.create_task(clients.upload_until(ended)) for _ in range(3)]
        tasks.append(asyncio.create_task(clients.ask_until(ended)))
        names = [list(FAULTS)[number % len(FAULTS)] for number in range(count)]
        for number, name in enumerate(names, 1):
            await asyncio.sleep(dice.uniform(0.5, 2))
            say(f"#{number} of {count}  {name}: {await FAULTS[name](chaos)}")
        await asyncio.sleep(2)
        say(f"lose a store: {await chaos.store_lost()}")
        await asyncio.sleep(5)
        ended.set()
        await asyncio.gather(*tasks)
        say(f"load ends: {len(clients.files)} uploads were acknowledged, {clients.refused} tries were not")
        wrong = await asyncio.to_thread(estate.ready, _READY_SECONDS)
        wrong += await _quiet(estate, say)
        lost = chaos.reported()
        await clients.see_all(lost, 90)
        wrong += clients.wrong + _books(estate, clients, lost)
        await runner.cleanup()
    say(f"{len(wrong)} things are wrong" if wrong else "the books are right")
    return {"faults": names, "files": len(clients.files), "lost": len(lost), "wrong": wrong}


async def _quiet(estate: Estate, say: Callable[[str], None]) -> list[str]:
    """Wait until every upload is packed, bought and proven; return what is not."""
    deadline, told = time.monotonic() + _QUIET_SECONDS, 0.0
    waits: list[str] = ["the start"]
    while waits and time.monotonic() < deadline:
        await asyncio.sleep(1)
        waits = await asyncio.to_thread(_waiting, estate)
        if waits and time.monotonic() - told > 15:
            told = time.monotonic()
            say(f"not quiet yet: {'; '.join(waits)}")
    return [f"not quiet: {one}" for one in waits]


def _waiting(estate: Estate) -> list[str]:
    """Return what is not done yet; backoffs are over at once."""
    for stage, table in _TABLES.items():
        estate.sql(
            f"UPDATE {table} SET {stage}_due = UTC_TIMESTAMP(6) WHERE {stage}_token IS NULL"  # noqa: S608 - our own
            f" AND {stage}_due > UTC_TIMESTAMP(6) AND {stage}_attempts > 0"
        )
    counts = {
        "folders not packed": "SELECT COUNT(*) AS n FROM folder_info WHERE status IN (0, 1) AND files > 0",
        "archives not dropped": "SELECT COUNT(*) AS n FROM zip_ipfs_info WHERE kind = 'archive' AND dropped_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM file_upload_info JOIN set_aside_info USING (file_id)"
        " WHERE file_upload_info.zip_id = zip_ipfs_info.zip_id AND lost_at IS NOT NULL)",
        "archives to be fetched back": "SELECT COUNT(*) AS n FROM zip_ipfs_info WHERE restore_due IS NOT NULL",
        "requests": "SELECT COUNT(*) AS n FROM download_info WHERE fetch_due IS NOT NULL OR callback_due IS NOT NULL",
    }
    return [f"{n} {what}" for what, sql in counts.items() if (n := estate.sql(sql)[0]["n"])]


def _books(estate: Estate, clients: Clients, lost: set[int]) -> list[str]:
    """Return what is wrong: failed rows, double payments, files reported as lost that were no lost store's own."""
    wrong: list[str] = []
    for stage, table in _TABLES.items():
        rows = estate.sql(f"SELECT {stage}_reason AS reason FROM {table} WHERE {stage}_failed_at IS NOT NULL")  # noqa: S608
        wrong += [f"{stage} failed: {row['reason']}" for row in rows if "store_lost" not in str(row["reason"])]
    rows = estate.sql("SELECT cid, COUNT(*) AS n FROM order_info WHERE status = 1 GROUP BY cid, term")
    chain = history.read(estate.settings.devnet_port, {row["cid"] for row in rows})
    bought = {row["cid"]: sum(one["n"] for one in rows if one["cid"] == row["cid"]) for row in rows}
    for cid, blocks in chain.purchases.items():
        if len(blocks) != bought.get(cid, 0):
            wrong.append(f"{cid} was paid for {len(blocks)} times, and {bought.get(cid, 0)} are noted")
    if double := [row["cid"] for row in rows if row["n"] > 1]:
        wrong.append(f"bought twice in a term: {double}")
    for file_id in lost:
        file = clients.files.get(file_id)
        if file is not None and file.store not in estate.lost:
            wrong.append(f"file {file_id} is reported as lost, and was uploaded to {file.store}")
    return wrong


def main() -> None:
    """Run it; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="chaos.stores", description=__doc__)
    parser.add_argument("--stores", type=int, default=3)
    parser.add_argument("--faults", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    root, started = Path(tempfile.mkdtemp(prefix="rv-stores-")), time.monotonic()
    root.chmod(0o711)

    def say(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - started:6.1f} s  {text}\n")
        sys.stdout.flush()

    say(f"seed {arguments.seed}")
    with open_estate(root / "stack", arguments.stores, Console(highlight=False)) as estate:
        found = asyncio.run(run(estate, arguments.faults, arguments.seed, say))
    if arguments.report:
        arguments.report.write_text(json.dumps(found, indent=1))
    for one in found["wrong"]:
        say(one)
    if found["wrong"]:
        say(f"what there was lies in {root}")
        sys.exit(1)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
