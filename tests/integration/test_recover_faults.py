"""Recovery that is killed, and recovery of what is not what it says: nothing is half there, and each is named."""

import asyncio
import base64
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from servers_recovery import ARCHIVES, FILES, Archived

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.label import Label, Place
from roadvault_common.errors import IdentityMismatch
from roadvault_common.files.identity import Identity
from roadvault_common.ipfs.path import ARCHIVE, LABEL
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.sql.db import Database
from roadvault_operator.recover.takeover import Takeover
from roadvault_packer.archive import pack
from roadvault_packer.uploads import Upload
from roadvault_stack.kubo import Kubo

WAITS = (
    "SELECT (SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT')"
    " + (SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock')"
)
POLL_SECONDS = 0.2
"""InnoDB shows what it knew before to whoever asks it again within 0.1 s (CACHE_MIN_IDLE_TIME in trx0i_s)."""
NOWHERE = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
FILE_6 = (
    "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id) VALUES (6, '', '', 0, '', 0)"
)
FOLDERS = "INSERT INTO folder_info (folder_id, close_at) VALUES (1, NOW()), (2, NOW()), (3, NOW())"
IDENTITY = "SELECT 1 FROM identity_info FOR UPDATE"


@asynccontextmanager
async def locked(url: str, statement: str) -> AsyncIterator[None]:
    """Hold the locks that a statement takes, and undo it in the end."""
    async with Database.open(url, size=1) as db:
        with pytest.raises(ZeroDivisionError):
            async with db.transaction() as tx:
                await tx.execute(statement)
                yield
                raise ZeroDivisionError


def waits(archived: Archived) -> bool:
    """Tell whether any statement waits for a lock."""
    with archived.mariadb.server.connect(admin=True) as connection, connection.cursor() as cursor:
        cursor.execute(WAITS)
        return bool(cursor.fetchone() != (0,))


async def kill_at_lock(archived: Archived, *arguments: object) -> None:
    """Run the command until it waits for a lock, and kill it there."""
    console = archived.console
    child = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("roadvault"), *map(str, arguments),
        env={"PATH": os.environ["PATH"], **console.environment}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(waits, archived):
                assert child.returncode is None
                await asyncio.sleep(POLL_SECONDS)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()


async def test_one_that_is_killed_at_any_point_is_run_again(archived: Archived) -> None:
    console = archived.console
    await archived.lose_machine()
    there = {}
    for point, statement in {
        "numbers": FILE_6,  # the tables can't be changed meanwhile
        "in the middle of each archive": FOLDERS,
        "in the middle of the last": FILE_6,
        "before the end": IDENTITY,
    }.items():
        async with locked(console.environment["ROADVAULT_DATABASE_URL"], statement):
            await kill_at_lock(archived, "recover", "--cids", archived.listed)
        while await asyncio.to_thread(waits, archived):  # what was killed is still to be undone
            await asyncio.sleep(POLL_SECONDS)
        await Takeover(console.db, console.vault.root).begin({})
        rows = await console.db.fetch_all("SELECT zip_id, files FROM zip_ipfs_info")
        there[point] = len(rows)
        for row in rows:  # each is there with all of its files, or not at all
            count = "SELECT COUNT(*) FROM file_upload_info WHERE zip_id = %s"
            assert await console.db.fetch_value(count, (row["zip_id"],)) == row["files"]
        with pytest.raises(IdentityMismatch, match="was cut off"):  # no service goes on
            await Identity(console.db, console.vault.root).settle()
    assert (there["numbers"], there["in the middle of each archive"], there["before the end"]) == (0, 0, 3)
    await archived.recover("--cids", archived.listed)
    assert await console.db.fetch_all(FILES) == archived.files
    assert await console.db.fetch_all(ARCHIVES) == archived.archives
    await Identity(console.db, console.vault.root).look()


async def test_a_database_that_goes_away_is_told_in_one_line(archived: Archived) -> None:
    console = archived.console
    for table in ("file_tag_info", "file_upload_info", "label_info", "folder_info", "zip_ipfs_info"):
        await console.db.execute(f"DELETE FROM {table}")  # noqa: S608
    async with locked(console.environment["ROADVAULT_DATABASE_URL"], FOLDERS):
        recovering = asyncio.create_task(console.refuses("recover", "--cids", archived.listed, code=3))
        while not (waiting := await asyncio.to_thread(writers_of_folders, archived)):
            assert not recovering.done()
            await asyncio.sleep(0.02)
        with archived.mariadb.server.connect(admin=True) as connection, connection.cursor() as cursor:
            for number in waiting:
                cursor.execute("KILL %s", (number,))
        told = await recovering
    assert told.startswith("roadvault: the database can't do this now: ")
    assert "3 archives recovered" in await archived.recover("--cids", archived.listed)


