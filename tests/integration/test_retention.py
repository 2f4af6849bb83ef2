"""Archives that have an end: packed under a period key, kept by holds, ended; on real servers."""

import asyncio
import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from download_rows import download_row
from pydantic import SecretStr, ValidationError
from servers_ingest import Door
from servers_keeper import Keeper
from servers_operator import Console

from roadvault_common.archive import master_keys as needed
from roadvault_common.archive.crypto import SHREDDED, MasterKeys, PeriodKey
from roadvault_common.archive.keyring import lines, period_keys
from roadvault_common.archive.label import Label
from roadvault_common.errors import IntegrityError, LeaseLost, MasterKeyMissing, PermanentError
from roadvault_common.ipfs.reading import Reader
from roadvault_common.retention import holding, periods
from roadvault_common.retention.periods import PLACES_BEHIND, UNKNOWN
from roadvault_common.retention.places import Places
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Place
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import FETCH, STAGES
from roadvault_packer.config import PackerSettings
from roadvault_pinner.ends.shredding import ASKS, SOON
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo


async def test_what_was_published_opens_with_the_keyring_until_the_end_and_with_nothing_after_it(
    keeper: Keeper,
) -> None:
    zip_id = await keeper.archive()
    row = await keeper.row(zip_id)
    published = [await keeper.network(row["cid"], name) for name in ("label.json", "archive.7z.enc")]
    label = Label.parse(published[0])
    assert (label.masterKey, label.periodKey) == (None, row["period_key"])
    with pytest.raises(MasterKeyMissing, match="has an end"):  # the network's copy and the master key do not open it
        label.open(keeper.keys)
    with pytest.raises(IntegrityError):
        replace_key(label, keeper.keys.ids[0]).open(keeper.keys)
    (period,) = period_keys(keeper.keyring(), keeper.keys).values()
    assert keeper.keyring() == keeper.keyring(1)
    assert [place.stat().st_mode & 0o777 for place in keeper.places] == [0o600, 0o600]
    plain = label.open(period).stream().update(published[1])
    file = await keeper.console.db.fetch_one("SELECT * FROM file_upload_info WHERE zip_id = %s", (zip_id,))
    assert file is not None
    there = plain[file["zip_offset"] : file["zip_offset"] + file["size"]]
    assert hashlib.sha256(there).hexdigest() == file["sha256"]

    assert await keeper.node_has(row["cid"])
    assert await audits.oldest_seconds(keeper.console.db, Place.LOCAL) > 0
    assert await keeper.end(zip_id) == Done()
    row = await keeper.row(zip_id)
    assert (row["key"], row["master_key"], row["status"]) == ("", SHREDDED, 5)
    assert (row["path"], row["shred_due"], row["shredded_at"] is not None) == (None, None, True)
    assert await audits.oldest_seconds(keeper.console.db, Place.LOCAL) == 0  # nobody looks at it any more
    assert keeper.files() == []
    assert not await keeper.node_has(row["cid"])
    await keeper.console.packer.periods.tend()  # the month is not over: other archives may yet end in it
    assert period.id in keeper.keyring()
    await keeper.months_pass()
    await keeper.console.packer.periods.tend()
    assert [period_keys(keeper.keyring(place), keeper.keys) for place in (0, 1)] == [{}, {}]
    assert await periods.living(keeper.console.db, keeper.keys) == []
    told = await keeper.console.says("retention", "list")
    assert "2020-01" in told
    assert "recovery sheets" in told
    assert (await keeper.console.db.fetch_one("SELECT path, sha256 FROM file_upload_info")) == {
        "path": None,
        "sha256": file["sha256"],
    }


def replace_key(label: Label, master_key: str) -> Label:
    """Return the label as if a master key had wrapped it."""
    changed = {**label.model_dump(), "periodKey": None, "masterKey": master_key, "wrap": "AES-256-KW, HKDF-SHA256"}
    return Label.model_validate(changed)


