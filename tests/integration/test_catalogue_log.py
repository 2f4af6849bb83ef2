"""The custody log in the catalogue: what is full stays as it is, and all of it is read with the master key alone."""

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from custody_rows import at_position, fill_log
from pydantic import SecretStr
from servers_names import named_pair
from servers_process import Running

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.log import open_slice, seal_slice
from roadvault_common.catalogue.records import ArchiveRecord, CustodyHead, Head, Sealed
from roadvault_common.custody import accepting, chainer, check, fault_store, note, slices, store, tie, tying
from roadvault_common.custody.check import Checker
from roadvault_common.errors import IntegrityError, PermanentError
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.outcome import Done
from roadvault_operator import custody_copy
from roadvault_operator.recover import catalogue as catalogues
from roadvault_operator.recover import custody_log
from roadvault_pinner.catalogue import log_parts
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo

SLICE, GROUP = 50, 4
COLUMNS = "act, file_id, zip_id, done_at, facts, position, follows, hash"


@pytest.fixture(scope="module")
def nodes(servers_dir: Path) -> Iterator[tuple[Running[Kubo], Running[Kubo]]]:
    with named_pair(servers_dir) as pair:
        yield pair


@dataclass
class Keeper:
    """Who publishes the log, and a stranger with the master key who reads it on another node."""

    db: Database
    keys: MasterKeys
    pinner: Pinner
    reader: Reader
    ipfs: Ipfs
    bus: Bus
    root: Path
    """The data directory."""

    async def publish(self) -> str:
        """Publish a catalogue that has the log as it is now; return its CID."""
        await self.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
        assert isinstance(await self.pinner.publishing.work(1), Done)
        return str(await self.db.fetch_value("SELECT cid FROM catalogue_info"))

    async def parts(self) -> list[Row]:
        return await self.db.fetch_all("SELECT * FROM catalogue_log_info ORDER BY level, number")

    async def act(self, lines: int, facts: str = "") -> None:
        acts = [Line(Act.ASKED, {"by": f"192.0.2.{number % 250}", "for": facts}, 7) for number in range(lines)]
        await self.db.transact(lambda tx: record(tx, *acts))
        await chainer.chain(self.db)

    async def bring_back(self, db: Database, cid: str) -> list[str]:
        catalogue = await catalogues.read(self.reader, cid, self.keys)
        assert catalogue.head.custody is not None
        return await custody_log.bring_back(db, catalogue, self.reader, self.keys)

    async def head(self, cid: str) -> Head:
        return (await catalogues.read(self.reader, cid, self.keys)).head

    async def files(self, cid: str) -> int:
        """Return what a catalogue says of the archive: how many files it has."""
        catalogue = await catalogues.read(self.reader, cid, self.keys)
        (record,) = [one async for one in catalogue.records(self.reader, self.keys)]
        assert isinstance(record, ArchiveRecord)
        return record.files

    async def lines(self, db: Database) -> list[Row]:
        return await db.fetch_all(f"SELECT {COLUMNS} FROM custody_info ORDER BY position")  # noqa: S608


@pytest.fixture
async def keeper(
    db: Database,
    database_url: str,
    redis_url: str,
    data_dir: Path,
    nodes: tuple[Running[Kubo], Running[Kubo]],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Keeper]:
    monkeypatch.setattr(log_parts, "SLICE_LINES", SLICE)
    monkeypatch.setattr(log_parts, "GROUP_SLICES", GROUP)
    keys, ours, network = MasterKeys(SecretStr(key := Fernet.generate_key().decode())), nodes[0].server, nodes[1].server
    common = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": key}
    async with (
        Bus.open(SecretStr(redis_url), "test") as bus,
        Ipfs.open(ours.rpc_url, 30) as ipfs,
        Reader.open(network.gateway_url, 30) as reader,
    ):
        await Identity(db, data_dir).settle()
        await db.execute(
            "INSERT INTO zip_ipfs_info (zip_id, folder_id, zip_name, `key`, iv, size, files, dag_size, format, cid)"
            " VALUES (1, 1, 'a', 'k', %s, 1, 1, 1, 2, 'bafy1')",
            ("00" * 16,),
        )
        settings = PinnerSettings.model_validate(common)
        yield Keeper(db, keys, Pinner(settings, db, bus, Vault(data_dir), keys, ipfs), reader, ipfs, bus, data_dir)


async def test_its_own_purchase_alone_is_no_reason_for_another_one(keeper: Keeper) -> None:
    await keeper.act(1)
    first = await keeper.publish()
    zip_id = await keeper.db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE folder_id = 0")
    bought = Line(Act.BOUGHT, {"order": 1, "cid": first}, None, zip_id)
    await keeper.db.transact(lambda tx: record(tx, bought))
    await chainer.chain(keeper.db)
    assert await keeper.publish() == first
    await keeper.act(1)
    assert await keeper.publish() != first
    custody = await keeper.db.fetch_value("SELECT custody FROM catalogue_info")
    assert tie.Root.read(custody).size == await keeper.db.fetch_value("SELECT COUNT(*) FROM custody_info")


