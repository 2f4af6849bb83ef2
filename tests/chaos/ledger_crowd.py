"""Processes that reserve, write and remove at random on one small disk; some die in the middle.

Run in a mount namespace of its own (`unshare --mount`), with ROADVAULT_DATABASE_URL and ROADVAULT_DATA_DIR in the
environment: mounts a small file system there. Prints how often which outcome came, as JSON.
"""

import asyncio
import json
import os
import random
import secrets
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from chaos.mounts import mount

from roadvault_common.errors import DiskFull, Outage
from roadvault_common.files.ledger import TIDY_SECONDS, Ledger
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.room import Purpose, Reservation, blocks
from roadvault_common.files.vault import Vault
from roadvault_common.settings.config import DatabaseSettings
from roadvault_common.sql.db import Database

DISK_BYTES, MARGIN_BYTES, FOLDER_BYTES, PIECE_BYTES = 48_000_000, 200_000, 10_000_000, 250_000
PROCESSES, TIMES, AT_ONCE, TRIES = 6, 25, 3, 25
DIES_AFTER = 40
"""Things done by the processes with odd numbers."""
_OTHERS = (Purpose.UPLOADS, Purpose.UPLOADS, Purpose.EXTRACTIONS, Purpose.RESTORES)


class Writer:
    """One process: it does `TIMES` things in each of `AT_ONCE` tasks."""

    def __init__(self, ledger: Ledger, vault: Vault, number: int) -> None:
        self.ledger = ledger
        self.vault = vault
        self.number = number
        self.dice = random.Random(number)
        self.outcomes: Counter[str] = Counter()

    async def something(self) -> None:
        purpose, size = self.dice.choice(_OTHERS), self.dice.choice((5_000, 300_000, 2_000_000, 9_000_000))
        path = f"downloads/{self.number}-{secrets.token_hex(4)}"
        file = NewFile(self.vault.root / path)
        try:
            if purpose is Purpose.UPLOADS:
                room = Reservation(purpose, on_disk=lambda: blocks(file.size))
                await self.ledger.grow(room, blocks(size) + self.ledger.way_out(size))
                try:
                    await self.write(file, size)
                finally:
                    self.ledger.end(room, moved=0)
            else:
                async with self.ledger.keep(purpose, blocks(size), file=path):
                    await self.write(file, size)
            self.outcomes["written"] += 1
        except DiskFull as error:
            self.outcomes["refused" if str(error).startswith("no room for") else "overdrawn"] += 1

    async def write(self, file: NewFile, size: int) -> None:
        """Write a part of it or all, have it stay for a moment, and remove it."""
        try:
            for begin in range(0, self.dice.choice((size // 3, size)), PIECE_BYTES):
                await asyncio.to_thread(file.write, bytes(min(PIECE_BYTES, size - begin)))
                await asyncio.sleep(self.dice.random() / 200)
                if self.number % 2 and sum(self.outcomes.values()) >= DIES_AFTER:
                    os.kill(os.getpid(), signal.SIGKILL)
        finally:
            file.discard()

    async def pack(self, folder_id: int) -> None:
        """Pack the folder that waits, and fail at the end: it waits again.

        What uploads have written is on the account and on the disk until they take it off: the packer tries again.
        """
        path = f"archives/{self.number}-{secrets.token_hex(4)}"
        file = NewFile(self.vault.root / path)
        for _ in range(TRIES):
            try:
                async with self.ledger.keep(Purpose.PACKING, FOLDER_BYTES, row=folder_id, file=path):
                    await self.write(file, FOLDER_BYTES)
            except DiskFull as error:
                if not str(error).startswith("no room for"):
                    break
                await asyncio.sleep(TIDY_SECONDS)
            else:
                self.outcomes["packed"] += 1
                return
        self.outcomes["not packed"] += 1

    async def run(self) -> None:
        async def task() -> None:
            for _ in range(TIMES):
                await self.something()

        async def tidy() -> None:  # as each service does
            while True:
                await asyncio.sleep(TIDY_SECONDS)
                with suppress(Outage):
                    await self.ledger.tidy()

        tidying = asyncio.create_task(tidy())
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(task())
            if self.number == 0:
                for _ in range(TIMES):
                    await self.pack(1)
        tidying.cancel()


async def child(number: int, vault: Vault) -> None:
    async with Database.open(DatabaseSettings().database_url) as db:
        writer = Writer(Ledger(db, vault, MARGIN_BYTES), vault, number)
        await writer.run()
    sys.stdout.write(json.dumps(writer.outcomes) + "\n")


async def crowd(vault: Vault) -> Counter[str]:
    """Run the processes, and look at last whether all the room is there for one who asks for it."""
    vault.prepare()
    outcomes: Counter[str] = Counter()

    async def run(number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chaos.ledger_crowd", str(number), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        outcomes["died" if process.returncode == -signal.SIGKILL else f"exit {process.returncode}"] += 1
        if out:
            outcomes.update(json.loads(out))
        for left in vault.root.glob(f"downloads/{number}-*"):  # as its successor does
            left.unlink()

    await asyncio.gather(*(run(number) for number in range(PROCESSES)))
    async with Database.open(DatabaseSettings().database_url) as db:
        ledger, most = Ledger(db, vault, MARGIN_BYTES), vault.free_bytes() - MARGIN_BYTES - FOLDER_BYTES
        async with ledger.keep(Purpose.EXTRACTIONS, most - blocks(1)):
            outcomes["all of it"] += 1
    outcomes["processes left"] = len(list((vault.root / "ledger").glob("process-*"))) - 1
    return outcomes


if __name__ == "__main__":
    directory = Vault(Path(os.environ["ROADVAULT_DATA_DIR"]))
    if len(sys.argv) > 1 and sys.argv[1].isdigit():
        asyncio.run(child(int(sys.argv[1]), directory))
    else:
        mount(directory.root, DISK_BYTES)
        sys.stdout.write(json.dumps(asyncio.run(crowd(directory))) + "\n")
