"""What a recovery could not bring back: the catalogue that is published next names it all the same, or waits."""

from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY
from servers_estate import FILES, Estate, published

from roadvault_common.archive import local
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord, Head
from roadvault_common.custody import chainer, store
from roadvault_common.files.identity import Identity
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.publishing import import_blocks, resolve
from roadvault_common.ipfs.reading import Reader
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_operator.recover import catalogue as catalogues
from roadvault_pinner.catalogue import before, publishing
from roadvault_pinner.catalogue.ages import measure
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore

THOUSAND = 1000


@dataclass
class Lost:
    """An estate that is lost, with archives in two segments; whose catalogue the network has."""

    estate: Estate
    keys: MasterKeys
    files: list[Row]
    cid: str
    """Of its catalogue."""
    head: Head
    records: dict[int, ArchiveRecord]

    @property
    def cids(self) -> dict[int, str]:
        """Those of all archives, by their numbers."""
        return {number: one.cid for number, one in self.records.items()}

    async def take(self, root: str, cid: str) -> bytes:
        """Have the network's node lose a block, which is below what it pins; return it."""
        network = self.estate.network
        block = await network.call("block/get", {"arg": cid})
        await network.unpin(root)
        assert "Error" not in (await network.call("block/rm", {"arg": cid})).decode()
        return block

    async def give(self, cid: str, block: bytes) -> None:
        await import_blocks(self.estate.network, [(Cid.parse(cid), block)], pin=False)

    async def recover(self, *arguments: str, code: int = 0) -> str:
        ended, out, errors = await self.estate.console.run("recover", *(arguments or ["--catalogue"]))
        assert ended == code, (out, errors)
        return out

    async def publish(self) -> Outcome | None:
        db = self.estate.console.db
        await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
        return await self.estate.console.pinner.publishing.work(1)

    async def newest(self) -> dict[int, ArchiveRecord]:
        """Return what the catalogue names that the name leads to now."""
        console = self.estate.console
        cid = await resolve(self.estate.ours, ipns_name(self.keys))
        async with Reader.open(console.environment["ROADVAULT_IPFS_GATEWAY_URL"], 10) as reader:
            return await self.read(reader, await catalogues.read(reader, cid, self.keys))

    async def read(self, reader: Reader, catalogue: catalogues.Catalogue) -> dict[int, ArchiveRecord]:
        found = [one async for one in catalogue.records(reader, self.keys)]
        return {one.zip_id: one for one in found if isinstance(one, ArchiveRecord)}

    async def measured(self) -> tuple[float | None, float | None]:
        """Return how many archives are left out, and for how long nothing was published, as the metrics have it."""
        await measure(self.estate.console.db)
        names = "roadvault_archives_left_out", "roadvault_catalogue_unpublished_seconds"
        left, waits = (REGISTRY.get_sample_value(name) for name in names)
        return left, waits


