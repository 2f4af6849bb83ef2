"""The operator's command line, as a process, on real servers."""

from typing import Any

from servers_operator import Console

from roadvault_common.archive.label import Label
from roadvault_common.errors import Domain
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work import outage_store
from roadvault_common.work.outage_store import Away
from roadvault_common.work.outcome import Done
from roadvault_stack.kubo import Kubo


async def test_status_tells_what_there_is(console: Console) -> None:
    await console.archive()
    await console.file()
    await outage_store.note(console.db, "pinner", "here-1", [Away(Domain.NETWORK, "our Kubo has no peer", 300)], 60)
    out = await console.says("status")
    assert "pin " in out
    for expected in ("open", "packed", "not ordered", "dead letters: 0", " free of ", "our Kubo has no peer"):
        assert expected in out
    assert "local copies: 1 archives, 3 uploads" in out
    assert "so far: 3 files, 2 folders, 1 archives" in out
    away = {**console.environment, "ROADVAULT_REDIS_URL": "redis://127.0.0.1:1/0"}
    console.environment = away
    assert "Redis can't be reached" in await console.says("status")


async def test_what_failed_is_seen_and_given_a_new_start(console: Console) -> None:
    assert "nothing has failed" in await console.says("failed")
    await console.file()
    folder_id = await console.file()
    await console.db.execute("UPDATE folder_info SET files = 3")
    await console.packer.packing.work(folder_id)
    out = await console.says("failed", "--stage", "pack")
    assert "pack: 1 failed" in out
    assert "the folder's row counts 3 files, there are 2" in out
    await console.db.execute("UPDATE folder_info SET files = 2")
    assert "pack 99 has not failed" in await console.refuses("retry", "pack", 99)
    assert "there is no stage 'pick'" in await console.refuses("retry", "pick", 1)
    assert "1 rows of pack are due again" in await console.says("retry", "pack", "--all")
    assert await console.packer.packing.work(folder_id) == Done()


async def test_what_goes_round_and_round_is_given_up(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    out = await console.says("give-up", "pack", folder_id, "--reason", "the camera was broken")
    assert f"pack {folder_id} has failed" in out
    row = await console.db.fetch_one("SELECT status, pack_due, pack_token, pack_reason FROM folder_info")
    assert row == {
        "status": 3, "pack_due": None, "pack_token": None,
        "pack_reason": "given up by the operator: the camera was broken [by_a_person]",
    }  # fmt: skip
    assert "waits for nothing" in await console.refuses("give-up", "pack", folder_id, "--reason", "again")
    await console.says("retry", "pack", folder_id)
    assert await console.packer.packing.work(folder_id) == Done()


async def test_open_folders_are_sealed(console: Console) -> None:
    folder_id = await console.file()
    assert f"closed: {folder_id}" in await console.says("seal", "--folder", folder_id)
    assert "is not open" in await console.refuses("seal", "--folder", folder_id)
    assert await console.packer.packing.work(folder_id) == Done()
    assert "no folder was open" in await console.says("seal", "--all")


async def test_dead_letters_are_shown_retried_and_discarded(console: Console) -> None:
    await console.file()
    folder_id = await console.file()
    await console.db.execute("UPDATE folder_info SET files = 3")
    await console.packer.packing.work(folder_id)
    await console.db.execute("UPDATE folder_info SET files = 2")
    await console.bus.dead_letter("folder.sealed", "does not parse", body=FolderSealed(zip_id=7).model_dump_json())
    await console.bus.dead_letter("folder.sealed", "does not parse", body="nonsense")
    out = await console.says("dead-letters")
    assert "3 dead letters" in out
    redis = console.bus._redis
    entries: Any = await redis.xrange("dead-letter")
    row, good, bad = [entry.decode() for entry, _ in entries]
    assert f"pack {folder_id} is due again" in await console.says("dead-letters", "--retry", row)
    assert "was put back on folder.sealed" in await console.says("dead-letters", "--retry", good)
    assert await redis.xlen("folder.sealed") == 1
    assert "still does not parse" in await console.refuses("dead-letters", "--retry", bad)
    await console.says("dead-letters", "--discard", bad)
    assert "there is no dead letter" in await console.refuses("dead-letters", "--discard", bad)
    assert "0 dead letters" in await console.says("dead-letters")


async def test_rot_is_found_and_named(console: Console) -> None:
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    whole = await console.archive()
    assert "2 checked, 0 have no copy there, 0 things are wrong" in await console.says("verify", "--all")
    assert "1 checked, 0 have no copy there" in await console.says("verify", zip_id, "--from", "network")
    assert "0 checked, 1 have no copy there" in await console.says("verify", whole, "--from", "network")
    row = await console.db.fetch_one(
        "SELECT zip.path, file_id, zip_offset FROM file_upload_info AS file JOIN zip_ipfs_info AS zip USING (zip_id)"
        " WHERE zip_id = %s ORDER BY file_id DESC LIMIT 1",
        (whole,),
    )
    assert row is not None
    with (console.vault.root / row["path"]).open("r+b") as file:
        file.seek(row["zip_offset"] + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    code, out, _ = await console.run("verify", zip_id, whole)
    assert code == 1
    assert f"archive {whole}: file {row['file_id']} does not have its SHA-256" in out
    assert "2 checked, 0 have no copy there, 1 things are wrong" in out
    upload = next(path for path in (console.vault.root / "received").rglob("*") if path.is_file())
    upload.write_bytes(b"rot")
    code, out, _ = await console.run("verify", "--uploads")
    assert (code, "4 checked" in out, "upload of file" in out) == (1, True, True)


async def test_a_label_that_is_not_the_archives_is_found(console: Console) -> None:
    zip_id = await console.archive()
    label = Label.parse((await console.db.fetch_all("SELECT label FROM label_info"))[0]["label"])
    assert "1 checked, 0 have no copy there, 0 things are wrong" in await console.says("verify", zip_id)
    for wrong in ({"merkleRoot": "0" * 64}, {"key": f"{'A' * 54}=="}):
        await console.db.execute("UPDATE label_info SET label = %s", (label.model_copy(update=wrong).encode(),))
        code, out, _ = await console.run("verify", zip_id)
        assert (code, f"archive {zip_id}: " in out, "label" in out) == (1, True, True)


async def test_what_the_node_lost_is_added_again(console: Console, kubo: Kubo) -> None:
    zip_id = await console.archive()
    assert "has no CID or no local copy" in await console.refuses("pin-again", zip_id)
    assert await console.pinner.pinning.work(zip_id) == Done()
    row = await console.db.fetch_one("SELECT cid FROM zip_ipfs_info")
    assert row is not None
    async with Ipfs.open(kubo.rpc_url, 30) as ipfs:
        await ipfs.unpin(row["cid"])
        await ipfs.collect_garbage()
    assert "1 archives are due to be pinned again" in await console.says("pin-again", "--all")
    assert await console.pinner.pinning.work(zip_id) == Done()
    assert await console.db.fetch_one("SELECT cid FROM zip_ipfs_info") == row
    assert "1 checked" in await console.says("verify", zip_id, "--from", "network")


async def test_keys_and_migrations(console: Console) -> None:
    zip_id = await console.archive()
    assert "the tables are up to date" in await console.says("migrate")
    assert "openssl enc -d -aes-256-ctr -K" in await console.says("archive-key", zip_id)
    assert "there is no archive 99" in await console.refuses("archive-key", 99)
    assert len((await console.says("new-master-key")).strip()) == 44
    del console.environment["ROADVAULT_DATABASE_URL"]
    assert "ROADVAULT_DATABASE_URL: Field required" in await console.refuses("status")
