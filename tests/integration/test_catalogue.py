"""The catalogue on two real IPFS nodes: published on ours, read on the other with the master key alone."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from servers_names import named_pair
from servers_process import Running
from servers_session import wait_until_connected

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.catalogue.records import CUSTODY, HEAD, SEGMENTS, ArchiveRecord, Head, open_head, open_segment
from roadvault_common.custody import chainer, tying
from roadvault_common.errors import IpfsUnavailable
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.retention import holding
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.outcome import Done, Outcome, Retry
from roadvault_pinner.catalogue import publishing
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo

LATER = Done(again_after=1800)
NODES = tuple[Running[Kubo], Running[Kubo]]


@pytest.fixture(scope="module")
def nodes(servers_dir: Path) -> Iterator[NODES]:
    with named_pair(servers_dir) as pair:
        yield pair


@dataclass
class Office:
    """A pinner that publishes on our node, and a stranger with the master key who asks the other one."""

    db: Database
    pinner: Pinner
    ipfs: Ipfs
    key: str
    http: aiohttp.ClientSession
    make: Callable[[str], Pinner]
    """Makes a pinner that has certain master keys."""

    @property
    def keys(self) -> MasterKeys:
        return MasterKeys(SecretStr(self.key))

    async def archive(self, zip_id: int, **columns: object) -> None:
        values = {
            "zip_id": zip_id, "folder_id": zip_id, "zip_name": f"{zip_id}.7z.enc", "key": self.keys.wrap(bytes(32)),
            "master_key": self.keys.ids[0], "iv": "00" * 16, "size": 1000, "files": 2, "dag_size": 1100, "format": 2,
            "cid": f"bafy{zip_id}", **columns,
        }  # fmt: skip
        names, marks = ", ".join(f"`{name}`" for name in values), ", ".join(["%s"] * len(values))
        await self.db.execute(f"INSERT INTO zip_ipfs_info ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608

    async def publish(self, pinner: Pinner | None = None) -> Outcome | None:
        await self.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6) WHERE publish_token IS NULL")
        return await (pinner or self.pinner).publishing.work(1)

    async def state(self) -> Row:
        row = await self.db.fetch_one("SELECT * FROM catalogue_info")
        assert row is not None
        return row

    async def segments(self) -> dict[int, str]:
        rows = await self.db.fetch_all("SELECT number, cid FROM catalogue_segment_info")
        return {row["number"]: row["cid"] for row in rows}

    async def pinned(self) -> set[str]:
        answer = await self.ipfs.call("pin/ls", {"type": "recursive"})
        return set(answer.decode().split('"')) & {row["cid"] for row in await self.made()}

    async def act(self) -> None:
        """Have a line more in the custody log."""
        await self.db.transact(lambda tx: record(tx, Line(Act.ASKED, {"by": "192.0.2.7"}, 1)))
        await chainer.chain(self.db)

    async def public(self, name: str) -> bytes:
        """Return what stands there for everybody, as the other node has it."""
        return await self.ask("cat", arg=f"/ipfs/{(await self.state())['cid']}/{name}")

    async def made(self) -> list[Row]:
        return await self.db.fetch_all("SELECT cid FROM catalogue_pin_info")

    async def ask(self, call: str, **query: str) -> bytes:
        """Ask the other node."""
        async with self.http.post(f"/api/v0/{call}", params=query) as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def read(self, keys: MasterKeys | None = None) -> tuple[Head, dict[int, ArchiveRecord]]:
        """Read all of the newest catalogue on the other node, with the master keys and nothing else."""
        keys = keys or self.keys
        path = json.loads(await self.ask("name/resolve", arg=ipns_name(keys), nocache="true"))["Path"]
        head = open_head(await self.ask("cat", arg=f"{path}/{HEAD}"), keys)
        records = [
            record
            for link in head.segments
            for record in open_segment(link, await self.ask("cat", arg=f"{path}/{SEGMENTS}/{link.number}"), keys)
        ]
        return head, {record.zip_id: record for record in records}


@pytest.fixture
async def office(database_url: str, redis_url: str, data_dir: Path, nodes: NODES) -> AsyncIterator[Office]:
    key = Fernet.generate_key().decode()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(database_url))
        bus = await stack.enter_async_context(Bus.open(SecretStr(redis_url), "test"))
        ipfs = await stack.enter_async_context(Ipfs.open(nodes[0].server.rpc_url, 30))
        http = await stack.enter_async_context(aiohttp.ClientSession(nodes[1].server.rpc_url))
        await Identity(db, data_dir).settle()
        common = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir}

        def make(keys: str) -> Pinner:
            settings = PinnerSettings.model_validate({**common, "master_keys": keys})
            return Pinner(settings, db, bus, Vault(data_dir), MasterKeys(settings.master_keys), ipfs)

        yield Office(db, make(key), ipfs, key, http, make)


async def test_a_stranger_with_the_master_key_finds_every_archive(office: Office) -> None:
    await office.archive(1, format=1)
    await office.archive(999)
    await office.archive(1000, pinned_at="2026-11-27 10:00:00")
    await office.archive(2500, cid=None)  # not on IPFS yet
    for term, status in ((1, 1), (2, 1), (3, 0)):
        await office.db.execute(
            "INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"
            " era_birth, era_death, extrinsic_hash, extrinsic, price, block) VALUES"
            " (999, %s, '5F', '0xab', NULL, %s, 'bafy999', 1, 0, 1, 65, %s, '0xabcd', 2000000000123, 17)",
            (term, status, f"0x{term}"),
        )
    assert await office.publish() == LATER
    head, records = await office.read()
    assert list(records) == [1, 999, 1000]
    assert [link.number for link in head.segments] == [0, 1]
    row = await office.db.fetch_one("SELECT `key` FROM zip_ipfs_info WHERE zip_id = 1")
    assert row is not None
    assert (records[1].key, records[1].master_key, records[999].key) == (row["key"], office.keys.ids[0], None)
    bought = records[999].purchase
    assert bought is not None
    assert (bought.term, bought.extrinsic_hash, bought.price, bought.block) == (2, "0x2", "2000000000123", 17)
    first = records[999].first
    assert first is not None
    assert (first.term, first.extrinsic_hash, first.extrinsic) == (1, "0x1", "0xabcd")
    assert (head.given_out.zip_id, head.given_out.order_id, head.account, head.market) == (2500, 3, "5F", "0xab")
    state = await office.state()
    assert (state["archives"], state["name"]) == (3, ipns_name(office.keys))


async def test_of_a_change_only_its_segment_is_written_anew(office: Office) -> None:
    for zip_id in (1, 1001, 2001):
        await office.archive(zip_id)
    await office.publish()
    before, first = await office.segments(), await office.state()
    assert await office.publish() == LATER
    assert (await office.state())["cid"] == first["cid"]  # nothing has changed
    await office.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6), checked_at = UTC_TIMESTAMP(6)")
    assert await office.publish() == LATER
    assert (await office.state())["cid"] == first["cid"]  # nothing that it says
    await office.db.execute("UPDATE zip_ipfs_info SET expired_on = 77, status = 3 WHERE zip_id = 1001")
    await office.archive(2500)
    assert await office.publish() == LATER
    after = await office.segments()
    assert (after[0], after[1]) == (before[0], before[1])  # that it ends then was said of no purchase
    assert after[2] != before[2]
    assert set((await office.read())[1]) == {1, 1001, 2001, 2500}
    assert len(await office.pinned()) == 2  # the newest, and the one that is ordered
    assert await office.db.fetch_value("SELECT COUNT(*) FROM zip_ipfs_info WHERE catalogue_stale = 1") == 0


STEPS = {
    publishing: ("import_blocks", "publish_name"),
    CatalogueStore: ("note_pin", "hold", "write", "note_catalogued", "order", "superseded", "close"),
}


@pytest.mark.parametrize("after", [False, True])
async def test_cut_short_anywhere_the_name_says_a_whole_catalogue(
    office: Office, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    await office.archive(1)
    await office.publish()
    archives = {1}
    for where, step in ((where, step) for where, steps in STEPS.items() for step in steps):
        before = set(archives)
        archives.add(max(archives) + 1000)
        await office.archive(max(archives))
        with monkeypatch.context() as patch:
            patch.setattr(where, step, cut(getattr(where, step), after=after))
            assert isinstance(await office.publish(), Retry), step
        assert set((await office.read())[1]) in (before, archives), step
        assert await office.publish() == LATER
        assert set((await office.read())[1]) == archives
    newest = (await office.state())["cid"]
    await office.db.execute("UPDATE catalogue_info SET ordered_at = NULL")
    await office.publish()  # it is ordered now, and none else is to be kept
    assert await office.pinned() == {newest} == {row["cid"] for row in await office.made()}


def cut(whole: Callable[..., Awaitable[object]], *, after: bool) -> Callable[..., Awaitable[None]]:
    """Return a step that ends with an error, before it is done or just after."""

    async def step(*args: object, **more: object) -> None:
        if after:
            await whole(*args, **more)
        raise IpfsUnavailable("cut short")

    return step


async def test_the_custody_log_is_tied_to_what_is_ordered(office: Office) -> None:
    await office.archive(1)
    await office.act()
    await office.publish()
    first = await office.state()
    assert first["custody"] == await office.public(CUSTODY)
    head, _ = await office.read()
    assert head.custody is not None
    assert json.loads(first["custody"]) == head.custody.model_dump() == (await tying.root(office.db)).model_dump()  # type: ignore[union-attr]
    (kept,) = await office.db.fetch_all("SELECT custody, node FROM catalogue_order_info JOIN zip_ipfs_info USING (cid)")
    assert kept == {"custody": first["custody"], "node": first["node"]}
    assert Cid.parse(first["cid"]).fits(first["node"])
    await office.act()
    assert await office.publish() == LATER
    assert (await office.state())["cid"] == first["cid"]  # the log alone waits for the next order
    await office.db.execute("UPDATE catalogue_info SET ordered_at = UTC_TIMESTAMP(6) - INTERVAL 25 HOUR")
    assert await office.publish() == LATER
    second = await office.state()
    assert json.loads(second["custody"])["size"] == 2
    assert await office.db.fetch_value("SELECT cid FROM zip_ipfs_info WHERE folder_id = 0") == second["cid"]


async def test_two_pinners_publish_one_at_a_time(office: Office) -> None:
    await office.archive(1)
    other = office.make(office.key)
    await office.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6)")
    outcomes = await asyncio.gather(*(pinner.publishing.work(1) for pinner in (office.pinner, other) * 3))
    assert sorted(outcomes, key=repr) == [LATER, *[None] * 5]
    assert len(await office.made()) == 1


async def test_a_repository_that_was_lost_has_it_again(office: Office, nodes: NODES) -> None:
    for zip_id in (1, 1001):
        await office.archive(zip_id)
    await office.publish()
    before = await office.segments()
    ours, other = nodes
    ours.stop()
    shutil.rmtree(ours.server.home)
    other.stop()
    shutil.rmtree(other.server.home)
    for node in nodes:
        node.start()
    wait_until_connected(ours.server)
    with pytest.raises(AssertionError, match="could not resolve"):
        await office.read()
    assert await office.publish() == LATER
    assert set((await office.read())[1]) == {1, 1001}
    assert await office.segments() == before  # the same bytes


async def test_a_new_first_master_key_seals_all_of_it_and_has_a_name_of_its_own(office: Office) -> None:
    for zip_id in (1, 1001):
        await office.archive(zip_id)
    await office.publish()
    key = Fernet.generate_key().decode()
    assert await office.publish(office.make(f"{key},{office.key}")) == LATER
    assert set((await office.read(MasterKeys(SecretStr(key))))[1]) == {1, 1001}
    assert set((await office.read())[1]) == {1, 1001}  # the name of before stays with what it said


async def test_holds_are_in_it_as_long_as_they_are_in_force(office: Office) -> None:
    for zip_id in (1, 2, 3):
        await office.archive(zip_id)
    await office.publish()
    before, state = await office.segments(), await office.state()
    _, records = await office.read()
    assert records[1].holds is None
    await holding.hold(office.db, "case 7", zip_id=1)
    await office.db.execute(
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id)"
        " VALUES (5, 'a', '', 1, '', 2, 2)"
    )
    await holding.hold(office.db, "case 8", file_id=5)
    await office.publish()
    _, records = await office.read()
    held = [(one.hold_id, one.file_id, one.reason) for zip_id in (1, 2) for one in records[zip_id].holds or ()]
    assert held == [(1, None, "case 7"), (2, 5, "case 8")]
    assert (records[3].holds, (await office.state())["cid"] == state["cid"]) == (None, False)
    for number in (1, 2):
        await holding.release(office.db, number, "over")
    await office.publish()
    assert await office.segments() == before  # the same bytes as ever: who reads it may be from before holds


async def test_more_holds_than_there_is_room_for_are_counted(office: Office) -> None:
    await office.archive(1)
    for reasons in (1, 500):
        await office.db.execute("DELETE FROM hold_info")
        await office.db.execute(
            "INSERT INTO hold_info (zip_id, reason) SELECT 1 + seq DIV 20, LEFT(CONCAT(SHA2(seq, 512), SHA2(-seq, 512),"
            " SHA2(2 * seq, 512), SHA2(3 * seq, 512)), %s) FROM seq_0_to_9999",
            (reasons,),
        )
        for zip_id in range(2, 501):
            if reasons == 1:
                await office.archive(zip_id)
        await office.db.execute("UPDATE zip_ipfs_info SET catalogued = NULL")
        assert await office.publish() == LATER
        _, records = await office.read()
        found = {(len(record.holds or ()), record.more_holds) for record in records.values()}
        assert found == ({(16, 4)} if reasons == 1 else {(0, 20)})
        assert len(records) == 500


async def test_what_is_put_on_hold_while_a_segment_is_read_is_published_next(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.archive(1)
    note = CatalogueStore.note_catalogued

    async def meanwhile(store: CatalogueStore, fresh: Mapping[int, str]) -> None:
        await holding.hold(office.db, "case 7", zip_id=1)
        await note(store, fresh)

    with monkeypatch.context() as patch:
        patch.setattr(CatalogueStore, "note_catalogued", meanwhile)
        await office.publish()
    assert (await office.read())[1][1].holds is None
    await office.db.execute("UPDATE catalogue_segment_info SET checked_at = '2100-01-01'")
    assert await CatalogueStore(office.db).stale(9) == [0]
    await office.publish()
    assert (await office.read())[1][1].holds is not None
