"""Two nodes of a cluster are written to for a moment: who commits first has it, and nothing is lost or done twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest
from cryptography.fernet import Fernet
from lease_rows import let_time_pass, new_folder, row
from pydantic import SecretStr
from servers_galera import Galera

from roadvault_common.archive.crypto import MasterKeys, PeriodKey
from roadvault_common.custody import chainer, check, note
from roadvault_common.errors import LeaseLost, PermanentError, TransientError
from roadvault_common.files import identity_store
from roadvault_common.files.identity import Identity
from roadvault_common.files.numbers import keep_ahead
from roadvault_common.files.vault import Vault
from roadvault_common.retention import holding, periods
from roadvault_common.sql.binding import bind
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import ORDER, PACK
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.markets.market import Signed
from roadvault_crust_orderer.store import OrdererStore
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received

ROUNDS = 20
LIMITS = Limits(100, 1 << 40, 86_400)


@pytest.fixture
async def pair(galera: Galera, galera_name: str) -> AsyncIterator[tuple[Database, Database]]:
    """The same database, written to at two nodes."""
    async with Database.open(galera.url(galera_name, 0)) as one, Database.open(galera.url(galera_name, 1)) as other:
        yield one, other


Pair = tuple[Database, Database]


async def archive(db: Database, number: int) -> int:
    return await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, dag_size, order_due)"
            " VALUES (%s, 'a', '', '', 1, 1, %s, 1, UTC_TIMESTAMP(6))",
            (number, f"cid {number}"),
        )
    )


async def test_one_of_two_nodes_claims_each_row(pair: Pair) -> None:
    one, other = pair
    folders = [await new_folder(one) for _ in range(ROUNDS)]
    assert {folder % 3 for folder in folders} == {folders[0] % 3}, "ids have gaps, as wide as there are nodes"
    await other.catch_up()
    claims = await asyncio.gather(*(leases.claim(db, PACK, folder, 60) for folder in folders for db in pair))
    assert [claim.row_id for claim in claims if claim] == folders
    for folder in folders:
        assert (await row(one, folder))["pack_attempts"] == 1


async def close(db: Database, lease: Lease) -> bool:
    try:
        await db.transact(lambda tx: leases.close(tx, lease, Done()))
    except LeaseLost:
        return False
    return True


async def test_an_end_is_written_or_the_lease_has_passed_on(pair: Pair) -> None:
    one, other = pair
    ends = set[bool]()
    for _ in range(ROUNDS):
        folder = await new_folder(one)
        late = await leases.claim(one, PACK, folder, 60)
        assert late is not None
        await let_time_pass(one, folder)
        await other.catch_up()
        closed, second = await asyncio.gather(close(one, late), leases.claim(other, PACK, folder, 60))
        assert closed == (second is None)
        ends.add(closed)
        await one.catch_up()
        assert ((await row(one, folder))["pack_due"] is None) == closed


async def test_what_is_done_under_a_lease_is_not_done_by_two(pair: Pair) -> None:
    """A lock on the row would not hold the other node's claim up."""
    one, other = pair

    async def under(lease: Lease) -> bool:
        async def work(tx: Transaction) -> None:
            await leases.hold(tx, lease)
            await tx.execute(
                "INSERT INTO sweep_info (directory, files, bytes, seen) VALUES (%s, 1, 1, 1)", (lease.row_id,)
            )

        with suppress(LeaseLost):
            await one.transact(work)
            return True
        return False

    for _ in range(ROUNDS):
        folder = await new_folder(one)
        late = await leases.claim(one, PACK, folder, 60)
        assert late is not None
        await let_time_pass(one, folder)
        await other.catch_up()
        done, second = await asyncio.gather(under(late), leases.claim(other, PACK, folder, 60))
        assert done == (second is None)


async def test_no_archive_is_bought_twice_and_no_account_buys_two_at_once(pair: Pair) -> None:
    one, other = pair

    async def buy(db: Database, lease: Lease, account: str) -> bool:
        known = await OrdererStore(db).archive(lease.row_id, "market")
        signed = Signed(account, 1, 10, 20, f"{account} {lease.row_id}", "00")
        return await PurchaseStore(db).record(lease, known, signed, 1, "market") is not None

    for number in range(0, 3 * ROUNDS, 3):
        kept = [await archive(one, number + more) for more in range(3)]
        first, second, third = [lease for zip_id in kept if (lease := await leases.claim(one, ORDER, zip_id, 60))]
        await other.catch_up()
        same = await asyncio.gather(buy(one, first, f"a {number}"), buy(other, first, f"b {number}"))
        assert sorted(same) == [False, True]
        both = await asyncio.gather(buy(one, second, f"c {number}"), buy(other, third, f"c {number}"))
        assert sorted(both) == [False, True]