async def test_a_hold_keeps_an_archive_past_its_end_until_the_last_is_released(keeper: Keeper) -> None:
    folder_id = await keeper.console.file()
    file = await keeper.console.db.fetch_one("SELECT file_id FROM file_upload_info")
    assert file is not None
    early = await keeper.console.says("retention", "hold", "--file", file["file_id"], "--reason", "case 7")
    assert "its archive, once there is one, does not end before" in early
    await keeper.console.file()
    assert await keeper.console.packer.packing.work(folder_id) == Done()
    zip_id = (await keeper.console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info"))[0]["zip_id"]
    assert await keeper.console.pinner.pinning.work(zip_id) == Done()
    db = keeper.console.db
    assert await holding.hold(db, "case 8", zip_id=zip_id) == (2, zip_id)
    assert await keeper.end(zip_id) == Wait(Reason("", "on hold"), after=86_400)
    assert "case 7" in (told := await keeper.console.says("retention", "list"))
    assert "on hold" in told
    assert await holding.release(db, 1, "case 7 is closed") == zip_id
    assert await keeper.console.pinner.shredding.work(zip_id) == Wait(Reason("", "on hold"), after=86_400)
    await keeper.console.says("retention", "release", 2, "--reason", "case 8 is closed")
    with pytest.raises(PermanentError, match="no hold 2"):
        await holding.release(db, 2, "again")
    assert await keeper.console.pinner.shredding.work(zip_id) == Done()
    for too_late in (holding.hold(db, "x", zip_id=zip_id), holding.set_end(db, zip_id, None)):
        with pytest.raises(PermanentError, match="it is too late"):
            await too_late
    lines = await keeper.console.db.fetch_all(
        "SELECT act, file_id IS NULL AS whole FROM custody_info WHERE act IN ('hold', 'released', 'shredded')"
        " ORDER BY line_id"
    )
    assert [(line["act"], line["whole"]) for line in lines] == [
        ("hold", 0), ("hold", 1), ("released", 0), ("released", 1), ("shredded", 1)
    ]  # fmt: skip


async def test_a_hold_that_comes_while_an_archive_is_ended_keeps_it_or_is_told_that_it_is_too_late(
    keeper: Keeper,
) -> None:
    for _ in range(3):
        zip_id = await keeper.archive()
        ended, held = await asyncio.gather(
            keeper.end(zip_id), holding.hold(keeper.console.db, "now", zip_id=zip_id), return_exceptions=True
        )
        row = await keeper.row(zip_id)
        if isinstance(held, BaseException):
            assert "too late" in str(held)
            assert (ended, row["key"]) == (Done(), "")
        else:
            assert (ended, row["shredded_at"], row["key"] != "") == (
                Wait(Reason("", "on hold"), after=86_400),
                None,
                True,
            )
            assert row["path"] is not None


async def test_an_end_is_moved_and_its_period_key_lives_as_long(keeper: Keeper) -> None:
    zip_id, other = await keeper.archive(), await keeper.archive()
    await keeper.months_pass()
    said = await keeper.console.says("retention", "set", zip_id, "--for-ever")
    assert "lives as long" in said
    assert (await keeper.row(zip_id))["shred_due"] is None
    assert await keeper.end(other) == Done()
    await keeper.console.packer.periods.tend()
    assert len(period_keys(keeper.keyring(), keeper.keys)) == 1
    now = datetime.now(UTC).replace(tzinfo=None)
    await holding.set_end(keeper.console.db, zip_id, now + timedelta(days=20))
    await keeper.console.pinner.shredder.measure()
    assert SOON._value.get() == 1
    assert await keeper.console.pinner.shredding.work(zip_id) is None
    with pytest.raises(PermanentError, match="a time to come"):
        await holding.set_end(keeper.console.db, zip_id, now)
    assert await keeper.end(zip_id) == Done()
    await keeper.console.packer.periods.tend()
    assert period_keys(keeper.keyring(), keeper.keys) == {}


async def test_one_that_was_packed_without_an_end_can_get_one_and_says_what_that_is_worth(
    console: Console, keeper: Keeper
) -> None:
    zip_id = await console.archive()
    assert "opens with the master key" in await console.says("retention", "set", zip_id, "--days", 1)
    assert await keeper.end(zip_id) == Done()
    assert keeper.files() == []
    assert (await keeper.row(zip_id))["key"] == ""


async def test_nothing_is_packed_under_a_new_key_before_every_place_has_it(keeper: Keeper) -> None:
    keeper.places[1].parent.rmdir()
    await keeper.console.file()
    folder_id = await keeper.console.file()
    outcome = await keeper.console.packer.packing.work(folder_id)
    assert isinstance(outcome, Wait)
    assert f"not in all places of the keyring yet, and nothing is packed before it is: {keeper.places[1]}" in (
        outcome.reason
    )
    assert PLACES_BEHIND._value.get() == 1
    assert keeper.keyring().count("\n") == 2  # the other place has it already
    keeper.places[1].parent.mkdir()
    await keeper.console.db.execute(
        "UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE folder_id = %s", (folder_id,)
    )
    assert await keeper.console.packer.packing.work(folder_id) == Done()
    assert keeper.keyring() == keeper.keyring(1)
    keeper.places[1].unlink()
    keeper.places[1].parent.rmdir()  # later it only lags, and is told of
    await keeper.console.archive()
    await keeper.console.packer.periods.tend()
    assert PLACES_BEHIND._value.get() == 1
    keeper.places[1].parent.mkdir()
    await keeper.console.packer.periods.tend()
    assert (PLACES_BEHIND._value.get(), keeper.keyring()) == (0, keeper.keyring(1))


async def test_a_place_that_hangs_is_behind_and_holds_nobody_up(keeper: Keeper) -> None:
    await keeper.console.packer.periods.end_in(400)
    held = keeper.keyring()
    hung = keeper.places[1]
    hung.unlink()
    os.mkfifo(hung)  # to open it for reading takes a writer: as a mount does whose server is gone
    life = periods.Periods(keeper.console.db, keeper.keys, Places(keeper.places, patience=0.1))
    for _ in range(2):
        assert await life.keep() == [f"{hung}: it does not answer: is what is mounted there away?"]
    threads = sum(thread.name.startswith("keyring") for thread in threading.enumerate())
    await life.keep()
    same = threads == sum(thread.name.startswith("keyring") for thread in threading.enumerate())
    os.close(os.open(hung, os.O_WRONLY))  # it answers
    assert (keeper.keyring(), same) == (held, True)
    hung.unlink()
    async with asyncio.timeout(10):
        while await life.keep():
            await asyncio.sleep(0.01)
    assert [keeper.keyring(place) for place in (0, 1)] == [held, held]


async def test_keys_that_the_database_does_not_know_stay_in_the_keyring_unless_they_were_destroyed(
    keeper: Keeper,
) -> None:
    tend, db = keeper.console.packer.periods.tend, keeper.console.db
    await keeper.console.packer.periods.end_in(400)
    held = keeper.keyring()
    await db.execute("DELETE FROM period_key_info")  # a dump from before the key was made
    keeper.places[0].unlink()
    await tend()
    assert [keeper.keyring(place) for place in (0, 1)] == [held, held]
    assert UNKNOWN._value.get() == 1
    lost = MasterKeys(SecretStr(Fernet.generate_key().decode()))
    (sealed,) = lines(lost, [PeriodKey.new("2031-05")])  # by a master key that the settings lack
    damaged = held.splitlines()[1][:-4] + "AA=="
    keeper.places[1].write_text(f"{held}{sealed}\n{damaged}\n")
    await tend()
    assert keeper.keyring() == keeper.keyring(1) == f"{held}{sealed}\n"
    assert UNKNOWN._value.get() == 2
    keeper.places[0].unlink()
    keeper.places[0].mkdir()  # it can't be read now
    await tend()
    assert PLACES_BEHIND._value.get() == 1
    assert keeper.keyring(1) == f"{held}{sealed}\n"
    keeper.places[0].rmdir()
    keeper.places[1].write_text(held)
    await periods.bring_back(db, keeper.keys, [*period_keys(held, keeper.keys).values()])
    await keeper.months_pass()
    await keeper.console.says("identity", "adopt", "--yes")
    await tend()  # no archive of it is here: it may still have to be recovered
    (brought,) = period_keys(held, keeper.keys)
    assert [*period_keys(keeper.keyring(), keeper.keys)] == [brought]
    await keeper.console.pinner.shredder.measure()
    assert ASKS._value.get() == 1
    assert "the keys of 2020-01 open nothing that is here" in (await keeper.console.run("retention", "allow"))[1]
    await keeper.console.says("retention", "allow", "--yes")
    await tend()  # destroyed on purpose, it leaves all places, and a disk that was away brings it back to none
    assert period_keys(keeper.keyring(), keeper.keys) == {}
    keeper.places[1].write_text(held)
    await tend()
    (refused,) = await periods.bring_back(db, keeper.keys, [*period_keys(held, keeper.keys).values()])
    assert (refused["period_key"], refused["lives"]) == (brought, 0)
    await tend()
    assert [period_keys(keeper.keyring(place), keeper.keys) for place in (0, 1)] == [{}, {}]
    assert UNKNOWN._value.get() == 0


async def test_the_sheet_and_a_new_master_key_keep_what_has_an_end_open(keeper: Keeper) -> None:
    zip_id, old = await keeper.archive(), keeper.keys
    label = Label.parse((await keeper.row(zip_id))["label"])
    sheet = await keeper.console.says("recovery-sheet")
    typed = "\n".join(f"   {line}  " for line in sheet.splitlines())
    (printed,) = period_keys(typed, old).values()
    opened = label.open(printed)
    assert [(use.master_key, use.periods) for use in await needed.uses(keeper.console.db)] == [
        (old.ids[0], (printed.period,))
    ]
    fresh = Fernet.generate_key().decode()
    both = SecretStr(f"{fresh},{keeper.console.environment['ROADVAULT_MASTER_KEYS']}")
    keeper.console.environment["ROADVAULT_MASTER_KEYS"] = both.get_secret_value()
    assert "wraps nothing" in await keeper.console.says("rewrap")
    keys = MasterKeys(SecretStr(fresh))
    assert [one.id for one in await periods.living(keeper.console.db, keys)] == [printed.id]
    await periods.Periods(keeper.console.db, keys, Places(keeper.places)).tend()
    (kept,) = period_keys(keeper.keyring(), keys).values()
    assert label.open(kept) == opened
    assert "1 checked, 0 have no copy there, 0 things" in await keeper.console.says("verify", zip_id)


async def test_who_asks_for_what_has_ended_is_told_so_for_good(keeper: Keeper, door: Door) -> None:
    zip_id = await keeper.archive()
    first, second = await keeper.console.db.fetch_all(
        "SELECT file_id FROM file_upload_info WHERE zip_id = %s", (zip_id,)
    )
    asked = [
        await door.ingest.request_download(file["file_id"], "http://127.0.0.1:9/cb", None) for file in (first, second)
    ]
    extraction = "downloads/here"
    (keeper.console.vault.root / extraction).write_bytes(b"video")
    await keeper.console.db.execute(
        "UPDATE download_info SET path = %s, status = 1, fetch_due = NULL, callback_due = UTC_TIMESTAMP(6),"
        " expire_due = UTC_TIMESTAMP(6) WHERE download_id = %s",
        (extraction, asked[1]),
    )
    fetching = await leases.claim(keeper.console.db, FETCH, asked[0], 60)
    assert fetching is not None
    assert await keeper.end(zip_id) == Done()
    with pytest.raises(LeaseLost):  # who was bringing it back has lost it
        await keeper.console.db.transact(lambda tx: leases.hold(tx, fetching))
    assert keeper.files() == []
    body = {"fileID": first["file_id"], "cbUrl": "http://127.0.0.1:9/cb"}
    async with door.http.post(f"{door.url}/api/open/downFile", json=body) as response:
        assert response.status == 410
        assert f"file {first['file_id']} ended on 20" in (await response.json())["message"]
    for file, state in ((first, "failed"), (second, "expired")):
        told = (await door.file(file["file_id"]))["result"]
        assert (told["state"], told["archive"]["state"]) == ("ended", "ended")
        assert told["reason"].startswith("ended on 20")
        assert told["requests"][0]["state"] == state
    assert all([await backlog.count_failed(keeper.console.db, stage) == 0 for stage in STAGES])


async def test_a_request_that_slips_in_is_closed_by_who_would_fetch_it(keeper: Keeper, kubo: Kubo) -> None:
    zip_id = await keeper.archive()
    assert await keeper.end(zip_id) == Done()
    db = keeper.console.db
    download_id = await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO download_info (file_id, cb_url, open_key, fetch_due)"
            " SELECT file_id, 'http://127.0.0.1:9/', UUID(), UTC_TIMESTAMP(6) FROM file_upload_info LIMIT 1"
        )
    )
    settings = RetrieverSettings.model_validate(keeper.console.settings)
    async with Reader.open(kubo.gateway_url, 20) as reader:
        retriever = Retriever(settings, db, keeper.console.bus, keeper.console.vault, keeper.keys, reader)
        assert await retriever.fetching.work(download_id) == Done()
    row = await download_row(db, download_id)
    assert (row["status"], row["open_key"], row["fetch_failed_at"]) == (3, None, None)
    assert row["fetch_reason"].startswith("the file ended on 20")


async def test_many_packers_make_one_key_for_a_month(keeper: Keeper) -> None:
    ends = await asyncio.gather(*(keeper.console.packer.periods.end_in(400) for _ in range(8)))
    assert len({end.key.id for end in ends}) == 1
    assert [*period_keys(keeper.keyring(1), keeper.keys)] == [ends[0].key.id]


def test_an_end_needs_a_place_for_the_keyring(console: Console) -> None:
    with pytest.raises(ValidationError, match="ROADVAULT_KEYRING_PATHS is not"):
        PackerSettings.model_validate({**console.settings, "retention_days": 400})
