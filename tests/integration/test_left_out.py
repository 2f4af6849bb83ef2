"""What a recovery could not bring back: the catalogue that is published next names it all the same, or waits."""

from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import AsyncMock

import dumps
import pytest
from prometheus_client import REGISTRY
from servers_estate import FILES, Estate, published

from roadvault_common.archive import local
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import MOST_HOLDS, ArchiveRecord, Head, Hold
from roadvault_common.custody import chainer, store
from roadvault_common.errors import IdentityMismatch, IpfsUnavailable, PermanentError
from roadvault_common.files import identity_store
from roadvault_common.files.identity import Identity
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.publishing import import_blocks, resolve
from roadvault_common.ipfs.reading import Reader
from roadvault_common.retention import asking, holding
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


async def test_a_recovery_that_was_cut_short_is_not_ended_by_a_smaller_one(lost: Lost) -> None:
    console, db = lost.estate.console, lost.estate.console.db
    segment = lost.head.segments[1]
    block = await lost.take(lost.cid, segment.cid)
    await identity_store.make(db, "")
    await left_out.begin(db, lost.head.segments, None)
    for _ in range(2):
        refused = await console.run("recover", "--received")
        assert refused[0] == 1
        assert "has not read 2 parts of a catalogue, with 3 archives, " in refused[2]
        with pytest.raises(IdentityMismatch, match=r"run `roadvault recover` again until its end; nothing is served"):
            await Identity(db, console.vault.root).settle()
    await lost.recover("--catalogue-cid", lost.cid, code=1)  # what could not be read is told, and waited for
    await Identity(db, console.vault.root).settle()
    await lost.give(segment.cid, block)
    await lost.recover("--catalogue-cid", lost.cid)
    assert await db.fetch_all(FILES) == lost.files


async def test_what_was_cut_short_and_given_up_is_waited_for_no_more(lost: Lost) -> None:
    console, db = lost.estate.console, lost.estate.console.db
    await identity_store.make(db, "")
    await left_out.begin(db, lost.head.segments[:1], None)
    await console.says("recover", "--without", lost.head.segments[0].cid)
    await console.says("recover", "--received")
    await Identity(db, console.vault.root).settle()


async def held_and_lost(lost: Lost) -> str:
    """Put archive 1 on hold, and lose all but the catalogue, and the archive itself; return the catalogue's CID."""
    console = lost.estate.console
    await lost.recover()
    await holding.hold(console.db, "case 77", zip_id=1)
    await lost.publish()
    newest = str(await console.db.fetch_value("SELECT cid FROM catalogue_info"))
    await lost.estate.network.fetch_and_pin(newest, lambda: None)
    await lost.estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    return newest


HOLDS = "SELECT zip_id, reason FROM hold_info WHERE active = 1"


async def test_holds_of_what_is_left_out_are_in_force_and_outlive_an_older_catalogue(lost: Lost) -> None:
    console, db, one = lost.estate.console, lost.estate.console.db, lost.cids[1]
    newest = await held_and_lost(lost)
    block = await lost.take(one, one)
    for cid in (newest, newest, lost.cid):
        out = await lost.recover("--catalogue-cid", cid, code=1)
        assert await db.fetch_all(HOLDS) == [{"zip_id": 1, "reason": "case 77"}]
    assert "on hold again" not in out  # by the first of them it was
    (noted,) = await left_out.records(db, 1, 2)
    assert [hold.reason for hold in noted.holds or ()] == ["case 77"]
    assert "case 77" in await console.says("retention", "list")
    assert (told := await console.run("retention", "allow"))[0] == 1
    assert "1 archives are left out of a recovery: the keys of periods stay" in told[1]
    await db.execute("UPDATE catalogue_info SET follows = %s", (newest,))
    assert await lost.publish() == Done(again_after=1800)
    held = (await lost.newest())[1].holds
    assert held is not None
    await lost.give(one, block)
    await lost.recover("--catalogue-cid", lost.cid)
    assert await db.fetch_all(HOLDS) == [{"zip_id": 1, "reason": "case 77"}]
    assert await left_out.count(db) == 0


async def test_an_older_record_takes_the_place_of_no_newer_one(lost: Lost) -> None:
    db, later = lost.estate.console.db, lost.head.made + timedelta(days=1)
    holds = [Hold(hold_id=number, reason=f"case {number}", made=lost.head.made) for number in range(1, MOST_HOLDS + 3)]
    new = lost.records[1].model_copy(update={"ends": later, "holds": holds[:MOST_HOLDS], "more_holds": 1})
    old = lost.records[1].model_copy(update={"holds": holds[-4:]})
    for first, second in (((new, later), (old, lost.head.made)), ((old, lost.head.made), (new, later))):
        await db.execute("DELETE FROM left_out_info")
        for record, made in (first, second):
            await left_out.end(db, [], {}, [(record, "x")], made)
        (noted,) = await left_out.records(db, 1, 2)
        assert (noted.ends, noted.holds, noted.more_holds) == (later, holds[:MOST_HOLDS], 3)