async def test_what_is_full_is_not_written_again_and_all_comes_back(
    keeper: Keeper, another_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_log(keeper.db, 420)
    first = await keeper.publish()
    before = await keeper.parts()
    assert [(row["level"], row["number"], row["last"]) for row in before] == [
        *[(0, number, SLICE * (number + 1)) for number in range(8)], (1, 0, 200), (1, 1, 400)
    ]  # fmt: skip
    exported = list[tuple[int, int]]()
    export = slices.export

    async def counted(db: Database, low: int, high: int) -> bytes:
        exported.append((low, high))
        return await export(db, low, high)

    monkeypatch.setattr(slices, "export", counted)
    await keeper.act(60)
    second = await keeper.publish()
    assert exported == [(400, 450), (450, 480)]
    assert [row for row in await keeper.parts() if row["number"] < 8] == before
    exported.clear()
    await keeper.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6)")
    await keeper.pinner.publishing.work(1)
    assert exported == []  # nothing has changed

    async with Database.open(another_database_url) as fresh:
        assert await keeper.bring_back(fresh, first) == []
        assert (await store.head(fresh)).size == 420  # type: ignore[union-attr]
        for _ in range(2):  # a newer one goes on where that ended, in the middle of a slice
            assert await keeper.bring_back(fresh, second) == []
            assert await keeper.lines(fresh) == await keeper.lines(keeper.db)
            assert await tying.root(fresh) == await tying.root(keeper.db)
        await fresh.transact(lambda tx: record(tx, Line(Act.ADOPTED, {}, zip_id=1)))
        await chainer.chain(fresh)
        assert await keeper.bring_back(fresh, second) == []  # what came behind stays
        assert (await store.head(fresh)).size == 481  # type: ignore[union-attr]


async def test_a_log_that_has_other_lines_is_left_alone_and_told(keeper: Keeper, another_database_url: str) -> None:
    await fill_log(keeper.db, 100)
    cid = await keeper.publish()
    async with Database.open(another_database_url) as fresh:
        await fresh.transact(lambda tx: record(tx, Line(Act.ADOPTED, {}, zip_id=1)))
        await chainer.chain(fresh)
        (told,) = await keeper.bring_back(fresh, cid)
        assert "run it again before any service does" in told
        assert len(await keeper.lines(fresh)) == 1


