"""`roadvault token` and `roadvault user`: what an operator gives and takes."""

import re

from cryptography.fernet import Fernet
from servers_access import Guarded
from servers_operator import Console

from roadvault_common.access.tokens import PREFIX, hash_of


async def test_a_token_is_made_shown_once_listed_and_revoked(console: Console, guarded: Guarded) -> None:
    said = await console.says(
        "token", "create", "dock-1", "--scope", "upload,read", "--camera", "dock-*", "--camera", "gate-7",
        "--expires", "30",
    )  # fmt: skip
    (token,) = re.findall(rf"{PREFIX}[\w-]{{43}}", said)
    row = await console.db.fetch_one("SELECT * FROM token_info")
    assert row is not None
    assert row["hash"] == hash_of(token)
    assert token[4:] not in str(row)
    assert 29 < (row["expires_at"] - row["create_time"]).total_seconds() / 86_400 < 31
    headers = {"Authorization": f"Bearer {token}"}
    assert (await guarded.ask("GET", "/api/open/file/1", headers))[0] == 404
    listed = await console.says("token", "list")
    assert "dock-*, gate-7" in listed
    assert token not in listed
    assert "1 tokens are good now" in listed
    await console.says("token", "revoke", "dock-1")
    assert "revoked" in await console.says("token", "list")
    assert "was revoked on" in await console.refuses("token", "revoke", "dock-1")
    assert "give it another name" in await console.refuses("token", "create", "dock-1", "--scope", "read")
    lines = await guarded.acts()
    assert [(line["kind"], line["act"], line["subject"], line["outcome"]) for line in lines] == [
        ("console", "token created", "dock-1: read, upload", "done"),
        ("console", "token revoked", "dock-1", "done"),
    ]
    assert all("@" in line["name"] for line in lines)


async def test_a_token_that_asks_for_files_has_a_callback_key_that_can_be_rotated(console: Console) -> None:
    assert "it has no key of its own" in await console.says("token", "create", "early", "--scope", "request")
    assert "not set" in await console.refuses("token", "rotate-callback-key", "early")
    console.environment["ROADVAULT_CALLBACK_MASTER_KEYS"] = Fernet.generate_key().decode()
    said = [await console.says("token", "create", "client", "--scope", "request")]
    said += [await console.says("token", "rotate-callback-key", "client", *more) for more in ((), ("--overlap", 0.5))]
    keys = [one for text in said for one in re.findall(r"whsec_[A-Za-z0-9+/]{43}=", text)]
    assert len(set(keys)) == 3
    rows = await console.db.fetch_all(
        "SELECT `key`, until, until - INTERVAL 2 DAY > UTC_TIMESTAMP(6) AS two_days FROM callback_key_info"
        " ORDER BY key_id"
    )
    assert [(row["until"] is None, row["two_days"]) for row in rows] == [(False, 0), (False, 0), (True, None)]
    assert not any(key[6:] in str(rows) for key in keys)
    assert "whsec_" not in await console.says("token", "create", "reader", "--scope", "read")
    await console.says("token", "revoke", "client")
    assert "was revoked" in await console.refuses("token", "rotate-callback-key", "client")


async def test_what_a_token_can_not_be_is_said_in_one_line(console: Console) -> None:
    assert "scopes are" in await console.refuses("token", "create", "a", "--scope", "admin")
    assert "a name has" in await console.refuses("token", "create", "a b", "--scope", "read")
    assert "no host" in await console.refuses(
        "token", "create", "a", "--scope", "request", "--callback-host", "http://c/"
    )
    assert "there is no token" in await console.refuses("token", "revoke", "nobody")
    assert await console.db.fetch_all("SELECT 1 FROM token_info") == []


async def test_what_else_a_person_decides_is_written_down(console: Console, guarded: Guarded) -> None:
    folder = await console.file()
    await console.db.execute(
        "UPDATE folder_info SET status = 3, pack_failed_at = UTC_TIMESTAMP(6) WHERE folder_id = %s", (folder,)
    )
    await console.says("retry", "pack", folder)
    await console.says("give-up", "pack", folder, "--reason", "gone")
    await console.says("retry", "pack", "--all")
    await console.says("retention", "hold", "--file", 1, "--reason", "case 7")
    await console.says("retention", "release", 1, "--reason", "closed")
    assert [(line["act"], line["subject"]) for line in await guarded.acts()] == [
        ("retry", f"pack {folder}"),
        ("given up", f"pack {folder}: gone"),
        ("retry", "pack: 1 rows"),
        ("hold", "hold 1: case 7"),
        ("released", "hold 1: closed"),
    ]