async def test_holds_follow_an_archive_that_comes_back_under_another_number(lost: Lost) -> None:
    db, number = lost.estate.console.db, max(lost.cids)
    one = lost.cids[number]
    await lost.recover()
    await holding.hold(db, "case 77", zip_id=number)
    await lost.publish()
    newest = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    await lost.estate.network.fetch_and_pin(newest, lambda: None)
    await lost.estate.lose(lost.estate.console.environment["ROADVAULT_DATABASE_URL"])
    block = await lost.take(one, one)
    await lost.recover("--catalogue-cid", newest, code=1)
    await lost.give(one, block)
    cids = lost.estate.console.vault.root / "cids"
    cids.write_text(f"{one}\n")
    await lost.recover("--cids", str(cids))
    zip_id = await db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE cid = %s", (one,))
    assert zip_id != number
    assert await db.fetch_all(HOLDS) == [{"zip_id": zip_id, "reason": "case 77"}]
    assert await left_out.count(db) == 0


async def test_holds_that_a_killed_recovery_had_only_noted_are_not_forgotten_by_an_older_catalogue(lost: Lost) -> None:
    db = lost.estate.console.db
    hold = Hold(hold_id=7, reason="case 77", made=lost.head.made)
    await left_out.end(db, [], {}, [(lost.records[1].model_copy(update={"holds": [hold]}), "x")], lost.head.made)
    await lost.recover("--catalogue-cid", lost.cid)
    assert await db.fetch_all(HOLDS) == [{"zip_id": 1, "reason": "case 77"}]
    assert await left_out.count(db) == 0


async def test_what_is_on_hold_is_given_up_by_name_alone(lost: Lost) -> None:
    console, one = lost.estate.console, lost.cids[1]
    newest = await held_and_lost(lost)
    await lost.take(one, one)
    await lost.recover("--catalogue-cid", newest, code=1)
    code, out, _ = await console.run("recover", "--without", one)
    assert code == 1
    assert "is on hold: hold 1, 'case 77'" in out
    assert "nothing but its record in the catalogue has the key that opens it" in out
    assert await left_out.count(console.db) == 1
    await console.says("recover", "--without", one, "--yes")
    assert await left_out.count(console.db) == 0


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


@pytest.mark.parametrize("adopted", [True, False])
@pytest.mark.parametrize("stale", [True, False])
async def test_a_restored_dump_leaves_the_name_to_the_catalogue_that_is_newer(
    lost: Lost, *, adopted: bool, stale: bool
) -> None:
    estate, console, db = lost.estate, lost.estate.console, lost.estate.console.db
    await lost.recover()
    assert await lost.publish() == Done(again_after=1800)
    await console.says("retention", "allow", "--yes")
    url, stamp = console.environment["ROADVAULT_DATABASE_URL"], console.vault.root / "identity.json"
    dumped, stamped = await dumps.dump(url), stamp.read_bytes()
    new = await pinned(lost)
    await holding.hold(db, "case 77", zip_id=1)
    assert await lost.publish() == Done(again_after=1800)
    newest = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    for one in (newest, (await lost.newest())[new].cid):
        await estate.network.fetch_and_pin(one, lambda: None)
    given_out = await identity_store.given_out(db)
    await dumps.restore(url, dumped)
    if adopted:
        await console.says("identity", "adopt", "--yes")
    else:  # the data directory comes from the same backup
        stamp.write_bytes(stamped)
    if stale:
        await holding.hold(db, "case 78", zip_id=2)
    ordered = await db.fetch_value("SELECT cid FROM zip_ipfs_info WHERE folder_id = 0")
    await db.execute("UPDATE catalogue_info SET named_at = named_at - INTERVAL 1 DAY")
    for _ in range(2):
        waits = await lost.publish()
        assert isinstance(waits, Wait)
        assert f"the catalogue {newest}, 4 archives, was not read: our name leads to it" in waits.reason
        assert "older than what was published" in waits.reason
    assert await resolve(estate.network, ipns_name(lost.keys)) == newest
    assert await db.fetch_value("SELECT cid FROM zip_ipfs_info WHERE folder_id = 0") == ordered
    assert await asking.in_doubt(db)
    assert all(number >= given_out[name] for name, number in (await identity_store.given_out(db)).items())
    await lost.recover()
    assert [row["reason"] for row in await db.fetch_all("SELECT reason FROM hold_info WHERE zip_id = 1")] == ["case 77"]
    assert await lost.publish() == Done(again_after=1800)
    named = await lost.newest()
    assert set(named) == {*lost.records, new}
    assert [named[number].holds is not None for number in (1, 2)] == [True, stale]