def writers_of_folders(archived: Archived) -> list[int]:
    """Return the numbers of the connections that are about to write a folder of an archive."""
    name = archived.console.environment["ROADVAULT_DATABASE_URL"].rpartition("/")[2]
    with archived.mariadb.server.connect(admin=True) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db = %s AND command = 'Query'"
            " AND info LIKE 'INSERT INTO folder_info (folder_id, status%%'",
            (name,),
        )
        return [row[0] for row in cursor.fetchall()]


async def test_what_is_not_what_it_says_is_named_and_leaves_nothing(
    archived: Archived, network_kubo: Kubo, tmp_path: Path
) -> None:
    console = archived.console
    console.environment["ROADVAULT_IPFS_STALL_SECONDS"] = "3"
    row = await console.db.fetch_one(
        "SELECT path, label FROM zip_ipfs_info JOIN label_info USING (zip_id) ORDER BY zip_id LIMIT 1"
    )
    assert row is not None
    content, label = (console.vault.root / row["path"]).read_bytes(), Label.parse(row["label"])
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    others = MasterKeys(SecretStr(Fernet.generate_key().decode()))

    def changed(**fields: object) -> bytes:
        return label.model_copy(update=fields).encode()

    again_content, again_label = await packed_again(archived, keys, tmp_path)
    flipped = bytearray(content)
    flipped[label.manifest.offset + 200] ^= 1
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:

        async def put(label: bytes, content: bytes = content, **more: bytes) -> str:
            files = {ARCHIVE: content, LABEL: label, **more}
            return await network.add_directory([New(name, data, None) for name, data in files.items()])

        bad = {
            await put(changed(merkleRoot="0" * 64)): "the files are not those whose Merkle root stands on the label",
            await put(changed(files=3)): "the manifest names 2 files, the label says 3",
            await put(changed(size=label.size - 1)): f"the archive has {label.size} bytes, its label says",
            await put(changed(manifest=Place(offset=32, size=label.manifest.size))): "the manifest can't be read",
            await put(changed(manifest=Place(offset=0, size=1 << 40), size=1 << 41)): "its manifest has 1099511627776",
            await put(changed(iv="0" * 32)): "the manifest can't be read",
            await put(changed(masterKey=others.ids[0])): f"the master key {others.ids[0]} is needed",
            await put(
                changed(key=base64.b64encode(others.seal(bytes(32))).decode())
            ): "the key on the label is damaged",
            await put(label.encode(), bytes(flipped)): "the",
            await put(label.encode(), content[: label.manifest.offset + 9]): "ends at byte",
            await put(label.encode(), more=b"x"): "it is a directory of other things",
            await put(label.encode() + b" "): "a label is not written as labels are",
            await put(b"{}"): "a label can't be read",
            await put(b"l" * 5000): "bytes where there can be",
            await put(again_label, again_content): "file 1 is in archive",
            NOWHERE: "",
            f"{NOWHERE}/../x": "a CID is not version 1",
            "../../../etc/passwd": "a CID is not version 1",
        }
        # What is good comes first; so it is the other of two with the same files that is refused.
        archived.listed.write_text("\n".join(archived.cids))
        await archived.lose_machine()
        await archived.recover("--cids", archived.listed)
        before = await archived.rows()
        archived.listed.write_text("\n".join([*archived.cids, *bad]))
        out = await archived.recover("--cids", archived.listed, code=1)
        for cid in bad:
            await network.unpin(cid) if "/" not in cid else None
    told = [line for line in out.splitlines() if line.startswith("not recovered: ")]
    for cid, why in bad.items():
        assert [line for line in told if line.startswith(f"not recovered: {cid}: ") and why in line], (cid, why, told)
    assert len(told) == len(bad)
    assert f"0 archives recovered, with 0 files; 3 were there already, {len(bad)} things could not" in out
    assert await archived.rows() == before
    assert await console.db.fetch_all(FILES) == archived.files


async def packed_again(archived: Archived, keys: MasterKeys, directory: Path) -> tuple[bytes, bytes]:
    """Return an archive, and its label, that has other bytes under the numbers of the first one's files."""
    uploads = []
    for file in archived.files[:2]:
        (directory / f"{file['file_id']}").write_bytes(b"other")
        digest = hashlib.sha256(b"other").hexdigest()
        name = file["file_name"]
        uploads.append(Upload(file["file_id"], name, 5, digest, f"{file['file_id']}", file["create_time"]))
    target = directory / "1-x.7z.enc"
    done = await asyncio.to_thread(pack, 9, uploads, directory, target, keys, lambda _: None)
    return target.read_bytes(), done.label
