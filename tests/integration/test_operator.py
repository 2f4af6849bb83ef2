"""The operator's command line, as a process, on real servers."""

from typing import Any

from servers_operator import Desk

from roadvault_common.events import FolderSealed
from roadvault_common.ipfs import Ipfs
from roadvault_common.outcome import Done
from roadvault_stack.kubo import Kubo


async def test_status_tells_what_there_is(desk: Desk) -> None:
    await desk.archive()
    await desk.file()
    out = await desk.says("status")
    assert "pin " in out
    for expected in ("open", "packed", "not ordered", "dead letters: 0", " free of "):
        assert expected in out
    away = {**desk.environment, "ROADVAULT_REDIS_URL": "redis://127.0.0.1:1/0"}
    desk.environment = away
    assert "Redis can't be reached" in await desk.says("status")


async def test_what_failed_is_seen_and_given_a_new_start(desk: Desk) -> None:
    assert "nothing has failed" in await desk.says("failed")
    await desk.file()
    folder_id = await desk.file()
    upload = next(path for path in (desk.vault.root / "received").rglob("*") if path.is_file())
    content = upload.read_bytes()
    upload.write_bytes(b"rot" + content[3:])
    await desk.packer.packing.work(folder_id)
    out = await desk.says("failed", "--stage", "pack")
    assert "pack: 1 failed" in out
    assert "does not have the SHA-256 of its row" in out
    upload.write_bytes(content)
    assert "pack 99 has not failed" in await desk.refuses("retry", "pack", 99)
    assert "there is no stage 'pick'" in await desk.refuses("retry", "pick", 1)
    assert "1 rows of pack are due again" in await desk.says("retry", "pack", "--all")
    assert await desk.packer.packing.work(folder_id) == Done()


async def test_what_goes_round_and_round_is_given_up(desk: Desk) -> None:
    await desk.file()
    folder_id = await desk.file()
    out = await desk.says("give-up", "pack", folder_id, "--reason", "the camera was broken")
    assert f"pack {folder_id} has failed" in out
    row = await desk.db.fetch_one("SELECT status, pack_due, pack_token, pack_reason FROM folder_info")
    assert row == {
        "status": 3, "pack_due": None, "pack_token": None,
        "pack_reason": "given up by the operator: the camera was broken",
    }  # fmt: skip
    assert "waits for nothing" in await desk.refuses("give-up", "pack", folder_id, "--reason", "again")
    await desk.says("retry", "pack", folder_id)
    assert await desk.packer.packing.work(folder_id) == Done()


async def test_open_folders_are_sealed(desk: Desk) -> None:
    folder_id = await desk.file()
    assert f"closed: {folder_id}" in await desk.says("seal", "--folder", folder_id)
    assert "is not open" in await desk.refuses("seal", "--folder", folder_id)
    assert await desk.packer.packing.work(folder_id) == Done()
    assert "no folder was open" in await desk.says("seal", "--all")


async def test_dead_letters_are_shown_retried_and_discarded(desk: Desk) -> None:
    await desk.file()
    folder_id = await desk.file()
    upload = next(path for path in (desk.vault.root / "received").rglob("*") if path.is_file())
    content = upload.read_bytes()
    upload.unlink()
    await desk.packer.packing.work(folder_id)
    upload.write_bytes(content)
    await desk.bus.dead_letter("folder.sealed", "does not parse", body=FolderSealed(zip_id=7).model_dump_json())
    await desk.bus.dead_letter("folder.sealed", "does not parse", body="nonsense")
    out = await desk.says("dead-letters")
    assert "3 dead letters" in out
    redis = desk.bus._redis
    entries: Any = await redis.xrange("dead-letter")
    row, good, bad = [entry.decode() for entry, _ in entries]
    assert f"pack {folder_id} is due again" in await desk.says("dead-letters", "--retry", row)
    assert "was put back on folder.sealed" in await desk.says("dead-letters", "--retry", good)
    assert await redis.xlen("folder.sealed") == 1
    assert "still does not parse" in await desk.refuses("dead-letters", "--retry", bad)
    await desk.says("dead-letters", "--discard", bad)
    assert "there is no dead letter" in await desk.refuses("dead-letters", "--discard", bad)
    assert "0 dead letters" in await desk.says("dead-letters")


async def test_rot_is_found_and_named(desk: Desk) -> None:
    zip_id = await desk.archive()
    assert await desk.pinner.pinning.work(zip_id) == Done()
    whole = await desk.archive()
    assert "2 checked, 0 have no copy there, 0 things are wrong" in await desk.says("verify", "--all")
    assert "1 checked, 0 have no copy there" in await desk.says("verify", zip_id, "--from", "network")
    assert "0 checked, 1 have no copy there" in await desk.says("verify", whole, "--from", "network")
    row = await desk.db.fetch_one(
        "SELECT zip.path, file_id, zip_offset FROM file_upload_info AS file JOIN zip_ipfs_info AS zip USING (zip_id)"
        " WHERE zip_id = %s ORDER BY file_id DESC LIMIT 1",
        (whole,),
    )
    assert row is not None
    with (desk.vault.root / row["path"]).open("r+b") as file:
        file.seek(row["zip_offset"] + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    code, out, _ = await desk.run("verify", zip_id, whole)
    assert code == 1
    assert f"archive {whole}: file {row['file_id']} does not have its SHA-256" in out
    assert "2 checked, 0 have no copy there, 1 things are wrong" in out
    upload = next(path for path in (desk.vault.root / "received").rglob("*") if path.is_file())
    upload.write_bytes(b"rot")
    code, out, _ = await desk.run("verify", "--uploads")
    assert (code, "4 checked" in out, "upload of file" in out) == (1, True, True)


async def test_what_the_node_lost_is_added_again(desk: Desk, kubo: Kubo) -> None:
    zip_id = await desk.archive()
    assert "has no CID or no local copy" in await desk.refuses("pin-again", zip_id)
    assert await desk.pinner.pinning.work(zip_id) == Done()
    row = await desk.db.fetch_one("SELECT cid FROM zip_ipfs_info")
    assert row is not None
    async with Ipfs.open(kubo.rpc_url, 30) as ipfs:
        await ipfs.unpin(row["cid"])
        await ipfs.collect_garbage()
    assert "1 archives are due to be pinned again" in await desk.says("pin-again", "--all")
    assert await desk.pinner.pinning.work(zip_id) == Done()
    assert await desk.db.fetch_one("SELECT cid FROM zip_ipfs_info") == row
    assert "1 checked" in await desk.says("verify", zip_id, "--from", "network")


async def test_keys_and_migrations(desk: Desk) -> None:
    zip_id = await desk.archive()
    assert "the tables are up to date" in await desk.says("migrate")
    assert "openssl enc -d -aes-256-ctr -K" in await desk.says("archive-key", zip_id)
    assert "there is no archive 99" in await desk.refuses("archive-key", 99)
    assert len((await desk.says("new-master-key")).strip()) == 44
    del desk.environment["ROADVAULT_DATABASE_URL"]
    assert "ROADVAULT_DATABASE_URL: Field required" in await desk.refuses("status")
