"""A long run of small things through the real services: memory and open files must stay flat, queues go in order.

`make soak` uploads 10 000 files, packs, pins, brings back and calls back some thousands, works off 100 000 due rows and
100 000 events, on servers of its own, and prints a table.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from chaos.soak_parts import FOLDER_FILES, Part, Result, opened
from cryptography.fernet import Fernet
from free_ports import pick_free
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from servers_process import Running
from servers_services import Service

from roadvault_common.sql.migrate import migrate
from roadvault_stack.kubo import Kubo, KuboPorts
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.redis_server import Redis as RedisServer


async def soak(
    database_url: str, redis_url: str, service: Callable[..., Service], counts: tuple[int, int, int], progress: Progress
) -> tuple[list[Result], list[str]]:
    """Run all parts with so many rows, events and files; return what they used, and what is wrong."""
    rows, events, files = counts
    wrong: list[str] = []
    results: list[Result] = []
    async with opened(database_url, redis_url, service) as it:

        def part(name: str, count: int, *services: Service) -> Part:
            task = progress.add_task(name, total=count)
            return Part(name, count, list(services), lambda amount: progress.advance(task, amount))

        async def run(made: Part, work: Callable[[Part], object]) -> None:
            found = work(made)
            assert asyncio.iscoroutine(found)
            wrong.extend(await found or [])
            results.extend(made.results())

        both = part("files", files, it.ingest), part("archives", files // FOLDER_FILES, it.packer, it.pinner)
        await asyncio.gather(run(both[0], it.files), run(both[1], it.archives))
        await run(part("requests", files // 2, it.retriever, it.notifier), it.requests)
        await run(part("rows due", rows, it.retriever), it.rows)
        await run(part("events", events, it.packer), it.events)
    return results, wrong + [leak for result in results for leak in result.leaks()]


def show(results: list[Result], console: Console) -> None:
    """Print the table."""
    table = Table("part", "count", "seconds", "a second", "memory warm, MB", "at the end", "files warm", "at the end")
    for result in results:
        table.add_row(
            result.name, f"{result.count:,}", f"{result.seconds:.1f}", f"{result.count / result.seconds:.0f}",
            f"{result.warm.memory / 1e6:.1f}", f"{result.end.memory / 1e6:.1f}",
            str(result.warm.files), str(result.end.files),
        )  # fmt: skip
    console.print(table)


async def _main(root: Path, console: Console) -> list[str]:
    made: list[Service] = []
    with ExitStack() as stack, Progress(console=console) as progress:
        mariadb = Running(MariaDB(root / "mariadb", pick_free(1)[0], "soak-password"))
        redis = Running(RedisServer(root / "redis", pick_free(1)[0]))
        kubo = Running(Kubo("ipfs", root / "ipfs", KuboPorts(*pick_free(3)), filestore=True))
        for start, stop in ((mariadb.start, mariadb.stop), (redis.start, redis.stop), (kubo.start, kubo.stop)):
            stack.callback(stop)
            start()
        database_url, redis_url = mariadb.server.url(), redis.server.url()
        await asyncio.to_thread(migrate, database_url)
        (root / "data").mkdir()
        common = {
            "ROADVAULT_DATABASE_URL": database_url,
            "ROADVAULT_REDIS_URL": redis_url,
            "ROADVAULT_DATA_DIR": str(root / "data"),
            "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
            "ROADVAULT_LINK_SECRET": "a secret for signing links",
            "ROADVAULT_PUBLIC_URL": "http://files.example",
            "ROADVAULT_IPFS_RPC_URL": kubo.server.rpc_url,
            "ROADVAULT_IPFS_GATEWAY_URL": kubo.server.gateway_url,
            "ROADVAULT_CALLBACK_ALLOW_PRIVATE": "127.0.0.0/8,::1/128",
        }

        def service(name: str, **settings: object) -> Service:
            own = {f"ROADVAULT_{key.upper()}": str(value) for key, value in settings.items()}
            own["ROADVAULT_HTTP_PORT"] = str(pick_free(1)[0])
            made.append(Service(name, {**common, **own}, root / f"{name}.log"))
            return made[-1]

        try:
            results, wrong = await soak(database_url, redis_url, service, (100_000, 100_000, 10_000), progress)
        finally:
            for one in made:
                if one.process is not None:
                    one.process.kill()
                    await one.process.wait()
    show(results, console)
    return wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rv-soak-") as directory:
        found = asyncio.run(_main(Path(directory), Console(width=140)))
    sys.exit("\n".join(found) or None)
