"""A call for every SQL statement that asks: of the services, of what they share, and of the operator.

They are what sweeps, metrics, pages and people ask again and again, and may be made any number of times on a filled
database (`filled.py`). `statements_work.py` has the others, which do something to rows.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from filled import ACCOUNT, HEIGHT, MARKET, Filled

from roadvault_common.archive import master_keys
from roadvault_common.catalogue import left_out
from roadvault_common.custody import check, fault_store, history, note, store, tying
from roadvault_common.custody.chain import Head
from roadvault_common.files import ledger_store, set_aside_store
from roadvault_common.history import days, event_log, heartbeats
from roadvault_common.receipts import store as receipts
from roadvault_common.retention import asking, ends, holding
from roadvault_common.sql import audits, folders
from roadvault_common.sql.audits import Place
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema, check_server, show_schema
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_common.work import backlog, repair
from roadvault_common.work.stages import CALLBACK, EXPIRE, FETCH, ORDER, PACK, PIN, PROVE, STAGES, Stage
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.buying.renewals_store import BLOCKS_A_DAY
from roadvault_crust_orderer.proof.proof_store import ProofStore
from roadvault_crust_orderer.store import OrdererStore
from roadvault_crust_orderer.watching.overview_store import OverviewStore
from roadvault_door.store import DoorStore
from roadvault_ingest.lists.files_store import FilesStore
from roadvault_ingest.lists.filters import Filters, Mark, Order
from roadvault_ingest.pages.archives.store import STAGES as ARCHIVE_STAGES
from roadvault_ingest.pages.archives.store import ArchivePagesStore
from roadvault_ingest.pages.files.store import FilePagesStore
from roadvault_ingest.pages.money.store import MoneyPageStore
from roadvault_ingest.pages.overview.causes import TRIED
from roadvault_ingest.pages.overview.store import OverviewStore as FirstPage
from roadvault_ingest.pages.requests.store import STATES as REQUEST_STATES
from roadvault_ingest.pages.requests.store import RequestPagesStore
from roadvault_ingest.pages.system.store import SystemPageStore
from roadvault_ingest.pages.way import way
from roadvault_ingest.requests.batch_store import BatchStore
from roadvault_ingest.store import IngestStore
from roadvault_ingest.uploads.upload_store import Times, UploadStore
from roadvault_notifier.store import NotifierStore
from roadvault_operator import store as operator
from roadvault_operator.recover import store as recovery
from roadvault_packer.store import PackerStore
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore
from roadvault_pinner.store import PinnerStore
from roadvault_retriever.expiry_store import ExpiryStore
from roadvault_retriever.looking.store import LookStore
from roadvault_retriever.store import RetrieverStore
from roadvault_retriever.streaming.store import StreamStore

UPLOAD_TIMES = Times(expires=86_400, held=900)
Run = Callable[[Database], Awaitable[object]]

NO_PATHS = [f"received/{number:02x}/{number:032x}" for number in range(500)]
"""Paths of one question of the sweep of unnamed files."""


@dataclass(frozen=True)
class Statement:
    """A call that runs one statement, or a few that belong together. `group` is what it is good for."""

    group: str
    name: str
    run: Run


def group(name: str, **runs: Run) -> list[Statement]:
    """Return a group of calls, by their names."""
    return [Statement(name, call, run) for call, run in runs.items()]


def each_stage(name: str, what: str, ask: Callable[[Database, Stage], Awaitable[object]]) -> list[Statement]:
    """Return one call for each stage."""

    async def run(stage: Stage, db: Database) -> object:
        return await ask(db, stage)

    return [Statement(name, f"{what} {stage.name}", partial(run, stage)) for stage in STAGES]


def sweeps() -> list[Statement]:
    """Return what services look for by themselves."""
    return [
        *each_stage("sweep: rows that are due", "due", lambda db, stage: backlog.due_rows(db, stage, 100)),
        *each_stage("sweep: when the next is due", "next", backlog.seconds_to_next),
        *group(
            "sweep: of ingest",
            folders_past_their_age=lambda db: IngestStore(db).close_aged_folders(),
            bytes_not_packed=lambda db: ledger_store.to_pack(db, [1, 2]),
            bytes_not_copied=lambda db: ledger_store.to_copy(db, [1, 2]),
            uploads_expired=lambda db: UploadStore(db, UPLOAD_TIMES).expired(),
            uploads_open=lambda db: UploadStore(db, UPLOAD_TIMES).open(),
            batches_open=lambda db: BatchStore(db).oldest_open(),
        ),
        *group(
            "sweep: which of 500 files a row names",
            received=lambda db: IngestStore(db).named(NO_PATHS),
            uploads=lambda db: UploadStore(db, UPLOAD_TIMES).named(NO_PATHS),
            untagged=lambda db: IngestStore(db).uploads(NO_PATHS[:100]),
            archives=lambda db: PackerStore(db).named(NO_PATHS),
            downloads=lambda db: RetrieverStore(db).named(NO_PATHS),
            pictures=lambda db: LookStore(db).named(NO_PATHS),
        ),
        *group(
            "sweep: of retriever",
            to_hasten=lambda db: ExpiryStore(db).hasten_expiry(100),
            packing_waits=lambda db: LookStore(db).packing(),
            picture_bytes=lambda db: LookStore(db).picture_bytes(),
        ),
        *group(
            "sweep: of orderer",
            spent_today=lambda db: PurchaseStore(db).spent(ACCOUNT, 0),
            spent_in_a_week=lambda db: PurchaseStore(db).spent(ACCOUNT, 7),
            latest=lambda db: OrdererStore(db).latest(),
            last_block=lambda db: PurchaseStore(db).last_block(MARKET),
            turn_in_flight=lambda db: OrdererStore(db).turn_in_flight(ACCOUNT),
            next_renewal=lambda db: OrdererStore(db).next_renewal([ACCOUNT, ""]),
            next_new=lambda db: OrdererStore(db).next_new([ACCOUNT, ""]),
            seconds_to_turn=lambda db: OrdererStore(db).seconds_to_turn([ACCOUNT, ""]),
        ),
        *group(
            "sweep: renewals to come",
            in_two_weeks=lambda db: renewals_store.until(db, HEIGHT + 14 * BLOCKS_A_DAY, ACCOUNT),
            in_a_month=lambda db: renewals_store.until(db, HEIGHT + 30 * BLOCKS_A_DAY, ACCOUNT),
        ),
    ]


def status(filled: Filled) -> list[Statement]:
    """Return what metrics, pages and people ask: how much there is to do, and where things stand."""
    ever = datetime(2100, 1, 1)  # noqa: DTZ001 - as the database gives times
    long_ago = datetime(2020, 1, 1)  # noqa: DTZ001 - likewise
    middle, archive = filled.files // 2, filled.zip_ids[len(filled.zip_ids) // 2]
    return [
        *each_stage("status: counts", "due", backlog.count_due),
        *each_stage("status: counts", "at work", backlog.count_at_work),
        *each_stage("status: counts", "failed", backlog.count_failed),
        *each_stage("status: ages", "waiting", backlog.seconds_waiting),
        *group(
            "status: how archives stand",
            soonest_expiry=lambda db: OverviewStore(db).soonest_expiry(),
            stored=lambda db: OverviewStore(db).stored(),
            not_ordered=lambda db: OverviewStore(db).in_state(ArchiveStatus.NOT_ORDERED),
            expired=lambda db: OverviewStore(db).expired(),
            under_floor=lambda db: OverviewStore(db).under(10),
            oldest_unreplicated=lambda db: OverviewStore(db).oldest_unreplicated(),
            oldest_audit=lambda db: audits.oldest_seconds(db, Place.NETWORK),
            unsound=lambda db: audits.unsound(db, Place.NETWORK),
            budget=lambda db: audits.seconds_to_rest(db, Place.NETWORK, 1 << 40),
        ),
        *each_stage("status: failures", "latest", lambda db, stage: backlog.failures(db, stage, 20)),
        *each_stage(
            "status: failures", "first", lambda db, stage: backlog.failed_between(db, stage, (None, 0), ever, 1000)
        ),
        *each_stage(
            "status: failures", "next", lambda db, stage: backlog.failed_between(db, stage, (long_ago, 0), ever, 1000)
        ),
        *each_stage("status: failures", "one", lambda db, stage: backlog.failure(db, stage, filled.due(stage)[0])),
        *group("status: tried again", **{name: partial(_tried_again, stage) for name, stage in TRIED.items()}),
        *group(
            "status: on the first page",
            waiting=lambda db: FirstPage(db).waiting(3),
            audits=lambda db: FirstPage(db).audit_problems(),
            failures=lambda db: FirstPage(db).failures(),
            began=lambda db: FirstPage(db).began(),
            ends=lambda db: FirstPage(db).ends(),
            ends_ask=lambda db: FirstPage(db).ends_ask(20),
        ),
        *group(
            "status: files and archives, a page of them",
            newest_files=lambda db: FilePagesStore(db).files(None, None),
            files_before=lambda db: FilePagesStore(db).files(middle, None),
            files_after=lambda db: FilePagesStore(db).files(None, middle),
            states=lambda db: FilePagesStore(db).with_states(
                [{"file_id": 1 + 97 % filled.files, "zip_id": archive}, {"file_id": middle, "zip_id": None}]
            ),
            video=lambda db: FilePagesStore(db).video(1 + middle // 4 * 4),
            newest_archives=lambda db: ArchivePagesStore(db).archives(None, None),
            archives_before=lambda db: ArchivePagesStore(db).archives(archive, None),
            archives_after=lambda db: ArchivePagesStore(db).archives(None, archive),
        ),
        *group(
            "status: archives in a stage",
            **{stage: partial(_in_stage, stage) for stage in ARCHIVE_STAGES},
        ),
        *group(
            "status: the page of an archive",
            archive=lambda db: ArchivePagesStore(db).archive(archive - archive % 2),  # of these some have an end
            members=lambda db: ArchivePagesStore(db).members(filled.zip_ids[0]),
            purchases=lambda db: ArchivePagesStore(db).purchases(archive),
            evidence=lambda db: ArchivePagesStore(db).evidence(archive),
            audits=lambda db: ArchivePagesStore(db).audits(archive),
            holds=lambda db: ArchivePagesStore(db).holds(archive),
            way=lambda db: way(db, archive, archive),
        ),
        *group(
            "status: requests, a page of them",
            newest=lambda db: RequestPagesStore(db).requests(None, None),
            before=lambda db: RequestPagesStore(db).requests(filled.downloads // 2, None),
            after=lambda db: RequestPagesStore(db).requests(None, filled.downloads // 2),
            one=lambda db: RequestPagesStore(db).request(filled.downloads // 2),
            **{state: partial(_requests_in, state) for state in REQUEST_STATES},
        ),
        *group(
            "status: money and the system",
            renewals=lambda db: MoneyPageStore(db).renewals(30),
            latest=lambda db: MoneyPageStore(db).latest(),
            server=lambda db: SystemPageStore(db).server(),
            schema=lambda db: SystemPageStore(db).schema(),
        ),
        *[one for one in lists(filled, 10) if one.name not in {"set aside", "by much at once", "not packed"}],
        *group(
            "status: a batch",
            batch=lambda db: BatchStore(db).batch(filled.downloads // 2),
            counts=lambda db: BatchStore(db).counts(filled.downloads // 2),
            files=lambda db: BatchStore(db).files(filled.downloads // 2, 0, 100),
        ),
        *group(
            "status: one file",
            file=lambda db: IngestStore(db).file(middle),
            camera=lambda db: IngestStore(db).camera(middle),
            requests=lambda db: IngestStore(db).requests(1 + 97 % filled.files),
            door_extraction=lambda db: DoorStore(db).extraction(filled.due(EXPIRE)[2]),
        ),
        *group(
            "status: roadvault status",
            **{f"folders in state {n}": partial(_folders, n) for n in FolderStatus if n is not FolderStatus.PACKED},
            **{f"archives in state {n}": partial(_archives, n) for n in ArchiveStatus if n is not ArchiveStatus.LIVE},
            kept=operator.kept,
            so_far=operator.so_far,
        ),
        *group(
            "status: what roadvault goes through",
            open_folders=folders.open_folders,
            kept_archives=repair.kept_archives,
            files_to_verify=lambda db: operator.files(db, archive),
            archives_to_verify=lambda db: operator.archives_after(db, archive, 50),
            uploads_to_verify=lambda db: operator.uploads_after(db, "", 50),
            paying_account=operator.paying_account,
        ),
        *group(
            "status: the catalogue",
            on_the_page=lambda db: ArchivePagesStore(db).catalogue(),
            shown=operator.catalogue,
            ages=lambda db: CatalogueStore(db).ages(),
            published=lambda db: CatalogueStore(db).published(60),
            stale=lambda db: CatalogueStore(db).stale(50),
            now=lambda db: CatalogueStore(db).now(),
        ),
        *group(
            "status: left out by a recovery",
            on_the_page=lambda db: FirstPage(db).left_out(),
            listed=lambda db: left_out.listed(db, 20),
            count=left_out.count,
            unread=left_out.unread,
            passed_by=left_out.passed_by,
            elsewhere=left_out.elsewhere,
            held=left_out.held,
            noted=lambda db: left_out.noted(db, ["bafy", "bafy2"]),
            cut_short=left_out.cut_short,
            new=lambda db: left_out.first_new(db, 0),
        ),
        *group(
            "status: master keys",
            uses=master_keys.uses,
            page=lambda db: master_keys.page(db, None, archive),
        ),
        *group(
            "set aside",
            waiting=lambda db: set_aside_store.waiting(db, 50, filled.files // 2),
            on_the_page=lambda db: FirstPage(db).set_aside(),
            count=lambda db: PackerStore(db).count_set_aside(),
        ),
        *group(
            "custody log",
            unchained=store.unchained_seconds,
            faults=lambda db: fault_store.faults(db, 20),
            count_faults=fault_store.count_faults,
            head=lambda db: check.check_head(db, None),
            trouble=check.trouble,
            accepted=lambda db: fault_store.accepted(db, 0, 9),
            any_accepted=lambda db: fault_store.any_accepted(db, 9),
            accepted_among=lambda db: fault_store.accepted_among(db, [1, 2]),
            unaccepted=lambda db: fault_store.unaccepted(db, 9),
            noted=lambda db: note.trouble(db, Head(middle, bytes(32))),
            a_part=lambda db: check.check(db, middle, middle + 256),
            archive=lambda db: store.archive_of(db, middle),
            of_a_file=lambda db: history.newest(db, 1 + middle % filled.files, 1, None, 100),
            tied=lambda db: _tied(db, middle),
        ),
        *group(
            "status: ends and holds",
            soon=ends.count_soon,
            holds=lambda db: holding.holds(db, 50),
            periods=holding.period_keys,
            in_doubt=asking.in_doubt,
        ),
        *group(
            "status: what happened",
            pipeline=backlog.pipeline,
            days=lambda db: days.last(db, 400),
            heartbeats=heartbeats.all,
            of_an_archive=lambda db: event_log.of_row(db, [(stage, archive) for stage in (PIN, ORDER, PROVE)], 50),
            latest=lambda db: event_log.latest(db, 50),
            before=lambda db: event_log.latest(db, 50, middle // 10),
        ),
        *group(
            "status: health", ping=lambda db: db.ping(), schema=check_schema, server=check_server, shown=show_schema
        ),
    ]


def lists(filled: Filled, limit: int = 1000) -> list[Statement]:
    """Return lists of files, by each index that can lead: a page, and one far behind it.

    Short pages read as much at every length of the archive, where no filter besides the one that leads is to be met.
    """
    middle, now = filled.files // 2, datetime.now(UTC).replace(tzinfo=None)
    ago, then = now - timedelta(days=700), now - timedelta(days=800)
    wanted = {
        "all": (Filters(), Mark("number", None, middle)),
        "of an archive": (Filters(archive=filled.zip_ids[0]), Mark("archive", None, 5)),
        "set aside": (Filters(state="set aside"), Mark("aside", None, middle)),
        "ended": (Filters(state="ended"), Mark("ended", f"{filled.files // 20}", middle)),
        "not packed": (Filters(state="waiting to be packed"), Mark("waiting", None, middle)),
        "of a camera": (Filters(camera="gate-7"), Mark("camera", f"{ago}", middle)),
        "of a camera that was found": (Filters(camera="model-7"), Mark("camera", f"{ago}", middle)),
        "of a camera, no time": (Filters(camera="gate-7"), Mark("camera", None, middle)),
        "recorded in a year": (
            Filters(recorded_from=ago - timedelta(days=365), recorded_to=ago), Mark("recorded", f"{then}", middle)
        ),
        "received in a year": (
            Filters(received_from=ago - timedelta(days=365), received_to=ago), Mark("received", f"{then}", middle)
        ),
        "by name": (Filters(name="gate-7-"), Mark("name", "gate-7-3", middle)),
        "with a tag": (Filters(tag="tag-5"), Mark("tag", None, middle)),
        "by much at once": (
            Filters(name="gate-7", camera="gate-7", recorded_to=now, received_from=ago, tag="tag-35", state="packed"),
            Mark("camera", f"{ago}", middle),
        ),
    }  # fmt: skip

    async def run(filters: Filters, place: Mark, db: Database) -> None:
        for newest_first in (True, False):
            order = Order(newest_first, limit)
            await FilesStore(db).page(filters, order)
            await FilesStore(db).page(filters, order._replace(after=place.encode(filters, order)))

    return group("status: lists of files", **{name: partial(run, *what) for name, what in wanted.items()})


async def _tried_again(stage: Stage, db: Database) -> object:
    return await FirstPage(db).trying(stage)


async def _in_stage(stage: str, db: Database) -> object:
    return await ArchivePagesStore(db).in_stage(stage, 50)


async def _requests_in(state: str, db: Database) -> object:
    return await RequestPagesStore(db).in_state(state)


async def _tied(db: Database, size: int) -> object:
    head = await tying.root(db, size)
    assert head is not None
    return await tying.tie(db, 2, 10, head)


async def _folders(state: FolderStatus, db: Database) -> object:
    return await operator.folders(db, state)


async def _archives(state: ArchiveStatus, db: Database) -> object:
    return await operator.archives(db, state)


def of_a_row(filled: Filled) -> list[Statement]:
    """Return what a worker asks about the row that it works on."""
    archive, market = filled.archives // 2, MARKET
    return group(
        "what a worker reads of its row",
        packer_folder=lambda db: PackerStore(db).folder(filled.due(PACK)[0]),
        packer_uploads=lambda db: PackerStore(db).uploads(filled.due(PACK)[0]),
        pinner_archive=lambda db: PinnerStore(db).archive(filled.due(PIN)[0]),
        pinner_members=lambda db: PinnerStore(db).members(archive),
        pinner_uploads=lambda db: PinnerStore(db).upload_paths(filled.due(PROVE)[0]),
        orderer_archive=lambda db: OrdererStore(db).archive(archive, market),
        orderer_refusal=lambda db: PurchaseStore(db).refusal(archive),
        orderer_in_flight=lambda db: PurchaseStore(db).in_flight(ACCOUNT),
        orderer_unsettled=lambda db: PurchaseStore(db).unsettled(filled.due(ORDER)[0]),
        prover_archive=lambda db: ProofStore(db).archive(archive),
        prover_members=lambda db: ProofStore(db).members(archive),
        retriever_wanted=lambda db: RetrieverStore(db).wanted(filled.due(FETCH)[0]),
        stream_elsewhere=lambda db: StreamStore(db).stream_url("main"),
        stream_located=lambda db: StreamStore(db).located(1 + filled.due(FETCH)[0] % filled.files),
        look_subject=lambda db: LookStore(db).subject(1),
        stream_now=lambda db: db.now(),
        retriever_extraction=lambda db: ExpiryStore(db).extraction(filled.due(EXPIRE)[0]),
        notifier_callback=lambda db: NotifierStore(db).callback(filled.due(CALLBACK)[0]),
        recovery_known=lambda db: recovery.known(db, list(range(1, recovery.AT_ONCE + 1))),
        receipt_file=lambda db: receipts.file(db, 1),
        receipt_files=lambda db: receipts.files(db, archive),
        receipt_bought=lambda db: receipts.bought(db, archive, "c"),
        operator_key=lambda db: operator.sealed_key(db, archive),
        operator_members=lambda db: operator.members(db, archive),
        operator_uploads=lambda db: db.transact(lambda tx: repair.uploads_to_pack(tx, filled.failed(PIN)[2])),
    )
