"""`roadvault status` and `roadvault failed`: what there is to do, and what needs a person."""

import shutil
from typing import Annotated

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.filesize import decimal

from roadvault_common.db import Database
from roadvault_common.errors import brief
from roadvault_common.events import DEAD_LETTERS, EVENTS
from roadvault_common.lease import STAGES, Stage, count_due, count_failed, failures
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import STAGE_HELP, blocking, say, show, stage_named

_FOLDER_STATES = {0: "open", 1: "waits to be packed", 2: "packed", 3: "packing failed"}
_ARCHIVE_STATES = {0: "not ordered", 1: "ordered", 2: "order failed", 3: "live", 4: "expired"}

_TIME = "%Y-%m-%d %H:%M:%S UTC"
_FOLDERS = "SELECT status, COUNT(*) AS n, SUM(files) AS files, SUM(bytes) AS bytes FROM folder_info GROUP BY status"
_ARCHIVES = (
    "SELECT status, COUNT(*) AS n, SUM(size) AS bytes, SUM(path IS NOT NULL) AS kept FROM zip_ipfs_info GROUP BY status"
)


@blocking
async def status() -> None:
    """Show what is due, at work and failed in each stage, folders and archives, streams, and the disk."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        stages = [
            (stage.name, await count_due(db, stage), await _leased(db, stage), await count_failed(db, stage))
            for stage in STAGES
        ]
        folders, archives = await db.fetch_all(_FOLDERS), await db.fetch_all(_ARCHIVES)
    show("Stages (rows, counted up to 10 000)", ("stage", "due", "at work", "failed"), stages)
    show(
        "Folders",
        ("state", "folders", "files", "size"),
        [(_FOLDER_STATES[row["status"]], row["n"], row["files"], decimal(int(row["bytes"]))) for row in folders],
    )
    show(
        "Archives",
        ("order", "archives", "with a local copy", "size"),
        [(_ARCHIVE_STATES[row["status"]], row["n"], row["kept"], decimal(int(row["bytes"]))) for row in archives],
    )
    await _streams()
    _disk()


async def _leased(db: Database, stage: Stage) -> int:
    row = await db.fetch_one(
        f"SELECT COUNT(*) AS n FROM {stage.table} WHERE {stage.column('due')} > UTC_TIMESTAMP(6)"  # noqa: S608 - constants
        f" AND {stage.column('token')} IS NOT NULL"
    )
    return int(row["n"]) if row else 0


async def _streams() -> None:
    url = OperatorSettings().redis_url
    if url is None:
        return
    redis = Redis.from_url(url.get_secret_value(), socket_timeout=5, socket_connect_timeout=3)
    try:
        rows: list[tuple[object, ...]] = []
        for event in EVENTS:
            if not await redis.exists(event.stream):
                continue
            groups = await redis.xinfo_groups(event.stream)
            rows += [(event.stream, group["name"].decode(), group["lag"], group["pending"]) for group in groups]
        show("Streams (events)", ("stream", "heard by", "unread", "not finished"), rows)
        say(f"dead letters: {await redis.xlen(DEAD_LETTERS)}")
    except (RedisError, OSError) as error:
        say(f"Redis can't be reached, events wait for the sweeps: {brief(error)}")
    finally:
        await redis.aclose()


def _disk() -> None:
    root = OperatorSettings().data_dir
    if root is None:
        return
    try:
        usage = shutil.disk_usage(root)
    except OSError as error:
        say(f"the data directory can't be read: {brief(error)}")
        return
    say(f"data directory {root}: {decimal(usage.free)} free of {decimal(usage.total)}")


@blocking
async def failed(
    stage: Annotated[str | None, typer.Option(help=STAGE_HELP)] = None,
    limit: Annotated[int, typer.Option(min=1, help="rows of each stage, the latest first")] = 20,
) -> None:
    """Show what has failed for good, and why."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        count = 0
        for one in [stage_named(stage)] if stage else STAGES:
            rows = await failures(db, one, limit)
            count += len(rows)
            cells = [(row["id"], f"{row['failed_at']:{_TIME}}", row["attempts"], row["reason"]) for row in rows]
            show(f"{one.name}: {await count_failed(db, one)} failed", (one.key, "since", "attempts", "reason"), cells)
    if not count:
        say("nothing has failed")