@pytest.mark.parametrize("there", [True, False])
async def test_an_old_record_of_our_own_name_holds_up_nothing(
    lost: Lost, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    monkeypatch.setattr(before, "_SECONDS", 2)
    await lost.recover()
    assert await lost.publish() == Done(again_after=1800)
    await lost.estate.console.db.execute("UPDATE catalogue_info SET follows = NULL")
    new = await pinned(lost)
    cid = lost.cid if there else f"bafkrei{'a' * 52}"
    monkeypatch.setattr(before, "resolve", AsyncMock(return_value=cid))
    assert await lost.publish() == Done(again_after=1800)
    assert set(await lost.newest()) == {*lost.records, new}


async def test_once_it_was_found_nothing_takes_the_name_of_the_newer_one_while_the_network_gives_no_answer(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = lost.estate.console.db
    await lost.recover()
    assert await lost.publish() == Done(again_after=1800)
    await CatalogueStore(db).note_newer("bafynewer", 5, lost.head.given_out)
    await db.execute("UPDATE catalogue_info SET named_at = named_at - INTERVAL 1 DAY")
    monkeypatch.setattr(before, "resolve", AsyncMock(side_effect=IpfsUnavailable("nobody answers")))
    monkeypatch.setattr(publishing, "publish_name", AsyncMock(side_effect=AssertionError))
    assert isinstance(await lost.publish(), Wait)


async def test_what_is_left_out_can_be_put_on_hold_and_is_kept_once_it_is_back(lost: Lost) -> None:
    console, db, one = lost.estate.console, lost.estate.console.db, lost.cids[1]
    with pytest.raises(PermanentError, match="there is no archive 1"):
        await holding.hold(db, "x", zip_id=1)
    file_id = next(row["file_id"] for row in lost.files if row["zip_id"] == 1)
    with pytest.raises(PermanentError, match="there is no file"):
        await holding.hold(db, "x", file_id=file_id)
    block = await lost.take(one, one)
    await lost.recover(code=1)
    assert await lost.publish() == Done(again_after=1800)
    said = await console.says("retention", "hold", "--archive", 1, "--reason", "case 77")
    assert "archive 1 is not here: what a recovery left out may have it" in said
    said = await console.says("retention", "hold", "--file", file_id, "--reason", "case 78")
    assert f"file {file_id} is not here: what a recovery left out may have it" in said
    with pytest.raises(PermanentError, match="there is no archive 999"):
        await holding.hold(db, "x", zip_id=999)
    extra, _ = await holding.hold(db, "case 79", zip_id=1)
    assert await lost.publish() == Done(again_after=1800)
    assert [hold.reason for hold in (await lost.newest())[1].holds or ()] == ["case 77", "case 79"]
    await holding.release(db, extra, "over")
    assert await lost.publish() == Done(again_after=1800)
    assert [hold.reason for hold in (await lost.newest())[1].holds or ()] == ["case 77"]

    # All is lost once more; and the archive comes back when it is over.
    await chainer.chain(db)
    await db.execute("UPDATE left_out_info SET catalogued = 0")
    await lost.publish()
    newest = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    await lost.estate.network.fetch_and_pin(newest, lambda: None)
    await lost.estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    await lost.give(one, block)
    await lost.recover("--catalogue-cid", newest)
    kept = await db.fetch_all("SELECT zip_id, file_id, reason FROM hold_info WHERE active = 1 ORDER BY reason")
    assert [(row["zip_id"], row["file_id"], row["reason"]) for row in kept] == [
        (1, None, "case 77"), (1, file_id, "case 78")
    ]  # fmt: skip


async def test_a_hold_on_what_an_unread_segment_names_is_in_force_as_it_comes_back(lost: Lost) -> None:
    console, db, segment, number = lost.estate.console, lost.estate.console.db, lost.head.segments[1], max(lost.cids)
    cid, file_id = lost.cids[number], next(row["file_id"] for row in lost.files if row["zip_id"] == number)
    block = await lost.take(lost.cid, segment.cid)
    await lost.recover(code=1)
    await holding.hold(db, "case 77", zip_id=number)
    await holding.hold(db, "case 78", file_id=file_id)
    archive = await lost.take(cid, cid)
    await lost.give(segment.cid, block)
    await lost.recover("--catalogue-cid", lost.cid, code=1)
    assert await lost.publish() == Done(again_after=1800)
    assert [hold.reason for hold in (await lost.newest())[number].holds or ()] == ["case 77"]
    await lost.give(cid, archive)
    (listed := console.vault.root / "cids").write_text(cid)
    await lost.recover("--cids", str(listed))
    zip_id = await db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE cid = %s", (cid,))
    assert zip_id != number
    assert {row["reason"]: row["zip_id"] for row in await db.fetch_all(HOLDS)} == {"case 77": zip_id, "case 78": zip_id}