@pytest.fixture
async def lost(estate: Estate) -> Lost:
    console = estate.console
    console.environment["ROADVAULT_IPFS_STALL_SECONDS"] = "3"
    await console.db.execute(f"ALTER TABLE zip_ipfs_info AUTO_INCREMENT = {THOUSAND}")
    await published(estate)
    await estate.network.unpin(str(await console.db.fetch_value("SELECT cid FROM catalogue_info")))
    await chainer.chain(console.db)
    await console.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)  # with the custody log
    cid = str(await console.db.fetch_value("SELECT cid FROM catalogue_info"))
    await estate.network.fetch_and_pin(cid, lambda: None)
    keys = console.pinner._keys
    async with Reader.open(console.environment["ROADVAULT_IPFS_GATEWAY_URL"], 10) as reader:
        catalogue = await catalogues.read(reader, cid, keys)
        found = Lost(estate, keys, await console.db.fetch_all(FILES), cid, catalogue.head, {})
        found.records = await found.read(reader, catalogue)
    assert {number // THOUSAND for number in found.records} == {0, 1}
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    return found


async def pinned(lost: Lost) -> int:
    """Have services that run archive something; return the archive's number."""
    console = lost.estate.console
    await console.file()
    assert await console.packer.packing.work(await console.file()) == Done()
    zip_id = int(await console.db.fetch_value("SELECT MAX(zip_id) FROM zip_ipfs_info"))
    assert await console.pinner.pinning.work(zip_id) == Done()
    return zip_id


async def test_an_archive_that_does_not_come_stays_in_the_catalogue_until_it_does(lost: Lost) -> None:
    estate, db = lost.estate, lost.estate.console.db
    missing = {number: lost.cids[number] for number in (1, max(lost.cids))}  # all of one segment, some of another
    blocks = {cid: await lost.take(cid, cid) for cid in missing.values()}
    out = await lost.recover(code=1)
    assert out.count("not recovered: archive ") == 2
    assert await lost.publish() == Done(again_after=1800)
    assert {number: one.cid for number, one in (await lost.newest()).items()} == lost.cids
    assert (await lost.measured())[0] == 2
    assert missing[1] in await estate.console.says("status")
    # Services run by now, and archive something more, before somebody tries again.
    new = await pinned(lost)
    await lost.publish()
    named = await lost.newest()
    assert {number: named[number] for number in missing} == {number: lost.records[number] for number in missing}
    assert set(named) == {*lost.records, new}
    await lost.publish()  # nothing has changed
    assert await db.fetch_value("SELECT COUNT(*) FROM catalogue_pin_info") <= 2

    # From that catalogue everything comes back as well, in a system that is lost once more.
    cid = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    for one in (cid, named[new].cid):
        await estate.network.fetch_and_pin(one, lambda: None)
    await estate.lose(estate.console.environment["ROADVAULT_DATABASE_URL"])
    await lost.recover("--catalogue-cid", cid, code=1)
    for one, block in blocks.items():
        await lost.give(one, block)
    await lost.recover("--catalogue-cid", cid)
    assert (await lost.measured())[0] == 0
    assert [row for row in await db.fetch_all(FILES) if row["zip_id"] in lost.cids] == lost.files
    await lost.publish()
    assert set(await lost.newest()) == set(named)


async def test_local_copies_that_wait_for_the_whole_catalogue_are_not_swept(lost: Lost) -> None:
    db, path = lost.estate.console.db, "archives/90-saved.7z.enc"
    (lost.estate.console.vault.root / path).write_bytes(b"footage")
    segment = lost.head.segments[1].cid
    block = await lost.take(lost.cid, segment)
    reason = "SELECT reason FROM left_out_info WHERE kind = 'copy' AND cid = %s"
    await lost.recover("--catalogue", "--archives", code=1)
    assert await db.fetch_value(reason, (path,)) == "it was not looked at: it waits for the whole catalogue"
    assert await local.named(db, [path]) == {path}
    await lost.give(segment, block)
    await lost.recover("--catalogue", "--archives", code=1)
    assert "it has no label beside it" in str(await db.fetch_value(reason, (path,)))
    assert await lost.publish() == Done(again_after=1800)


async def test_what_nobody_could_read_keeps_the_catalogue_as_it_is_until_it_is_read(lost: Lost) -> None:
    estate, db = lost.estate, lost.estate.console.db
    segment = lost.head.segments[1]
    block = await lost.take(lost.cid, segment.cid)
    await lost.recover(code=1)
    for _ in range(2):
        waits = await lost.publish()
        assert isinstance(waits, Wait)
        assert f"the catalogue's segment {segment.cid}, 1 archives, was not read: " in waits.reason
    await db.execute("UPDATE catalogue_info SET complete_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY")
    left, waited = await lost.measured()
    assert left == 1
    assert waited is not None
    assert waited >= 86_400
    assert await resolve(estate.network, ipns_name(lost.keys)) == lost.cid
    assert segment.cid in await estate.console.says("status")
    await lost.give(segment.cid, block)
    await lost.recover()
    await lost.publish()
    assert {number: one.cid for number, one in (await lost.newest()).items()} == lost.cids
    assert (await lost.measured())[0] == 0


async def test_a_person_gives_up_what_was_left_out(lost: Lost) -> None:
    console = lost.estate.console
    await lost.take(lost.cid, lost.head.segments[1].cid)
    one = lost.records[1]
    await lost.take(one.cid, one.cid)
    await lost.recover(code=1)
    assert "stands alone" in await console.refuses("recover", "--catalogue", "--without", one.cid)
    told = await console.refuses("recover", "--without", one.cid, "--without", lost.cid)
    assert "is not among what was left out: nothing was changed" in told
    assert (await lost.measured())[0] == 2
    said = await console.says("recover", "--without", lost.head.segments[1].cid)
    assert "1 archives are still left out" in said
    assert await lost.publish() == Done(again_after=1800)
    assert set(await lost.newest()) == {number for number in lost.records if number < THOUSAND}
    await console.says("recover", "--without", one.cid)
    for _ in range(2):
        await lost.publish()
    assert 1 not in await lost.newest()
    assert (await lost.measured())[0] == 0
    lines = await console.db.fetch_all("SELECT zip_id, facts FROM custody_info WHERE act = 'given up' ORDER BY line_id")
    assert [line["zip_id"] for line in lines] == [None, 1]
    assert one.cid in lines[1]["facts"]


async def test_a_custody_log_that_does_not_come_is_not_published_anew_from_its_first_line(lost: Lost) -> None:
    estate, db = lost.estate, lost.estate.console.db
    assert lost.head.custody is not None
    async with Reader.open(estate.console.environment["ROADVAULT_IPFS_GATEWAY_URL"], 10) as reader:
        log = str((await catalogues.read(reader, lost.cid, lost.keys)).log)
    block = await lost.take(lost.cid, log)
    assert "not recovered: the custody log: " in await lost.recover(code=1)
    waits = await lost.publish()
    assert isinstance(waits, Wait)
    assert f"the catalogue's custody log {log} was not read: " in waits.reason
    await lost.give(log, block)
    await lost.recover()
    head = await store.head(db)
    assert head is not None
    assert head.size >= lost.head.custody.size
    assert await lost.publish() == Done(again_after=1800)


async def test_a_recovery_that_is_killed_has_forgotten_nothing(lost: Lost) -> None:
    db = lost.estate.console.db
    await lost.recover("--catalogue-cid", lost.cid)
    await left_out.begin(db, lost.head.segments, None)
    waits = await lost.publish()
    assert isinstance(waits, Wait)
    assert "the recovery was cut short" in waits.reason
    await lost.recover("--catalogue-cid", lost.cid)
    assert await lost.publish() == Done(again_after=1800)


async def test_one_whose_number_another_archive_has_is_not_forgotten_for_that(lost: Lost) -> None:
    db = lost.estate.console.db
    await lost.recover()
    other = lost.records[1].model_copy(update={"cid": f"bafy{'a' * 52}"})
    await left_out.end(db, [], {}, [(other, "x")])
    waits = await lost.publish()
    assert isinstance(waits, Wait)
    assert f"a recovery left out archive 1 ({other.cid}), whose number {lost.records[1].cid} has" in waits.reason
    await lost.estate.console.says("recover", "--without", other.cid)
    assert await lost.publish() == Done(again_after=1800)


async def test_a_first_catalogue_takes_the_name_once_it_has_all_archives(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_SEGMENTS_AT_ONCE", 1)
    db = lost.estate.console.db
    await lost.recover()
    assert await lost.publish() == Done(again_after=0)
    assert (await db.fetch_one("SELECT archives, named_at, ordered_at FROM catalogue_info")) == {
        "archives": len(lost.records) - 1, "named_at": None, "ordered_at": None
    }  # fmt: skip
    assert await resolve(lost.estate.network, ipns_name(lost.keys)) == lost.cid
    while await lost.publish() != Done(again_after=1800):
        pass
    assert set(await lost.newest()) == set(lost.records)
    assert (await CatalogueStore(db).ages()).named is not None


async def test_services_that_run_before_any_recovery_don_t_take_the_name_of_the_old_catalogue(lost: Lost) -> None:
    console = lost.estate.console
    await Identity(console.db, console.vault.root).settle()
    await pinned(lost)
    for _ in range(2):
        waits = await lost.publish()
        assert isinstance(waits, Wait)
        assert f"the catalogue {lost.cid}, 3 archives, was not read: our name leads to it" in waits.reason
    assert (await lost.measured())[0] == 3
    assert await resolve(lost.estate.network, ipns_name(lost.keys)) == lost.cid
    await console.says("recover", "--without", lost.cid)
    assert await lost.publish() == Done(again_after=1800)


@pytest.mark.parametrize("there", [True, False])
async def test_a_recovery_from_an_older_catalogue_forgets_no_newer_one_that_somebody_has(
    lost: Lost, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    monkeypatch.setattr(before, "_SECONDS", 2)
    estate, db = lost.estate, lost.estate.console.db
    await lost.recover()
    new = await pinned(lost)
    assert await lost.publish() == Done(again_after=1800)
    newest = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    if there:
        await estate.network.fetch_and_pin(newest, lambda: None)
    await estate.lose(estate.console.environment["ROADVAULT_DATABASE_URL"])
    await lost.recover("--catalogue-cid", lost.cid)
    waits = await lost.publish()
    if there:
        assert isinstance(waits, Wait)
        assert f"the catalogue {newest}, 4 archives, was not read" in waits.reason
        await estate.network.fetch_and_pin(newest, lambda: None)
        await lost.recover("--catalogue-cid", newest, code=1)  # that archive was nowhere but here
        waits = await lost.publish()
    assert waits == Done(again_after=1800)
    assert set(await lost.newest()) == {*lost.cids, *([new] if there else [])}
