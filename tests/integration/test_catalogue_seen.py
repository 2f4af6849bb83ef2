"""What the operator's commands say of the catalogue, and that its row is taken for no archive."""

import dataclasses

from cryptography.fernet import Fernet
from pydantic import SecretStr
from servers_operator import Console

from roadvault_common.archive import master_keys
from roadvault_common.archive.crypto import MasterKeys

CID = "bafybei" + "c" * 52


async def test_commands_know_the_catalogue_and_take_it_for_no_archive(console: Console) -> None:
    await console.db.execute(
        "UPDATE catalogue_info SET cid = %s, archives = 17, name = 'k51', made_at = '2026-11-27 10:00:00',"
        " publish_due = '2100-01-01'",
        (CID,),
    )
    old = console.environment["ROADVAULT_MASTER_KEYS"]
    zip_id = await console.db.transact(
        lambda tx: tx.insert(
            "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, master_key, iv, size, files, kind, cid, dag_size)"
            " VALUES (0, 'catalogue', '', REPEAT('0', 16), '', 1, 0, 'catalogue', %s, 1)",
            (CID,),
        )
    )
    assert f"catalogue: {CID}, 17 archives, made 2026-11-27 10:00:00 UTC, under k51" in await console.says("status")
    assert CID in await console.says("recovery-sheet", "--text")
    assert "is the catalogue, not an archive" in await console.refuses("archive-key", zip_id)
    await console.says("verify", "--all", "--from", "network")
    new = Fernet.generate_key().decode()
    rotated = dataclasses.replace(console, environment={**console.environment, "ROADVAULT_MASTER_KEYS": f"{new},{old}"})
    assert "print a new recovery sheet" in await rotated.says("rewrap")
    due = await console.db.fetch_value("SELECT publish_due <= UTC_TIMESTAMP(6) FROM catalogue_info")
    assert due
    assert await master_keys.lacking(console.db, MasterKeys(SecretStr(new))) == []
