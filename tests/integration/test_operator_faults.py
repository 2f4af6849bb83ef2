"""The operator's command line when things are wrong: one clear line, no traceback, and nothing found is lost."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from servers_operator import Desk

from roadvault_common import lease as leases
from roadvault_common import repair
from roadvault_common.lease import PACK


async def test_a_row_whose_worker_died_is_given_up(desk: Desk) -> None:
    await desk.file()
    folder_id = await desk.file()
    assert await leases.claim(desk.db, PACK, folder_id, 600) is not None
    assert "is worked on right now" in await desk.refuses("give-up", "pack", folder_id, "--reason", "x")
    await desk.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE folder_id = %s", (folder_id,))
    assert "has failed" in await desk.says("give-up", "pack", folder_id, "--reason", "it kills the packer")


async def test_retrying_all_ends_though_rows_fail_again_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_AT_ONCE", 2)
    folders = []
    for _ in range(5):
        await desk.file()
        folders.append(await desk.file())
        assert await repair.give_up(desk.db, PACK, folders[-1], "x")
    retried = []
    async for folder_id in repair.failed_so_far(desk.db, PACK):
        retried.append(folder_id)
        assert await repair.retry(desk.db, PACK, folder_id)
        assert await repair.give_up(desk.db, PACK, folder_id, "again")
    assert retried == folders
    assert "5 rows of pack are due again" in await desk.says("retry", "pack", "--all")


async def test_a_reason_with_brackets_is_shown_as_it_is(desk: Desk) -> None:
    await desk.file()
    folder_id = await desk.file()
    await repair.give_up(desk.db, PACK, folder_id, "[/tmp/a] is [bold] missing")
    await desk.bus.dead_letter("pack", "[/tmp/a] is [bold] missing", row=folder_id)
    await desk.bus._redis.xadd("dead-letter", {b"letter": b"{}"})
    for command in ("failed", "dead-letters"):
        assert "[/tmp/a] is [bold] missing" in await desk.says(command)


async def test_dead_letters_that_say_too_little_are_refused(desk: Desk) -> None:
    assert "no dead letter" in await desk.refuses("dead-letters", "--discard", "nonsense")
    redis = desk.bus._redis
    await redis.xadd("dead-letter", {b"letter": b'{"source": "pack", "reason": "x"}'})
    entries: Any = await redis.xrange("dead-letter")
    entry = entries[0][0].decode()
    assert "names no row of pack" in await desk.refuses("dead-letters", "--retry", entry)
    assert "not both" in await desk.refuses("dead-letters", "--retry", entry, "--discard", entry)
    assert "no dead letter" in await desk.refuses("dead-letters", "--discard", entry.partition("-")[0])
    assert await redis.xlen("dead-letter") == 1


async def test_urls_that_are_none_are_refused_before_anything_is_changed(desk: Desk) -> None:
    await desk.file()
    good = dict(desk.environment)
    desk.environment["ROADVAULT_REDIS_URL"] = "http://:hush-hush@nowhere"
    for command in (("status",), ("dead-letters",), ("seal", "--all")):
        errors = await desk.refuses(*command)
        assert "ROADVAULT_REDIS_URL: must look like redis://" in errors
        assert "hush-hush" not in errors
    assert await desk.db.fetch_one("SELECT status FROM folder_info") == {"status": 0}
    desk.environment = {**good, "ROADVAULT_DATABASE_URL": "mysql://someone:hush/hush@127.0.0.1/none"}
    for command in (("status",), ("migrate",)):
        errors = await desk.refuses(*command)
        assert "ROADVAULT_DATABASE_URL must look like" in errors
        assert "hush" not in errors


@pytest.mark.parametrize("command", [("status",), ("migrate",)])
async def test_database_away(desk: Desk, command: tuple[str, ...]) -> None:
    desk.environment["ROADVAULT_DATABASE_URL"] = "mysql://someone:hush-hush@127.0.0.1:1/none"
    assert "hush-hush" not in await desk.refuses(*command)


@pytest.mark.parametrize("command", [("status",), ("migrate",)])
async def test_database_refuses(desk: Desk, command: tuple[str, ...]) -> None:
    url = desk.environment["ROADVAULT_DATABASE_URL"]
    desk.environment["ROADVAULT_DATABASE_URL"] = url.rsplit("/", 1)[0] + "/nothere"
    await desk.refuses(*command)
    desk.environment["ROADVAULT_DATABASE_URL"] = "mysql://someone:hush-hush@" + url.split("@")[1]
    assert "hush-hush" not in await desk.refuses(*command)


async def test_no_tables(desk: Desk) -> None:
    await desk.db.execute("RENAME TABLE zip_ipfs_info TO gone")
    try:
        await desk.refuses("status")
    finally:
        await desk.db.execute("RENAME TABLE gone TO zip_ipfs_info")


async def test_one_bad_archive_hides_no_other(desk: Desk) -> None:
    first, second, third = [await desk.archive() for _ in range(3)]
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET `key` = %s WHERE zip_id = %s", (Fernet.generate_key().decode(), first)
    )
    await desk.db.execute("UPDATE zip_ipfs_info SET path = '../../x' WHERE zip_id = %s", (second,))
    code, out, _ = await desk.run("verify", "--all")
    assert code == 1
    assert f"archive {first}: " in out
    assert f"archive {second}: " in out
    assert "2 things are wrong" in out
    assert "there is no archive 99; nothing was read" in await desk.refuses("verify", first, 99)
    await desk.db.execute("UPDATE file_upload_info SET path = '../../y' LIMIT 1")
    code, out, _ = await desk.run("verify", "--uploads")
    assert (code, "1 things are wrong" in out) == (1, True)
    assert "not both" in await desk.refuses("verify", third, "--all")


async def test_bad_master_keys(desk: Desk) -> None:
    desk.environment["ROADVAULT_MASTER_KEYS"] = "hush"
    assert "hush" not in await desk.refuses("verify", "--all")
