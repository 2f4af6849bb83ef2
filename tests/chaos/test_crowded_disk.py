"""One account of the disk's room: processes on a small disk never overdraw it, and what dies leaves nothing on it."""

from pathlib import Path

import pytest
from chaos.busy_disk import DISK_BYTES, FETCHED, REFUSED, TAKEN_BYTES
from chaos.ledger_crowd import FOLDER_BYTES, PROCESSES, TIMES
from chaos.mounts import on_small_disk
from cryptography.fernet import Fernet

from roadvault_common.sql.db import Database
from roadvault_stack.kubo import Kubo


@pytest.mark.timeout(180)
async def test_processes_that_reserve_write_and_die_never_overdraw(database_url: str, tmp_path: Path) -> None:
    async with Database.open(database_url) as db:
        await db.execute(
            "INSERT INTO folder_info (folder_id, status, files, bytes, close_at)"
            " VALUES (1, 1, 1, %s, UTC_TIMESTAMP(6))",
            (FOLDER_BYTES,),
        )
    report = await on_small_disk("chaos.ledger_crowd", tmp_path, {"ROADVAULT_DATABASE_URL": database_url})
    assert report["died"] == PROCESSES // 2
    assert report["exit 0"] == PROCESSES - report["died"]
    assert "overdrawn" not in report
    # The way out had its room each time, whatever the others did.
    assert ("not packed" in report, report["packed"]) == (False, TIMES)
    assert report["refused"] > 0
    assert report["written"] > report["refused"] / 10
    assert (report["all of it"], report["processes left"]) == (1, 0)


@pytest.mark.timeout(240)
async def test_a_small_disk_on_which_all_are_busy_never_runs_full(
    database_url: str, redis_url: str, kubo: Kubo, tmp_path: Path
) -> None:
    environment = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
        "ROADVAULT_IPFS_RPC_URL": kubo.rpc_url,
        "ROADVAULT_IPFS_GATEWAY_URL": kubo.gateway_url,
        "ROADVAULT_CALLBACK_ALLOW_PRIVATE": "127.0.0.0/8",
        "ROADVAULT_SWEEP_SECONDS": "1",
    }
    report = await on_small_disk("chaos.busy_disk", tmp_path, environment, str(tmp_path))
    assert report["bytes"] >= TAKEN_BYTES
    assert report["fetched"] >= FETCHED
    assert report["answers"]["507"] >= REFUSED
    assert "full" not in report["answers"]
    assert full_in_logs(tmp_path) == []
    assert report["failed"] == []
    assert report["processes"] == 5  # all but the retriever, which was killed at last
    assert report["free"] > DISK_BYTES * 0.9


def full_in_logs(directory: Path) -> list[str]:
    """Return the lines of services' logs that tell of a disk without room for a write."""
    lines = [line for path in directory.glob("*.log") for line in path.read_text().splitlines()]
    return [line for line in lines if "no room on the disk for" in line or "No space left" in line]
