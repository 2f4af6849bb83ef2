"""A call for every SQL statement that does something to rows; each takes rows of a filled database that no other takes.

All of them are run once, in this order, after those of `statements.py`.
"""

import hashlib
import secrets
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography.fernet import Fernet
from filled import HEIGHT, Filled
from pydantic import SecretStr
from statements import UPLOAD_TIMES, Statement, each_stage, group
from statements_access import access
from statements_stores import commands, stores
from statements_video import videos

from roadvault_common.archive import local, master_keys
from roadvault_common.archive.crypto import ArchiveKey, MasterKeys, PeriodKey
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import (
    SEGMENT_ARCHIVES,
    ArchiveRecord,
    DestroyedKey,
    Hold,
    Purchase,
    SegmentLink,
)
from roadvault_common.custody import accepting, chainer, fault_store, store
from roadvault_common.custody.chain import Link
from roadvault_common.errors import Domain, IntegrityError
from roadvault_common.files import identity_store, set_aside_store, sweep_store
from roadvault_common.files.facts import Facts
from roadvault_common.files.numbers import keep_ahead
from roadvault_common.files.span import Span
from roadvault_common.files.tags import Tag
from roadvault_common.history import days, event_log
from roadvault_common.history.heartbeats import Heart
from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_common.receipts import store as receipts
from roadvault_common.retention import asking, holding, periods
from roadvault_common.retention.left_holds import in_force, is_free
from roadvault_common.retention.places import Places
from roadvault_common.sql import audits, folders, nodes
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.custody_lines import Act, Line
from roadvault_common.sql.custody_lines import record as record_lines
from roadvault_common.sql.db import Database
from roadvault_common.sql.mirror import fail_request
from roadvault_common.stores import MAIN
from roadvault_common.tracing import store as traces
from roadvault_common.web.callback_url import read
from roadvault_common.web.links import View
from roadvault_common.work import batches, outage_store, repair
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outage_store import Away
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import (
    ASK,
    AUDIT,
    CALLBACK,
    DROP,
    EXPIRE,
    FETCH,
    INSPECT,
    ORDER,
    PACK,
    PIN,
    PROVE,
    PUBLISH,
    REPORT,
    RESTORE,
    SHRED,
    WATCH,
    Stage,
)
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore, Refusal
from roadvault_crust_orderer.markets.market import FileInfo, Head, Signed
from roadvault_crust_orderer.proof.audit_store import AuditStore
from roadvault_crust_orderer.proof.evidence_store import Proof, close_proven, counted, note_counted
from roadvault_crust_orderer.store import NEVER_INCLUDED, OrdererStore
from roadvault_crust_orderer.watching.watching_store import Look, Seen, WatchingStore
from roadvault_ingest.pages.requests.cancelling import cancel
from roadvault_ingest.problems import Gone
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.requests.batch_store import BatchStore
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Key, Received
from roadvault_ingest.uploads.upload_store import Begin, MostOpen, UploadStore
from roadvault_notifier.batch_store import BatchStore as NotifierBatches
from roadvault_notifier.store import NotifierStore
from roadvault_operator.recover import archive_store, end_store, hold_store, known_store, left_holds, rehearsal_store
from roadvault_operator.recover import reading as recovered
from roadvault_operator.recover import store as recovery
from roadvault_operator.recover.manifest import Manifest
from roadvault_packer.archive import Packed
from roadvault_packer.store import PackerStore, Sealed
from roadvault_pinner.catalogue import log_store, record_store
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore, New, Segment
from roadvault_pinner.copies.inspect_store import InspectStore
from roadvault_pinner.ends.shred_store import Ended, ShredStore
from roadvault_pinner.store import PinnerStore
from roadvault_retriever.expiry_store import ExpiryStore
from roadvault_retriever.store import Made, RetrieverStore, Shared
from roadvault_retriever.streaming.store import StreamStore

_SECONDS = 600
_MARKET = "0x"