async def test_an_archive_on_hold_does_not_end_elsewhere(pair: Pair) -> None:
    one, other = pair

    async def shred(zip_id: int) -> bool:
        async def decide(tx: Transaction) -> bool:
            await bind(tx, "zip_ipfs_info", zip_id)
            if await tx.fetch_one("SELECT 1 FROM hold_info WHERE zip_id = %s AND active = 1", (zip_id,)):
                return False
            await tx.execute(
                "INSERT INTO retention_info (zip_id, shredded_at) VALUES (%s, UTC_TIMESTAMP(6))", (zip_id,)
            )
            return True

        return await other.transact(decide)

    async def keep(zip_id: int) -> bool:
        try:
            await holding.hold(one, "evidence", zip_id=zip_id)
        except PermanentError:
            return False
        return True

    for number in range(ROUNDS):
        zip_id = await archive(one, number)
        await other.catch_up()
        kept, ended = await asyncio.gather(keep(zip_id), shred(zip_id))
        assert kept is not ended


async def test_a_period_key_that_wraps_is_not_destroyed_elsewhere(pair: Pair) -> None:
    one, other = pair
    keys = MasterKeys(SecretStr(Fernet.generate_key().decode()))

    async def seal(number: int, key: PeriodKey) -> bool:
        async def write(tx: Transaction) -> None:
            await periods.hold(tx, key.id)
            await tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, master_key, iv, size, files)"
                " VALUES (%s, 'a', '', %s, '', 1, 1)",
                (number, key.id),
            )

        try:
            await one.transact(write)
        except TransientError:
            return False
        return True

    for number in range(ROUNDS):
        key = PeriodKey.new("2020-01")
        await one.transact(lambda tx, key=key: periods.add(tx, keys, key))  # type: ignore[misc]
        await other.catch_up()
        sealed, destroyed = await asyncio.gather(seal(number, key), other.transact(periods.destroy))
        assert sealed == (destroyed == [])


async def test_the_custody_log_is_one_chain_whoever_chains_it(pair: Pair) -> None:
    async def act(db: Database) -> None:
        for _ in range(ROUNDS):
            await db.transact(lambda tx: record(tx, Line(Act.RESTORED, {"to": "here"}, zip_id=1)))
            await chainer.chain_some(db, 3)

    await asyncio.gather(*(act(db) for db in pair))
    one, other = pair
    await one.catch_up()
    await chainer.chain(one)
    rows = await one.fetch_all("SELECT line_id, position FROM custody_info ORDER BY position")
    assert [line["position"] for line in rows] == list(range(2 * ROUNDS))
    await other.catch_up()
    for db in pair:
        assert await check.check(db, 0, 2 * ROUNDS) == []


async def test_marks_that_were_moved_at_another_node_are_waited_for(galera: Galera, pair: Pair, data_dir: Path) -> None:
    """The directory is ahead of a node that is late, and that is no dump that was restored."""
    one, other = pair
    vault = Vault(data_dir)
    vault.prepare()
    await Identity(one, vault.root).settle()
    await Identity(other, vault.root).settle()
    await new_folder(one)
    await one.transact(lambda tx: record(tx, Line(Act.RESTORED, {"to": "here"}, zip_id=1)))
    with galera.nodes[1].server.connect("mysql", admin=True) as late, late.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")  # nothing of what others write gets in
        await Identity(one, vault.root).move_on()
        await chainer.chain(one)
        await note.move_on(one, vault.root)
        noted = note.read(vault.root)
        assert noted is not None
        looks = [
            asyncio.create_task(Identity(other, vault.root).look()),
            asyncio.create_task(note.trouble(other, noted)),
        ]
        await asyncio.wait(looks, timeout=1)
        cursor.execute("UNLOCK TABLES")
    assert await asyncio.gather(*looks) == [None, None]


async def test_numbers_go_on_at_every_node(pair: Pair) -> None:
    one, other = pair
    await new_folder(one)
    await identity_store.make(one, "an identity")
    await one.execute(
        "UPDATE identity_info SET seen_at = UTC_TIMESTAMP(6) - INTERVAL 1000 SECOND,"
        " create_time = UTC_TIMESTAMP(6) - INTERVAL 1 DAY"
    )
    await keep_ahead(one)
    await other.catch_up()
    assert await new_folder(other) > 1000
    assert await new_folder(one) > 1000


async def test_a_commit_under_way_elsewhere_is_decided_before_its_file_goes(
    galera: Galera, galera_name: str, pair: Pair
) -> None:
    """After an answer was lost ingest looks at another node, and there is nothing of what that COMMIT writes."""
    store = IngestStore(pair[1])
    node, late = galera.nodes[0].server, "received/00/late"
    with node.connect(galera_name) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
            " VALUES ('a', '', 1, '', %s, 1)",
            (late,),
        )
        assert await store.find_file(late) is None
        with pytest.raises(pymysql.err.OperationalError, match="1213"):
            cursor.execute("COMMIT")
    # One that has taken place is found, though the other node has not applied it yet.
    for number in range(ROUNDS):
        path = f"received/00/{number}"
        (placed,) = await IngestStore(pair[0]).add_files("slot", [Received("a.mp4", path, 1, "0" * 64)], LIMITS)
        found = await store.find_file(path)
        assert found is not None
        assert found.file_id == placed.file_id
    assert await pair[0].fetch_one("SELECT 1 FROM file_upload_info WHERE path = %s", (late,)) is None