async def test_lines_that_are_too_long_and_too_many_for_a_publication_come_in_more_of_them(
    keeper: Keeper, another_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seal(number: int, content: bytes, keys: MasterKeys) -> Sealed | None:
        return seal_slice(number, content, keys) if gzip.decompress(content).count(b"\n") <= 30 else None

    monkeypatch.setattr(log_parts, "seal_slice", seal)
    monkeypatch.setattr(log_parts, "_LINES_AT_ONCE", 100)
    await fill_log(keeper.db, 300)
    cid = await keeper.publish()
    lasts = [row["last"] for row in await keeper.parts() if row["level"] == 0]
    assert lasts == [25, 50, 75]  # and an open one
    async with Database.open(another_database_url) as fresh:
        assert await keeper.bring_back(fresh, cid) == [
            "the custody log: 100 lines are here; there were 300 when the catalogue was made"
        ]
        for _ in range(3):
            await keeper.act(1)
            cid = await keeper.publish()
        assert await keeper.bring_back(fresh, cid) == []
        assert await keeper.lines(fresh) == await keeper.lines(keeper.db)


async def cut(db: Database, size: int) -> None:
    """Cut off the log's tail, with care: its head says so, too."""
    last = (await at_position(db, size - 1))["hash"]
    await db.execute("DELETE FROM custody_info WHERE position >= %s", (size,))
    await db.execute("DELETE FROM custody_node_info WHERE (number + 1) << level > %s", (size,))
    await db.execute("UPDATE custody_head_info SET size = %s, hash = %s", (size, last))


async def rewrite(db: Database, first: int) -> None:
    """Hash everything anew from a line on, which is changed: each line by itself, and the head, fit together."""
    rows = await db.fetch_all("SELECT * FROM custody_info WHERE position >= %s ORDER BY position", (first,))
    await cut(db, first)
    acts = [Line(Act(row["act"]), {"by": "nobody"}, row["file_id"], row["zip_id"]) for row in rows]
    await db.transact(lambda tx: record(tx, *acts))
    await chainer.chain(db)


async def drop(db: Database, position: int) -> None:
    await db.execute("DELETE FROM custody_info WHERE position = %s", (position,))


async def change(db: Database, position: int) -> None:
    await db.execute("UPDATE custody_info SET facts = '{}' WHERE position = %s", (position,))


@pytest.mark.parametrize("position", [70, 310])
@pytest.mark.parametrize("spoil", [cut, rewrite, drop, change])
async def test_what_was_published_of_the_log_is_not_taken_back_until_a_person_accepts_it(
    keeper: Keeper, another_database_url: str, spoil: Callable[[Database, int], Awaitable[None]], position: int
) -> None:
    db = keeper.db
    await fill_log(db, 320)
    first = await keeper.publish()
    was = (await keeper.head(first)).custody
    before = await keeper.lines(db)
    await note.move_on(db, keeper.root)
    await spoil(db, position)
    await keeper.act(1)
    for times in range(3):
        await db.execute("UPDATE zip_ipfs_info SET files = %s", (7 + times,))
        second = await keeper.publish()
        assert second != first
        head = (await keeper.head(second)).custody
        if times == 0:  # before anybody has checked; then the checker has found it, and another look at all
            if position == 70 and spoil in {drop, change}:  # of a slice that is published the lines are not read again
                assert (head.size, head.root) == (321, (await tying.root(db)).root)  # type: ignore[union-attr]
                was = head
            await Checker(db, keeper.bus, keeper.root).sweep()
        assert (head, await keeper.files(second)) == (was, 7 + times)
        if times == 1:
            assert await check.check_all(db, None, lambda _: None)
    assert await fault_store.count_faults(db) > 0
    async with Database.open(another_database_url) as fresh:
        assert await keeper.bring_back(fresh, second) == []
        assert (await keeper.lines(fresh))[:320] == before
    assert await keeper.publish() == second  # nothing is new that may be published

    await accepting.accept(db, keeper.root, "a dump was restored")
    await chainer.chain(db)
    third = await keeper.publish()
    assert (await keeper.head(third)).custody == CustodyHead(**(await tying.root(db)).model_dump())  # type: ignore[union-attr]
    assert await check.published(db) is None
    await keeper.act(1)
    await db.execute("UPDATE zip_ipfs_info SET files = 11")
    await keeper.publish()
    assert await fault_store.count_faults(db) == 0
    await cut(db, (await store.head(db)).size - 1)  # type: ignore[union-attr]
    assert await check.published(db) is not None  # what was accepted is not a licence for more


async def blur(db: Database, position: int) -> None:
    await db.execute("UPDATE custody_info SET facts = 'x\n\"' WHERE position = %s", (position,))


async def move(db: Database, position: int) -> None:
    """Have a line be of another file."""
    await db.execute("UPDATE custody_info SET file_id = 8, zip_id = NULL WHERE position = %s", (position,))


async def rehash(db: Database, position: int) -> None:
    await db.execute("UPDATE custody_info SET hash = REPEAT('x', 32) WHERE position = %s", (position,))


async def drop_the_last(db: Database, _: int) -> None:
    """Cut the tail off, without care: the head says what there was."""
    await db.execute("DELETE FROM custody_info WHERE position >= 347")


async def drop_some(db: Database, position: int) -> None:
    await db.execute("DELETE FROM custody_info WHERE position BETWEEN %s AND %s", (position, position + 3))


@pytest.mark.parametrize("position", [70, 330])
@pytest.mark.parametrize("spoil", [change, drop, blur, move, rehash, drop_the_last, drop_some])
async def test_the_published_log_goes_on_behind_what_a_person_accepted_and_names_it(
    keeper: Keeper, another_database_url: str, spoil: Callable[[Database, int], Awaitable[None]], position: int
) -> None:
    db = keeper.db
    await fill_log(db, 320)
    await keeper.publish()
    await keeper.act(30)
    await spoil(db, position)
    found = [fault.position for fault in await check.check_all(db, None, lambda _: None)]
    assert found
    await keeper.publish()
    await accepting.accept(db, keeper.root, "a dump was restored")
    await db.transact(lambda tx: record(tx, Line(Act.RECEIVED, {}, 500)))
    await keeper.act(3)
    for more in (1, 60):
        await keeper.act(more)
        cid = await keeper.publish()
        root = await tying.root(db)
        assert root is not None
        assert (await keeper.head(cid)).custody == CustodyHead(**root.model_dump())
    custody = await db.fetch_value("SELECT custody FROM catalogue_info")
    named = tie.Published.read(custody).accepted
    assert named is not None
    assert all(any(first <= one <= last for first, last in named) for one in found)

    # Nothing more is found; what is changed after that is.
    await check.check_all(db, None, lambda _: None)
    assert await fault_store.count_faults(db) == 0
    await Checker(db, keeper.bus, keeper.root).sweep()
    assert await fault_store.count_faults(db) == 0

    assert root is not None
    # A file that came since is tied to the head, and so are all others, up to what can't be proven any more.
    for file_id in range(1, 101):
        tied = await tying.tie(db, file_id, None, root)
        if tied.chains:
            tie.check(tied, file_id, None)
    (chain,) = (await tying.tie(db, 500, None, root)).chains
    assert len(chain.lines) == 1

    # The master key alone brings all of it back, which is known to be accepted there, and goes on.
    async with Database.open(another_database_url) as fresh:
        assert await keeper.bring_back(fresh, cid) == []
        there, here = await keeper.lines(fresh), await keeper.lines(db)
        if spoil is blur and position == 330:
            assert there[position]["act"] == Act.LOST.value
        accepted = await fault_store.accepted(db, 0, 1 << 40)  # a slice of before has what was there
        assert [row["position"] for row in there if row not in here and row["position"] not in accepted] == []
        assert len(there) == len(here)
        await check.check_all(fresh, None, lambda _: None)
        assert await fault_store.count_faults(fresh) == 0
        await fresh.transact(lambda tx: record(tx, Line(Act.ASKED, {}, 7)))
        await chainer.chain(fresh)
        await check.check_all(fresh, None, lambda _: None)
        assert await fault_store.count_faults(fresh) == 0
    behind = min(position + 2, 345) if spoil is not drop_some else position + 5
    await change(db, behind)
    await check.check_all(db, None, lambda _: None)
    assert [row["position"] for row in await fault_store.faults(db, 99) if row["accepted_at"] is None] == [behind]


@pytest.mark.parametrize("spoil", [drop, change])
async def test_a_line_that_nobody_has_checked_yet_is_found_before_it_is_published(
    keeper: Keeper, spoil: Callable[[Database, int], Awaitable[None]]
) -> None:
    db = keeper.db
    await fill_log(db, 120)
    first = await keeper.publish()
    await keeper.act(200)
    await spoil(db, 130)
    second = await keeper.publish()
    assert (await keeper.head(second)).custody == (await keeper.head(first)).custody
    assert [row["position"] for row in await fault_store.faults(db, 9)] == [130]
    with pytest.raises(PermanentError, match="not what was chained, at position 130"):
        await custody_copy.save(db, keeper.root, lambda _: None)


async def test_of_a_damaged_log_a_node_that_has_lost_its_store_gets_what_is_known_to_have_been_published(
    keeper: Keeper, another_database_url: str
) -> None:
    db = keeper.db
    await fill_log(db, 320)
    await keeper.publish()
    before = await keeper.lines(db)
    await rewrite(db, 170)
    await keeper.ipfs.unpin(str(await db.fetch_value("SELECT cid FROM catalogue_info")))
    await keeper.ipfs.collect_garbage()
    await db.execute("UPDATE zip_ipfs_info SET files = 7")
    cid = await keeper.publish()
    async with Database.open(another_database_url) as fresh:
        assert await keeper.bring_back(fresh, cid) == [
            "the custody log: 150 lines are here; there were 320 when the catalogue was made"
        ]
        assert await keeper.lines(fresh) == before[:150]


async def test_of_a_log_that_was_accepted_with_other_lines_all_of_these_are_published(
    keeper: Keeper, another_database_url: str
) -> None:
    db = keeper.db
    await fill_log(db, 320)
    await keeper.publish()
    await rewrite(db, 170)
    await accepting.accept(db, keeper.root, "a dump was restored")
    await chainer.chain(db)
    cid = await keeper.publish()
    assert [(row["level"], row["last"]) for row in await keeper.parts()] == [
        *[(0, SLICE * (number + 1)) for number in range(6)], (1, 200)
    ]  # fmt: skip
    async with Database.open(another_database_url) as fresh:
        assert await keeper.bring_back(fresh, cid) == []
        assert await keeper.lines(fresh) == await keeper.lines(db)


async def test_a_slice_that_is_missing_or_another_is_found(keeper: Keeper) -> None:
    await fill_log(keeper.db, 170)
    cid = await keeper.publish()
    catalogue = await catalogues.read(keeper.reader, cid, keeper.keys)
    contents = [content async for content in catalogue.slices(keeper.reader, keeper.keys)]
    assert len(contents) == 4
    rows = [row for row in await keeper.parts() if row["level"] == 0]
    with pytest.raises(IntegrityError, match="damaged, or is another part"):
        open_slice(1, await catalogue._block(keeper.reader, Cid.parse(rows[0]["cid"])), keeper.keys)
    for block in (b"{}", json.dumps(contents[0].hex()).encode()):
        with pytest.raises(IntegrityError):
            open_slice(0, block, keeper.keys)
    assert all(keeper.keys.ids[0] == row["master_key"] for row in rows)