def work(filled: Filled) -> list[Statement]:
    """Return the calls."""
    calls = (
        _upload,
        _resume,
        _ask,
        _batch,
        _pack,
        _set_aside,
        _recover,
        _pin,
        _drop,
        _order,
        _watch,
        _refuse,
        _prove,
        _restore,
        _audit,
        _publish,
        _leave_out,
        _end,
        _fetch,
        _call_back,
        _expire,
    )
    return [
        *group("work", **{call.__name__.strip("_"): partial(call, filled) for call in calls}),
        *each_stage("work", "the life of a lease:", lambda db, stage: _life(db, stage, filled.due(stage)[0])),
        *each_stage("work", "given up:", lambda db, stage: repair.give_up(db, stage, filled.due(stage)[2], "x")),
        *each_stage("work", "retried:", lambda db, stage: repair.retry(db, stage, filled.failed(stage)[1])),
        *each_stage("work", "failed so far:", _failed_so_far),
        *group(
            "repair",
            pin_again=lambda db: repair.pin_again(db, filled.failed(DROP)[2]),
            cancel=lambda db: cancel(db, filled.due(CALLBACK)[1]),
            pack_again=lambda db: repair.pack_again(db, filled.failed(PIN)[2]),
        ),
        *group(
            "rewrap", write=lambda db: master_keys._write(db, {"zip_id": filled.archives // 2, "key": "k"}, "w", "m")
        ),
        *group("identity, sweeps and outages", identity=_identity, sweeps=_stopped_sweep, outages=_outages),
        *group("days and heartbeats", days=lambda db: days.add_up(db, Path("/")), beats=_beats),
        *group("events that are old", removed=lambda db: event_log.trim(db, 1)),
        *group("custody log", chained=_chain),
        *group("traces", traces=_traces),
        *group("who watches", watched=_watched),
        *group("nodes that are ours", noted=_nodes),
        *group("period keys", life=_periods),
        *access(),
        *stores(filled),
        *videos(filled),
        *group("closed by hand", folder=lambda db: folders.close_folder(db, filled.open_folders[0])),
        *commands(),
    ]


async def _identity(db: Database) -> None:
    await identity_store.make(db, "0" * 32)
    await db.transact(identity_store.move_on)
    assert await db.transact(identity_store.lock) == {"identity": "0" * 32, "mark": 1, "lost": 0}
    await identity_store.doubt(db)
    await db.transact(lambda tx: identity_store.replace(tx, "1" * 32, 5))
    assert await identity_store.read(db) == {"identity": "1" * 32, "mark": 5, "lost": 0}
    highest = await identity_store.highest(db)
    assert await identity_store.local_paths(db, 100)
    assert await identity_store.has_rows(db, "main")
    for _ in range(2):
        await identity_store.register(db, "east")
    for table, name in identity_store.COUNTED.items():
        await identity_store.go_on_behind(db, table, highest[name])
    await keep_ahead(db)
    assert not await asking.trust(db)
    await asking.asked(db, 0)
    await asking.allow(db)


async def _stopped_sweep(db: Database) -> None:
    await sweep_store.stop(db, "archives", 11, 1100, 20)
    assert await sweep_store.allow(db, "archives") == await sweep_store.allowed(db, "archives") == 11
    assert len(await sweep_store.stopped(db)) == 1
    await sweep_store.went_on(db, "archives")


async def _outages(db: Database) -> None:
    away = [Away(Domain.IPFS, "x", 5), Away(Domain.CALLBACK_HOST, "x", 7, "c:443")]
    await outage_store.note(db, "pinner", "here-1", away, 60)
    assert [row["domain"] for row in await outage_store.away(db)] == [Domain.CALLBACK_HOST, Domain.IPFS]
    await outage_store.note(db, "pinner", "here-1", [], 60)
    assert await outage_store.away(db) == []


async def _beats(db: Database) -> None:
    heart = Heart(db, "packer")
    await heart.beat()
    await heart.end()


async def _chain(db: Database) -> None:
    assert await chainer.chain_some(db)
    assert await fault_store.take_turn(db, 60) == 0
    await fault_store.note_checked(db, 0, ended=True)
    with tempfile.TemporaryDirectory() as root:
        await accepting.accept(db, Path(root), "x")
    await fault_store.add_fault(db, 7, "y")
    await fault_store.forget_faults(db)
    async with db.transaction() as tx:
        row = (await store.lines(tx, 0, 1))[0]
        await store.insert(tx, [row], [Link(1 << 40, None, b"x" * 32)])
        await store.add_nodes(tx, {(50, 1): b"x" * 32})
        await store.put_nodes(tx, {(50, 1): b"y" * 32})
    await fault_store.add_accepted(db, {7: "y"})
    assert await fault_store.accepted_among(db, [7]) == {7}
    await fault_store.forget_published_parts(db, 1 << 40)


async def _nodes(db: Database) -> None:
    for _ in range(2):
        await nodes.note(db, "12D3KooWours")
    assert await nodes.ours(db) == {"12D3KooWours"}


async def _claim(db: Database, stage: Stage, row_id: int) -> Lease:
    lease = await leases.claim(db, stage, row_id, _SECONDS)
    assert lease is not None, f"{stage.name} {row_id} is not due"
    return lease


async def _life(db: Database, stage: Stage, row_id: int) -> None:
    """Take a row through everything that can happen to a lease, until it is done with."""

    async def ends(outcome: Outcome) -> None:
        lease = await _claim(db, stage, row_id)
        await db.transact(lambda tx: leases.close(tx, lease, outcome))

    lease = await _claim(db, stage, row_id)
    assert await leases.extend(db, lease)
    await db.transact(lambda tx: leases.hold(tx, lease))
    await db.transact(lambda tx: leases.hand_back(tx, lease))
    await ends(Retry(Reason("", "x"), after=60))
    assert await db.transact(lambda tx: leases.hasten(tx, stage, row_id))
    await ends(Wait(Reason("", "x")))
    assert await db.transact(lambda tx: leases.hasten(tx, stage, row_id))
    await ends(Wait(Reason("", "x"), after=0))
    await ends(Done(again_after=0))
    await ends(Failed(Reason("", "x")))
    assert await db.transact(lambda tx: leases.revive(tx, stage, row_id))
    await ends(Done())
    await db.transact(lambda tx: leases.make_due(tx, stage, row_id))


async def _failed_so_far(db: Database, stage: Stage) -> list[int]:
    return [row["id"] async for row in repair.failed_so_far(db, stage)]


async def _upload(filled: Filled, db: Database) -> None:
    store, slot = IngestStore(db), f"worker-{filled.open_folders[0]}"

    def batch(count: int) -> list[Received]:
        known = Facts(camera="gate", tags=("a", "b"))
        return [
            Received("a.mp4", f"received/00/{secrets.token_hex(16)}", 100, "0" * 64, facts=known) for _ in range(count)
        ]

    (first, *_) = await store.add_files(slot, batch(3), Limits(100, 1 << 40, 86_400))
    assert first.folder_id == filled.open_folders[0]
    assert len(await store.add_files("another-worker", batch(3), Limits(2, 1 << 40, 86_400))) == 3
    (received,) = batch(1)
    await store.add_files(slot, [received], Limits(100, 1 << 40, 86_400))
    assert await store.find_file(received.path) is not None
    assert await store.find_file("received/00/that never came") is None


async def _resume(filled: Filled, db: Database) -> None:
    uploads, store, slot = UploadStore(db, UPLOAD_TIMES), IngestStore(db), f"worker-{filled.open_folders[0]}"
    upload_id, path, key = secrets.token_hex(16), f"received/00/{secrets.token_hex(16)}", secrets.token_hex(32)
    begin = Begin(upload_id, path, None, "", None, "192.0.2.1", key)
    upload = await uploads.begin(begin, MostOpen(10_000, 1000))
    again = await uploads.begin(replace(begin, upload_id="0" * 32, path="x"), MostOpen(10_000, 1000))
    assert again == upload
    await uploads.go_on(upload_id, 10, 100)
    received = Received("a.mp4", path, 100, "0" * 64, keys=(Key(key, 60),), upload=upload_id)
    for came in (received, replace(received, path=f"received/00/{secrets.token_hex(16)}", upload=None)):
        (placed,) = await store.add_files(slot, [came], Limits(100, 1 << 40, 86_400))
    whole = await uploads.find(upload_id)
    assert (placed.twice, whole is not None and whole.file_id) == (True, placed.file_id)
    for row in await uploads.expired():
        await uploads.put_off(row["upload_id"])
        await uploads.end_soon(row["upload_id"])
        await uploads.remove(row["upload_id"])
    await db.execute("UPDATE upload_info SET expires_at = create_time WHERE file_id IS NULL")
    for row in (await uploads.expired())[:3]:
        assert await uploads.expire(row["upload_id"])
    while await uploads.forget():
        pass


async def _ask(filled: Filled, db: Database) -> None:
    store = IngestStore(db)
    (gone,) = await db.fetch_all(
        "SELECT file_id FROM file_upload_info JOIN retention_info USING (zip_id) WHERE shredded_at IS NOT NULL LIMIT 1"
    )
    with suppress(Gone):
        await store.request_download(gone["file_id"], read("https://c/new"), "192.0.2.1", Most(50, 1000))
    asked = await store.request_download(filled.files // 2, read("https://c/new"), "192.0.2.1", Most(50, 1000))
    assert asked is not None
    assert await store.request_download(filled.files // 2, read("https://c/new"), "192.0.2.1", Most(50, 1000)) == asked


async def _batch(filled: Filled, db: Database) -> None:
    store, url, first = BatchStore(db), read("https://c/batch"), filled.files // 3
    assert await store.unknown([1, 1 << 60]) == [1 << 60]
    batch_id = await store.add(range(first, first + 50), url, "192.0.2.2", 5)
    lease, batch = await _claim(db, ASK, batch_id), await store.batch(batch_id)
    assert batch is not None
    assert await store.ask_some(lease, batch, url, 50, MAIN)
    asked = await IngestStore(db).request_download(first + 1, url, "192.0.2.1", Most(50, 1000))  # joins, and frees it
    assert asked is not None
    assert await store.close_asked(lease, cancelled=False) is None
    assert await store.cancel(batch_id)
    lease, after = await _claim(db, ASK, batch_id), 0
    assert await store.is_cancelled(lease)
    while (last := await store.cancel_some(lease, after)) is not None:
        after = last
    assert await store.close_asked(lease, cancelled=True) is None
    (download_id,) = [row["download_id"] for row in await store.files(batch_id, first, 1)]
    assert download_id == asked.download_id
    ended = await store.add([first + 1], url, "192.0.2.2", 5)
    lease = await _claim(db, ASK, ended)
    assert await store.ask_some(lease, {**batch, "batch_id": ended}, url, 50, MAIN) == [asked]
    assert await store.close_asked(lease, cancelled=False) is None
    await db.transact(lambda tx: fail_request(tx, asked.download_id))
    lease = await _claim(db, REPORT, ended)
    settled = await NotifierBatches(db).settle(lease)
    assert (settled.open, settled.counts["failed"]) == (0, 1)
    await NotifierBatches(db).close_taken(lease)


async def _pack(filled: Filled, db: Database) -> None:
    store, lease = PackerStore(db), await _claim(db, PACK, filled.due(PACK)[1])
    await store.named_under(lease, ["archives/x"])
    offsets = {member.file_id: 32 for member in await store.uploads(lease.row_id)}
    packed = Packed(100, offsets, ArchiveKey.new(), b"label")
    ends_at = datetime(2100, 1, 1)  # noqa: DTZ001 - as the database gives times
    assert await store.seal(lease, Sealed("archives/x", "x", "k", f"{60:016}", packed, ends_at))


async def _set_aside(filled: Filled, db: Database) -> None:
    store, folder_id = PackerStore(db), filled.due(PACK)[3]
    first, second, *_ = await store.uploads(folder_id)
    rotten = {first.file_id: "x", second.file_id: "y"}
    await store.set_aside(await _claim(db, PACK, folder_id), rotten, Wait(Reason("", "x"), after=0))
    await store.close_without_archive(await _claim(db, PACK, folder_id))
    rows = await set_aside_store.waiting(db, 2, first.file_id - 1)
    await set_aside_store.pack_after_all(db, rows[:1])
    assert await set_aside_store.give_up(db, rows[1]["file_id"]) == second.path


async def _recover(filled: Filled, db: Database) -> None:
    first = 10 * filled.files
    tags = [
        Tag(file_id=number, name="a.mp4", size=1, sha256="0" * 64, folder_id=1, received=datetime.now(UTC))
        for number in range(first, first + 3)
    ]
    await recovery.adopt(db, [recovery.Upload(f"received/{tag.file_id}", tag, "x") for tag in tags])
    await _recover_archive(db, 2 * first)
    await recovery.keep(db, recovery.Upload("received/kept", tags[0].model_copy(update={"file_id": 2 * first}), None))


async def _recover_archive(db: Database, number: int) -> None:
    keys = MasterKeys(SecretStr(Fernet.generate_key().decode()))
    now = datetime.now(UTC)
    file = {"fileID": number, "name": "a.mp4", "size": 1, "sha256": "0" * 64, "offset": 32}
    manifest = Manifest.model_validate({"version": 1, "folder": number, "files": [file]})
    place = recovered.Place(f"bafy{number}", "archives/a", b"label", b"node")
    archive = recovered.Archive(place, 2, ArchiveKey.new(), 100, 200, now, manifest, PeriodKey.new("2099-01"))
    purchase = Purchase(
        order_id=number, account="5F", term=1, block=2, extrinsic_hash=f"{number}", extrinsic="ab", price="1", made=now
    )
    record = ArchiveRecord(
        zip_id=number, folder_id=number, zip_name="a", cid=f"bafy{number}", format=2, size=100, dag_size=200, files=1,
        created=now, purchase=purchase, ends=now, more_holds=2,
        holds=[Hold(hold_id=number, reason="x", made=now), Hold(hold_id=5, file_id=number, reason="x", made=now)],
    )  # fmt: skip
    # Its file waits to be packed, with another one, in the folder that it is to have; one of `again` in another.
    again = number + 2
    for member, folder in ((number, number), (again + 1, number), (again, again + 1)):
        await db.execute(
            "INSERT IGNORE INTO folder_info (folder_id, status, close_at) VALUES (%s, 1, NOW())", (folder,)
        )
        await db.execute(
            "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id)"
            " VALUES (%s, 'a.mp4', 'mp4', 1, %s, %s)",
            (member, "0" * 64, folder),
        )
    await archive_store.add(db, archive, keys, record, pinned=True)
    its = Manifest.model_validate(
        {**manifest.model_dump(), "folder": again, "files": [{**file, "fileID": again}, {**file, "fileID": again + 2}]}
    )
    joined = replace(archive, manifest=its, key=ArchiveKey.new(), place=recovered.Place(f"bafy{again}"), period=None)
    await archive_store.add(db, joined, keys, None, pinned=True)
    await db.execute("DELETE FROM period_key_info WHERE period = '2099-01'")  # these keys are nobody else's
    other = Manifest.model_validate({**manifest.model_dump(), "files": [{**file, "fileID": number + 1}]})
    for taken in (archive, replace(archive, manifest=other)):
        try:
            await archive_store.add(db, taken, keys, None, pinned=True)
        except IntegrityError:
            continue
        raise AssertionError("it is there already")
    there = known_store.There(number, None, None, ended=False)
    for again in (1, 2):  # the first time its purchase is there
        await db.execute("UPDATE zip_ipfs_info SET cid = NULL, path = NULL WHERE zip_id = %s", (number,))
        some = record.model_copy(update={"purchase": purchase.model_copy(update={"term": again})})
        await db.execute("DELETE FROM order_info WHERE order_id = %s", (number,)) if again > 1 else None
        await known_store.complete(db, there, archive, some, held=True)
    await known_store.follow(db, there, some)
    await db.transact(partial(end_store.follow_end, zip_id=number, ends_at=None, made=now.replace(tzinfo=None)))
    await hold_store.bring_back_late(db, number, record.model_copy(update={"more_holds": 3}))
    ends = Line(Act.END_MOVED, {"ends": "never"}, zip_id=number)
    packed = Line(Act.PACKED, {"folder": number}, zip_id=3 * number)
    hold = Line(Act.HOLD, {"hold": number, "reason": "y"}, number)
    await db.transact(lambda tx: record_lines(tx, hold, packed, ends))
    await chainer.chain(db)
    found = await hold_store.logged(db)
    (logged,) = [one for one in found.holds if one.hold_id == number]
    apart = logged._replace(hold_id=5, file_id=1), logged._replace(file_id=None, zip_id=3 * number)
    for held in (logged, logged, logged._replace(hold_id=6, file_id=4 * number), *apart):
        await db.transact(partial(hold_store.bring_back_logged, hold=held))
    await db.transact(partial(end_store.move_end, zip_id=number, ends_at=found.ends[number]))
    gone = await end_store.shredded(db, {number: now, 3 * number: now, 4 * number: now})
    assert set(gone.numbers) == {4 * number}
    assert number in await end_store.living(db, gone._replace(numbers={number: now, 4 * number: now}))
    later = now.replace(tzinfo=None, year=2099)
    await db.transact(partial(end_store.end_again, zip_id=number, shredded_at=later))
    await known_store.known(db)
    assert await rehearsal_store.archived_after(db, number - 1)
    assert await rehearsal_store.recovered_after(db, number - 1)
    assert await rehearsal_store.end_moved_since(db, number, now.replace(tzinfo=None, year=2020))
    assert await hold_store.after(db, 0)


async def _pin(filled: Filled, db: Database) -> None:
    await PinnerStore(db).close_pinned(await _claim(db, PIN, filled.due(PIN)[1]), "bafy", 1, b"node", inspect_in=60)


async def _drop(filled: Filled, db: Database) -> None:
    lease = await _claim(db, DROP, filled.due(DROP)[1])
    store = PinnerStore(db)
    assert (await store.look_again(lease)).may_go
    for old in ("counted_at", "proven_at"):
        await db.execute(
            f"UPDATE evidence_info SET {old} = {old} - INTERVAL 1 DAY WHERE zip_id = %s AND valid = 1",  # noqa: S608
            (lease.row_id,),
        )
        assert (await store.look_again(lease)).waits is not None
    await store.note_uploads_dropped(lease)
    await store.close_dropped(lease, archive=True)
    for row_id in (filled.due(DROP)[3], filled.due(RESTORE)[3]):
        await db.transact(lambda tx, row_id=row_id: leases.make_due(tx, DROP, row_id))  # type: ignore[misc]
        await store.close_kept(await _claim(db, DROP, row_id), Done())


async def _order(filled: Filled, db: Database) -> None:
    store, purchases = OrdererStore(db), PurchaseStore(db)
    under_way = await purchases.unsettled(filled.due(ORDER)[0])
    assert under_way is not None
    assert await purchases.settle_bought(under_way, 2)
    lease = await _claim(db, ORDER, filled.due(ORDER)[1])
    archive = await store.archive(lease.row_id, _MARKET)
    purchase = await purchases.record(lease, archive, Signed("5G", 0, 1, 65, "0x1", "ab"), 1, _MARKET)
    assert purchase is not None
    await purchases.set_aside(purchase)
    await purchases.settle_void(purchase, NEVER_INCLUDED, "x", None)
    await store.note_expired(filled.archives // 2)
    await store.call_back(lease, archive)
    info = FileInfo(1, 1, 100, 60)
    for market, height in ((_MARKET, 50), (_MARKET, 60), ("elsewhere", 70), ("elsewhere", 200)):
        await note_counted(db, lease, counted(info, Head(height, ""), market, 50))
    await store.close_rested(lease, 60)
    await db.transact(lambda tx: renewals_store.note(tx, 100, 100_000, 5_000_000))


async def _watch(filled: Filled, db: Database) -> None:
    info, head = FileInfo(1, 1, 100_000, 60), Head(HEIGHT + 1, "")
    batch = await batches.claim(db, WATCH, 100, 60)
    assert {lease.row_id for lease in batch} >= set(filled.due(WATCH))
    await batches.extend(db, batch)
    await OrdererStore(db).archives([lease.row_id for lease in batch], _MARKET)
    seen = Seen(info, head, counted(info, head, _MARKET, 50), 300)
    given_up, over = filled.due(WATCH)[3], filled.due(WATCH)[4]
    looks = [
        Look(lease, Done(again_after=0), seen, buy_in=0, audit_in=1) for lease in batch if lease.row_id != given_up
    ]
    looks = [Look(look.lease, Done(), over=True) if look.lease.row_id == over else look for look in looks]
    looks += [Look(lease, Failed(Reason("", "x"))) for lease in batch if lease.row_id == given_up]
    await WatchingStore(db).close(looks)


async def _refuse(filled: Filled, db: Database) -> None:
    row_id = filled.failed(ORDER)[0]
    assert await repair.retry(db, ORDER, row_id)
    lease = await _claim(db, ORDER, row_id)
    await PurchaseStore(db).close_refused(lease, Refusal(1, "x"), Failed(Reason("", "x")))


async def _prove(filled: Filled, db: Database) -> None:
    lease = await _claim(db, PROVE, filled.due(PROVE)[1])
    count = counted(FileInfo(1, 1, None, 60), Head(HEIGHT + 1, ""), _MARKET, 50)
    assert not await close_proven(db, lease, replace(count, objection=Reason("", "x")), Proof("x", 1, 1), 60)
    lease = await _claim(db, PROVE, filled.due(PROVE)[3])
    assert await close_proven(db, lease, count, Proof("x", 1, 1), 60)


async def _restore(filled: Filled, db: Database) -> None:
    store = PinnerStore(db)
    await store.close_restored(await _claim(db, RESTORE, filled.due(RESTORE)[1]))
    await db.execute("UPDATE zip_ipfs_info SET cid = 'broken', path = 'x' WHERE zip_id = %s", (filled.due(RESTORE)[2],))
    assert await store.restore_kept(["broken", "another"])


async def _audit(filled: Filled, db: Database) -> None:
    store, row_id = AuditStore(db), filled.due(AUDIT)[1]
    sound, missed = Audit(3, 1000, "witness"), Audit(0, 0, "", "x")
    assert await store.another(row_id) is not None
    await store.close_sound(await _claim(db, AUDIT, row_id), sound, 0)
    for news in (True, False):
        assert await store.close_missed(await _claim(db, AUDIT, row_id), missed, 0) is news
    assert await InspectStore(db).close_inspected(await _claim(db, INSPECT, filled.due(INSPECT)[1]), missed, 60)
    await audits.spend(db, Place.NETWORK, 500)
    await audits.spend(db, Place.NETWORK, 500)
    assert (
        await audits.seconds_to_rest(db, Place.NETWORK, 1001)
        == 0
        < await audits.seconds_to_rest(db, Place.NETWORK, 1000)
    )


async def _leave_out(_: Filled, db: Database) -> None:
    link = SegmentLink(number=0, cid="bafysegment", size=1, archives=9)
    await left_out.begin(db, [link], Cid(RAW, bytes(32)))
    record = ArchiveRecord(
        zip_id=6001, folder_id=1, zip_name="x", cid="bafyarchive", format=2, size=1, dag_size=1, files=1,
        created=datetime.now(UTC),
    )  # fmt: skip
    for _again in range(2):
        await left_out.end(db, [str(Cid(RAW, bytes(32)))], {link.cid: "x"}, [(record, "x")])
    await db.execute("DELETE FROM left_out_info WHERE record = '{}' AND zip_id BETWEEN 6000 AND 7000")
    assert await left_out.records(db, 6000, 7000) == [record]
    assert await left_holds.keep(db) == [] == await in_force(db, record)
    assert await db.transact(lambda tx: left_holds._move(tx, 6002, record)) == []
    assert not await db.transact(lambda tx: is_free(tx, 1))
    await left_out.end(db, [], {}, [(record, "x")])
    await holding.hold(db, "x", zip_id=6001)
    await holding.hold(db, "x", file_id=1 << 40)
    assert not await holding.is_here(db, zip_id=6001, file_id=None)
    assert await record_store._held(db, [record], {}) == [record]
    await left_out.note_catalogued(db, [record.cid])
    await CatalogueStore(db).note_newer("bafycatalogue", 7, (await CatalogueStore(db).head())[0])
    assert await left_out.passed_by(db)
    await local.note_unopened(db, {"archives/nobodys.7z.enc": "x"})
    assert await local.named(db, ["archives/nobodys.7z.enc"])
    await left_out.give_up(db, [record.cid, link.cid, "bafycatalogue", "archives/nobodys.7z.enc"])


async def _publish(filled: Filled, db: Database) -> None:
    store = CatalogueStore(db)
    lease = await _claim(db, PUBLISH, 1)
    await store.head()
    number = filled.archives // 2 // SEGMENT_ARCHIVES
    _, fresh, _ = await record_store.records(db, number)
    part = log_store.Part(log_store.SLICE, 0, 4096, "0" * 16, "bafy", 1, hashlib.sha256(b"4096").digest())
    others = [replace(part, number=1), replace(part, level=log_store.GROUP), replace(part, level=1, number=1)]
    await db.transact(lambda tx: log_store.write(tx, [part, *others]))
    await db.transact(lambda tx: log_store.write(tx, [part, replace(part, level=log_store.GROUP)]))
    there = await db.fetch_one("SELECT 1 FROM custody_info WHERE position = 4095 AND hash = %s", (part.hash,))
    assert [len(found) for found in await log_store.parts(db, 0)] == ([0, 0] if there is None else [1, 1])
    await store.note_pin("bafy")
    await store.hold(lease)
    segment = Segment(number, len(fresh), "0" * 64, "0" * 16, "bafy", 1)
    new = New("bafy", 1, b"node", b"{}", True, len(fresh), "0" * 16, "k51", datetime.now(UTC))  # noqa: FBT003
    await store.write(lease, new, [segment], [number + 1])
    await store.note_named("k51")
    await store.note_catalogued(fresh)
    assert await store.unchecked() == number
    assert await store.segments() == {number: segment}
    zip_id = await store.order(lease, "0" * 16, 60)
    for term in range(1, 4):
        await db.execute(
            "INSERT INTO order_info (zip_id, term, account, in_flight, status, cid, declared_size, nonce, era_birth,"
            " era_death, extrinsic_hash, extrinsic, price)"
            " VALUES (%s, %s, '5F', NULL, 1, 'bafy', 1, 0, 1, 65, %s, '', 1)",
            (zip_id, term, f"0xcatalogue{term}"),
        )
    assert await receipts.catalogue(db) is not None
    await db.execute("UPDATE zip_ipfs_info SET cid = 'old' WHERE zip_id = %s", (zip_id,))
    assert zip_id is not None
    assert await store.order(lease, "0" * 16, 0) == zip_id
    await store.has_acts(0)
    await store.pinned()
    await store.superseded()
    await store.forget_pin("bafy")
    await store.close(lease, Done(), datetime.now(UTC))


async def _end(filled: Filled, db: Database) -> None:
    zip_id, held, ever = filled.due(SHRED)[3], filled.due(SHRED)[4], filled.due(SHRED)[5]
    (file,) = await db.fetch_all("SELECT file_id FROM file_upload_info WHERE zip_id = %s LIMIT 1", (held,))
    number, kept = await holding.hold(db, "x", file_id=file["file_id"])
    assert kept == held
    await db.transact(lambda tx: holding.place(tx, number, held))
    assert await holding.is_here(db, zip_id=None, file_id=file["file_id"])
    assert await holding.is_here(db, zip_id=held, file_id=None)
    store = ShredStore(db, 1)
    assert isinstance(await store.decide(await _claim(db, SHRED, held)), Wait)
    await holding.release(db, number, "x")
    await holding.set_end(db, ever, datetime(2100, 1, 1))  # noqa: DTZ001 - as the database gives times
    lease = await _claim(db, SHRED, zip_id)
    (file,) = await db.fetch_all("SELECT file_id FROM file_upload_info WHERE zip_id = %s LIMIT 1", (zip_id,))
    for number, status in enumerate((0, 1)):
        asked = await _ask_again(db, file["file_id"], number)
        await db.execute("UPDATE download_info SET status = %s WHERE download_id = %s", (status, asked))
    assert isinstance(await store.decide(lease), Wait)
    await identity_store.make(db, "0" * 32)
    await asking.allow(db)
    assert isinstance(await store.decide(lease), Ended)
    await store.close(lease)
    fetching = await _claim(db, FETCH, filled.due(FETCH)[4])
    await RetrieverStore(db).close_ended(fetching, Reason("", "x"))


async def _periods(db: Database) -> None:
    secret = Fernet.generate_key().decode()
    keys = MasterKeys(SecretStr(secret))
    await db.execute("DELETE FROM period_key_info WHERE `key` = 'k'")
    life = periods.Periods(db, keys, Places([]))
    end = await life.end_in(400)
    await db.transact(lambda tx: periods.hold(tx, end.key.id))
    await db.transact(lambda tx: periods.add(tx, keys, PeriodKey.new("2020-01"), wraps=True))
    assert len(await periods.living(db, keys)) == 2
    await periods.rewrap(db, MasterKeys(SecretStr(f"{Fernet.generate_key().decode()},{secret}")))
    await db.execute("DELETE FROM left_out_info")
    assert await db.transact(periods.destroy) == ["2020-01"]
    known = DestroyedKey(period_key="f" * 16, period="2020-02", at=datetime.now(UTC))
    assert await periods.bring_back(db, keys, [PeriodKey.new("2099-01")], [known]) == []
    gone, fresh = await periods.gone(db)
    assert known in gone
    await periods.note_catalogued(db, fresh)


async def _fetch(filled: Filled, db: Database) -> None:
    store, lease = RetrieverStore(db), await _claim(db, FETCH, filled.due(FETCH)[1])
    wanted = await store.wanted(lease.row_id)
    await store.named_under(lease, ["downloads/x"])
    await store.note_begun(wanted)
    assert wanted.zip_id is not None
    await db.execute("UPDATE zip_ipfs_info SET restored_at = UTC_TIMESTAMP(6) WHERE zip_id = %s", (wanted.zip_id,))
    await store.mend(wanted.zip_id)
    await db.execute("UPDATE file_upload_info SET path = NULL WHERE file_id = %s", (wanted.file_id,))
    fourth = await _ask_again(db, wanted.file_id, 5)
    assert await store.put_off(wanted.zip_id, 0)
    assert await repair.give_up(db, FETCH, fourth, "x")
    second, third = await _ask_again(db, wanted.file_id, 2), await _ask_again(db, wanted.file_id, 3)
    other = await _claim(db, FETCH, second)
    assert isinstance(await store.look(other, wanted, ["downloads/y"], Wait(Reason("", "x"), 0)), Wait)
    made = Shared("downloads/x", "ipfs")
    served = await store.close_extracted(lease, wanted, made, 0, instead_of=["downloads/y"])
    assert sorted(served) == sorted([lease.row_id, second, third])
    late = await _claim(db, FETCH, await _ask_again(db, wanted.file_id, 4))
    assert await store.look(late, wanted, [], Wait(Reason("", "x"), 0)) == made
    assert await store.close_shared(late, wanted, made, 0)
    clip = await _claim(db, FETCH, await _ask_again(db, wanted.file_id, 6, Span(0, 1000, on_clock=False)))
    wanted = await store.wanted(clip.row_id)
    cut = Shared("downloads/z", "ipfs", Made("a 0s-1s.mp4", 1, "0" * 64, "{}"))
    assert await store.look(clip, wanted, [], Wait(Reason("", "x"), 0)) is None
    assert await store.close_extracted(clip, wanted, cut, 0) == [clip.row_id]
    expiring = await _claim(db, EXPIRE, lease.row_id)
    assert await ExpiryStore(db).close_unless_last(expiring, await ExpiryStore(db).extraction(lease.row_id))


async def _ask_again(db: Database, file_id: int, number: int, span: Span | None = None) -> int:
    url, most = read(f"https://c/{number}"), Most(50, 1000)
    asked = await IngestStore(db).request_download(file_id, url, "192.0.2.1", most, span)
    assert asked is not None
    return asked.download_id


async def _call_back(filled: Filled, db: Database) -> None:
    store, lease = NotifierStore(db), await _claim(db, CALLBACK, filled.due(CALLBACK)[1])
    await store.put_off("c:443", 60, 86_400)
    await store.promise_link(lease, 3600)
    await store.close_taken(lease, await store.callback(lease.row_id), "c:443")


async def _watched(db: Database) -> None:
    over_at = await db.now() - timedelta(days=2)
    await db.execute(
        "INSERT INTO watched_info (view_id, over_at)"
        " SELECT HEX(file_id), UTC_TIMESTAMP(6) FROM file_upload_info WHERE file_id <= 1000"
    )
    for _ in range(2):
        await StreamStore(db).note_watched(View("f" * 16, 1, over_at, {"by": "192.0.2.7"}))


async def _traces(db: Database) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    first = await db.fetch_value("SELECT MIN(file_id) FROM file_upload_info WHERE folder_id = 1")
    await db.transact(lambda tx: traces.keep_all(tx, "file_upload_info", {first: parent}))
    assert await traces.kept(db, "file_upload_info", first) == parent
    assert await traces.uploads(db, 1) == [parent]
    await traces.forget(db)


async def _expire(filled: Filled, db: Database) -> None:
    store, lease = ExpiryStore(db), await _claim(db, EXPIRE, filled.due(EXPIRE)[1])
    await store.close_expired(lease, await store.extraction(lease.row_id))
