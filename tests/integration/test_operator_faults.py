"""The operator's command line when things are wrong: one clear line, no traceback, and nothing found is lost."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from servers_operator import Console

from roadvault_common.work import lease as leases
from roadvault_common.work import repair
from roadvault_common.work.stages import PACK


async def test_a_row_whose_worker_died_is_given_up(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    assert await leases.claim(console.db, PACK, folder_id, 600) is not None
    assert "is worked on right now" in await console.refuses("give-up", "pack", folder_id, "--reason", "x")
    await console.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE folder_id = %s", (folder_id,))
    assert "has failed" in await console.says("give-up", "pack", folder_id, "--reason", "it kills the packer")


async def test_retrying_all_ends_though_rows_fail_again_at_once(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_AT_ONCE", 2)
    folders = []
    for _ in range(5):
        await console.file()
        folders.append(await console.file())
        assert await repair.give_up(console.db, PACK, folders[-1], "x")
    retried = []
    async for failed in repair.failed_so_far(console.db, PACK):
        folder_id = failed["id"]
        retried.append(folder_id)
        assert await repair.retry(console.db, PACK, folder_id)
        assert await repair.give_up(console.db, PACK, folder_id, "again")
    assert retried == folders
    assert "5 rows of pack are due again" in await console.says("retry", "pack", "--all")


async def test_a_reason_with_brackets_is_shown_as_it_is(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    await repair.give_up(console.db, PACK, folder_id, "[/tmp/a] is [bold] missing")
    await console.bus.dead_letter("pack", "[/tmp/a] is [bold] missing", row=folder_id)
    await console.bus._redis.xadd("dead-letter", {b"letter": b"{}"})
    for command in ("failed", "dead-letters"):
        assert "[/tmp/a] is [bold] missing" in await console.says(command)


async def test_nothing_that_others_said_steers_the_terminal(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    hostile = "[red]\x1b]0;owned\x07\x9b31m\u202e\u061c"
    await repair.give_up(console.db, PACK, folder_id, hostile)
    await console.bus.dead_letter(hostile, hostile, row=folder_id, body=hostile)
    for command in ("failed", "dead-letters", "status"):
        out = await console.says(command)
        assert out.replace("\n", "").isprintable()
        assert command == "status" or "[red]\ufffd]0;owned\ufffd\ufffd31m\ufffd\ufffd" in out
    for argument in (f"--stage={hostile}", f"--limit={hostile}"):
        _, out, errors = await console.run("failed", argument)
        assert (out + errors).replace("\n", "").isprintable()


async def test_dead_letters_that_say_too_little_are_refused(console: Console) -> None:
    assert "no dead letter" in await console.refuses("dead-letters", "--discard", "nonsense")
    redis = console.bus._redis
    await redis.xadd("dead-letter", {b"letter": b'{"source": "pack", "reason": "x"}'})
    entries: Any = await redis.xrange("dead-letter")
    entry = entries[0][0].decode()
    assert "names no row of pack" in await console.refuses("dead-letters", "--retry", entry)
    assert "not both" in await console.refuses("dead-letters", "--retry", entry, "--discard", entry)
    assert "no dead letter" in await console.refuses("dead-letters", "--discard", entry.partition("-")[0])
    assert await redis.xlen("dead-letter") == 1


async def test_urls_that_are_none_are_refused_before_anything_is_changed(console: Console) -> None:
    await console.file()
    good = dict(console.environment)
    console.environment["ROADVAULT_REDIS_URL"] = "http://:hush-hush@nowhere"
    for command in (("status",), ("dead-letters",), ("seal", "--all")):
        errors = await console.refuses(*command)
        assert "ROADVAULT_REDIS_URL: must look like redis://" in errors
        assert "hush-hush" not in errors
    assert await console.db.fetch_one("SELECT status FROM folder_info") == {"status": 0}
    console.environment = {**good, "ROADVAULT_DATABASE_URL": "mysql://someone:hush/hush@127.0.0.1/none"}
    for command in (("status",), ("migrate",)):
        errors = await console.refuses(*command)
        assert "ROADVAULT_DATABASE_URL must look like" in errors
        assert "hush" not in errors


@pytest.mark.parametrize("command", [("status",), ("migrate",)])
async def test_database_away(console: Console, command: tuple[str, ...]) -> None:
    console.environment["ROADVAULT_DATABASE_URL"] = "mysql://someone:hush-hush@127.0.0.1:1/none"
    assert "hush-hush" not in await console.refuses(*command, code=3)


@pytest.mark.parametrize("command", [("status",), ("migrate",)])
async def test_database_refuses(console: Console, command: tuple[str, ...]) -> None:
    url = console.environment["ROADVAULT_DATABASE_URL"]
    console.environment["ROADVAULT_DATABASE_URL"] = url.rsplit("/", 1)[0] + "/nothere"
    await console.refuses(*command, code=3)
    console.environment["ROADVAULT_DATABASE_URL"] = "mysql://someone:hush-hush@" + url.split("@")[1]
    assert "hush-hush" not in await console.refuses(*command, code=3)


async def test_no_tables(console: Console) -> None:
    await console.db.execute("RENAME TABLE zip_ipfs_info TO gone")
    try:
        await console.refuses("status")
    finally:
        await console.db.execute("RENAME TABLE gone TO zip_ipfs_info")


async def test_one_bad_archive_hides_no_other(console: Console) -> None:
    first, second, third = [await console.archive() for _ in range(3)]
    await console.db.execute(
        "UPDATE zip_ipfs_info SET `key` = %s WHERE zip_id = %s", (Fernet.generate_key().decode(), first)
    )
    await console.db.execute("UPDATE zip_ipfs_info SET path = '../../x' WHERE zip_id = %s", (second,))
    code, out, _ = await console.run("verify", "--all")
    assert code == 1
    assert f"archive {first}: " in out
    assert f"archive {second}: " in out
    assert "2 things are wrong" in out
    assert "there is no archive 99; nothing was read" in await console.refuses("verify", first, 99)
    await console.db.execute("UPDATE file_upload_info SET path = '../../y' LIMIT 1")
    code, out, _ = await console.run("verify", "--uploads")
    assert (code, "1 things are wrong" in out) == (1, True)
    assert "not both" in await console.refuses("verify", third, "--all")


async def test_bad_master_keys(console: Console) -> None:
    console.environment["ROADVAULT_MASTER_KEYS"] = "hush"
    assert "hush" not in await console.refuses("verify", "--all")
