"""Fills a migrated database with a history of any length, and with work in hand that is the same at every length."""

from dataclasses import dataclass

from roadvault_common.sql.db import Database, Transaction
from roadvault_common.work.stages import (
    ASK,
    AUDIT,
    CALLBACK,
    DROP,
    EXPIRE,
    FETCH,
    INSPECT,
    LOOK,
    ORDER,
    PACK,
    PIN,
    PROVE,
    REPORT,
    RESTORE,
    SHRED,
    WATCH,
    Stage,
)
from roadvault_crust_orderer.buying.renewals_store import BLOCKS_A_DAY

HANDFUL = 10
"""Rows that are due, and rows that have failed, in each stage; one more is at work."""
_EACH = 2 * HANDFUL + 1
MEMBERS = 2
"""Files of each folder and archive that is in hand."""
ACCOUNT = "5" + "F" * 47
MARKET = "0x"
HEIGHT = 10_000_000
"""The chain's height now."""
_TERMS, _TERM_DAYS = 10, 182
_FILE_BYTES = 10_000_000
_FILES_AT_ONCE, _ARCHIVES_AT_ONCE = 50_000, 2000
_ZIP_STAGES = (PIN, DROP, ORDER, PROVE, RESTORE, WATCH, AUDIT, INSPECT, SHRED)
_DOWNLOAD_STAGES = (FETCH, CALLBACK, EXPIRE)
_BATCH_STAGES = (ASK, REPORT)

_NOW = "UTC_TIMESTAMP(6)"
_FOLDERS = """
INSERT INTO folder_info (folder_id, status, files, bytes, zip_id, close_at, closed_at, create_time)
SELECT seq, 2, {each}, {each} * {size}, seq, {came}, {came}, {came} FROM seq_{first}_to_{last}
"""
_FILES = """
INSERT INTO file_upload_info
    (file_id, file_name, file_type, size, sha256, folder_id, zip_id, zip_offset, status, create_time,
    camera, recorded_at, lat, lon)
SELECT seq, CONCAT('gate-', MOD(seq, 40), '-', seq, '.mp4'), 'mp4', {size}, SHA2(seq, 256),
    (seq - 1) DIV {each} + 1, (seq - 1) DIV {each} + 1, 32 + MOD(seq - 1, {each}) * {size}, 1, {came},
    IF(MOD(seq, 10), CONCAT('gate-', MOD(seq, 40)), NULL),
    IF(MOD(seq, 10), {came} - INTERVAL MOD(seq, 600) SECOND, NULL),
    IF(MOD(seq, 10), 30 + MOD(seq, 40) / 100, NULL), IF(MOD(seq, 10), 120, NULL)
FROM seq_{first}_to_{last}
"""
_TAGS = """
INSERT INTO file_tag_info (tag, file_id)
SELECT CONCAT('tag-', MOD(seq * 7919, 1000)), seq FROM seq_{first}_to_{last} WHERE MOD(seq, 5) = 0
"""
# Archives were bought for the last time over the last term, are watched every six hours, and have no local copy.
_ARCHIVES = """
INSERT INTO zip_ipfs_info
    (zip_id, folder_id, zip_name, `key`, iv, size, files, cid, dag_size, status, replicas, calculated_at, expired_on,
    expires_at, pinned_at, checked_at, uploads_dropped_at, dropped_at, watch_due,
    order_due, audit_due, create_time, payer)
SELECT seq, seq, CONCAT(seq, '.7z.enc'), REPEAT('k', 180), MD5(seq), {each} * {size}, {each},
    CONCAT('bafybei', SHA2(seq, 224)), {each} * {size} + 300000, 3, 60 + MOD(seq, 40), 1,
    {height} + ({days} - MOD(seq * 37, {days})) * {blocks} + MOD(seq * 7919, {blocks}),
    {now} + INTERVAL ({days} - MOD(seq * 37, {days})) DAY,
    {came}, {now} - INTERVAL MOD(seq, 21600) SECOND, {came}, {came},
    {now} + INTERVAL 7200 + MOD(seq * 7919, 14400) SECOND,
    {now} + INTERVAL ({days} - MOD(seq * 37, {days})) DAY, {now} + INTERVAL 1 + MOD(seq * 7919, 2592000) SECOND, {came},
    '{account}'
FROM seq_{first}_to_{last}
"""
# Each was counted anew at the last look, and voided and proven again once before.
_EVIDENCE = """
INSERT INTO evidence_info
    (zip_id, valid, market, block, replicas, counted_at, proven_at, proven_by, members, bytes, void_at, void_reason)
SELECT zip.seq, IF(turn.seq = 1, 1, NULL), 'here', {height}, 60 + MOD(zip.seq, 40),
    {now} - INTERVAL MOD(zip.seq, 21600) SECOND, {now} - INTERVAL 90 DAY, 'gateway there', 3, 3 * {size},
    IF(turn.seq = 1, NULL, {now} - INTERVAL 90 DAY), IF(turn.seq = 1, NULL, '50 replicas')
FROM seq_{first}_to_{last} AS zip JOIN seq_0_to_1 AS turn
"""
_LABELS = """
INSERT INTO label_info (zip_id, label, node) SELECT seq, REPEAT('l', 400), REPEAT('n', 150) FROM seq_{first}_to_{last}
"""
# And audited within the last month.
_AUDITS = """
INSERT INTO audit_info (zip_id, place, audited_at, sound, sound_at, members, bytes, way)
SELECT seq, 'network', {now} - INTERVAL MOD(seq * 7919, 2592000) SECOND, 1, {now}, 3, 3 * {size}, 'witness'
FROM seq_{first}_to_{last}
"""
# Half of the archives have an end, and of those half have ended.
_ENDS = """
INSERT INTO retention_info (zip_id, period_key, ends_at, shredded_at, shred_due)
SELECT seq, LPAD(60 + MOD(seq, 60), 16, '0'), {came} + INTERVAL {years} YEAR,
    IF(MOD(seq, 4) = 2, {now}, NULL), IF(MOD(seq, 4) = 2, NULL, {now} + INTERVAL 40 DAY + INTERVAL seq SECOND)
FROM seq_{first}_to_{last} WHERE MOD(seq, 2) = 0
"""
_PERIODS = """
INSERT INTO period_key_info (period_key, period, `key`, master_key, kept_at, destroyed_at)
SELECT LPAD(seq, 16, '0'), DATE_FORMAT({now} + INTERVAL CAST(seq AS SIGNED) - 60 MONTH, '%%Y-%%m'),
    IF(seq < 60, NULL, 'k'), IF(seq < 60, NULL, 'm'), {now},
    IF(seq < 60, {now} - INTERVAL 60 - CAST(seq AS SIGNED) MONTH, NULL) FROM seq_0_to_{months}
"""
_HOLDS = """
INSERT INTO hold_info (zip_id, file_id, active, reason)
SELECT seq, (seq - 1) * {each} + 1, IF(MOD(seq, 20) = 0, 1, NULL), 'x' FROM seq_{first}_to_{last} WHERE MOD(seq, 5) = 0
"""
_RENEWALS = """
INSERT INTO renewal_info (payer, day, archives, mebibytes)
SELECT payer, expired_on DIV %s, COUNT(*), SUM(CEIL(dag_size / 1048576)) FROM zip_ipfs_info
GROUP BY payer, expired_on DIV %s
"""
_ORDERS = """
INSERT INTO order_info
    (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce, era_birth, era_death,
    extrinsic_hash, extrinsic, price, block, settled_at, create_time)
SELECT zip.seq, term.seq, '{account}', '{market}', NULL, 1, CONCAT('bafybei', SHA2(zip.seq, 224)),
    {each} * {size} + 300000, zip.seq * {terms} + term.seq, 1, 65,
    CONCAT('0x', SHA2(CONCAT(zip.seq, '-', term.seq), 256)), REPEAT('ab', 150),
    2000000000 + MOD(zip.seq, 1000), 2, {now},
    {now} - INTERVAL ({terms} - term.seq) * {days} + MOD(zip.seq * 37, {days}) DAY
        - INTERVAL MOD(zip.seq * 7919, 86400) SECOND
FROM seq_{first}_to_{last} AS zip JOIN seq_1_to_{terms} AS term
"""
_DOWNLOADS = """
INSERT INTO download_info
    (download_id, file_id, cb_url, status, source, extracted_at, link_expires_at, called_back_at, create_time)
SELECT seq, 1 + MOD(seq * 97, {files}), 'https://client.example/done', 4, 'ipfs', {came}, {came}, {came}, {came}
FROM seq_{first}_to_{last}
"""
# Each of these requests was of a batch, too.
_BATCHES = """
INSERT INTO batch_info (batch_id, cb_url, cb_place, peer, files, is_open, done, failed, cancelled, moved_at, ended_at,
    called_back_at, create_time)
SELECT seq, 'https://client.example/done', 'client.example:443', '192.0.2.1', 1, NULL, 1, 0, 0, {came}, {came}, {came},
    {came}
FROM seq_{first}_to_{last}
"""
_BATCH_FILES = """
INSERT INTO batch_file_info (batch_id, file_id, download_id, state)
SELECT seq, 1 + MOD(seq * 97, {files}), seq, 2 FROM seq_{first}_to_{last}
"""
# Each file was received, and asked for once in a hundred; what is kept of the tree is as of ten times as many lines.
_CUSTODY = """
INSERT INTO custody_info (act, file_id, zip_id, done_at, facts, position, follows, hash)
SELECT IF(MOD(seq, 10) = 9, 'proven', 'asked'), IF(MOD(seq, 10) = 9, NULL, 1 + MOD(seq, {files})),
    IF(MOD(seq, 10) = 9, 1 + MOD(seq, {archives}), NULL), {came}, '{{}}', seq - 1, NULL, UNHEX(SHA2(seq, 256))
FROM seq_{first}_to_{last}
"""
_CUSTODY_NODES = """
INSERT INTO custody_node_info (level, number, hash) SELECT 8 + level.seq, number.seq, UNHEX(SHA2(number.seq, 256))
FROM seq_0_to_9 AS level JOIN seq_0_to_499 AS number
"""
# Each tenth file came by tus, under a key, and its row has not been forgotten yet; a hundred are still coming.
_UPLOADS = """
INSERT INTO upload_info (upload_id, path, size, came, metadata, peer, upload_key, file_id, held_until, expires_at)
SELECT MD5(seq), CONCAT('received/x/', seq), {size}, {size}, 'filename YQ==', CONCAT('10.0.0.', MOD(seq, 200)),
    SHA2(seq, 256), seq, {now}, {now} + INTERVAL seq SECOND
FROM seq_{first}_to_{last} WHERE MOD(seq, 10) = 0
"""
_UPLOAD_KEYS = """
INSERT INTO upload_key_info (upload_key, path, file_id, expires_at)
SELECT SHA2(seq, 256), CONCAT('received/x/', seq), seq, {now} + INTERVAL seq SECOND
FROM seq_{first}_to_{last} WHERE MOD(seq, 10) = 0
"""
_OPEN_UPLOADS = """
INSERT INTO upload_info (upload_id, path, size, came, metadata, peer, held_until, expires_at)
SELECT MD5(CONCAT('open-', seq)), CONCAT('received/open/', seq), 1000, 10, 'filename YQ==', '10.0.0.1',
    {now} + INTERVAL 1 HOUR, {now} + INTERVAL CAST(seq AS SIGNED) - 10 HOUR
FROM seq_1_to_100
"""
# Half of the files are videos, and of those half have pictures.
_VIDEOS = """
INSERT INTO video_info (file_id, looked_at, unreadable, container, video_codec, width, height, duration, camera,
    recorded_at, known_camera, known_at, recorded_by, path, picture_bytes, picture_places, bytes, seen_at)
SELECT seq, {came}, IF(MOD(seq, 2), NULL, 'InvalidDataError'), IF(MOD(seq, 2), 'mov', NULL),
    IF(MOD(seq, 2), 'h264', NULL), 1920, 1080, 60,
    IF(MOD(seq, 2), CONCAT('model-', MOD(seq, 40)), NULL), IF(MOD(seq, 2), {came}, NULL),
    IF(MOD(seq, 2), CONCAT('model-', MOD(seq, 40)), NULL), IF(MOD(seq, 2), {came}, NULL),
    IF(MOD(seq, 2), 'name', NULL), IF(MOD(seq, 4) = 1, CONCAT('posters/', seq), NULL),
    IF(MOD(seq, 4) = 1, '9000,9000,9000', NULL), IF(MOD(seq, 4) = 1, '6.000,30.000,54.000', NULL),
    IF(MOD(seq, 4) = 1, 27000, 0), IF(MOD(seq, 4) = 1, {came}, NULL)
FROM seq_{first}_to_{last}
"""
# Each archive's way through the stages, one day for each day, and what services have said.
_EVENTS = """
INSERT INTO event_log (stage, row_id, outcome, attempt, create_time)
SELECT ELT(stage.seq, 'pin', 'order', 'prove', 'drop'), zip.seq, 'done', 1, {now} - INTERVAL {archives} - zip.seq MINUTE
FROM seq_1_to_{archives} AS zip JOIN seq_1_to_4 AS stage
"""
_DAYS = """
INSERT INTO day_info (day, bytes_in, carried_bytes, carried_files)
SELECT UTC_DATE() - INTERVAL seq DAY, seq, 0, 0 FROM seq_2_to_1800
"""
_HEARTBEATS = """
INSERT INTO heartbeat_info (service, instance, version, started_at, heard_at, facts)
SELECT ELT(1 + MOD(seq, 3), 'ingest', 'pinner', 'crust-orderer'), seq, '0', {now}, {now} - INTERVAL seq HOUR, '{{}}'
FROM seq_1_to_30
"""
_UNDER_WAY = """
INSERT INTO order_info
    (zip_id, term, account, cid, declared_size, nonce, era_birth, era_death, extrinsic_hash, extrinsic, price)
VALUES (%s, 1, %s, 'bafy', 1, 0, 1, 65, '0x', 'ab', 1)
"""


@dataclass(frozen=True)
class Filled:
    """What a filled database holds: ids run from 1 through the history, then come the rows in hand."""

    files: int
    archives: int
    downloads: int

    def due(self, stage: Stage) -> range:
        """Return the ids of the rows that are due in a stage."""
        return range(self._first(stage), self._first(stage) + HANDFUL)

    def failed(self, stage: Stage) -> range:
        """Return the ids of the rows that have failed in a stage."""
        return range(self._first(stage) + HANDFUL, self._first(stage) + 2 * HANDFUL)

    @property
    def zip_ids(self) -> range:
        """Return the ids of all archives: more than two pages of them, however short the history."""
        return range(1, self.archives + _EACH * len(_ZIP_STAGES) + 1)

    @property
    def open_folders(self) -> range:
        """Return two folders that are open: of the second, the age has passed."""
        first = self.archives + _EACH * (len(_ZIP_STAGES) + 1) + 1
        return range(first, first + 2)

    def _first(self, stage: Stage) -> int:
        if stage is PACK:
            return self.archives + _EACH * len(_ZIP_STAGES) + 1
        if stage in _ZIP_STAGES:
            return self.archives + _EACH * _ZIP_STAGES.index(stage) + 1
        if stage is LOOK:
            return self.files + 1
        if stage in _BATCH_STAGES:
            return self.downloads + _EACH * _BATCH_STAGES.index(stage) + 1
        return self.downloads + _EACH * _DOWNLOAD_STAGES.index(stage) + 1


async def fill(db: Database, files: int, files_each: int = 500, files_asked: int = 100) -> Filled:
    """Fill the tables with archives of `files_each` files, all on the network only, and what they were ordered with.

    One file in `files_asked` was asked for once.
    """
    archives, downloads = max(2, files // files_each), max(1, files // files_asked)
    values = {
        "now": _NOW, "files": files, "each": -(-files // archives), "size": _FILE_BYTES, "account": ACCOUNT,
        "market": MARKET, "height": HEIGHT, "blocks": BLOCKS_A_DAY, "terms": _TERMS, "days": _TERM_DAYS,
        "months": 120, "years": 6,
    }  # fmt: skip
    for statement in (_FOLDERS, _ARCHIVES, _LABELS, _EVIDENCE, _AUDITS, _ORDERS, _ENDS, _HOLDS):
        await _history(db, statement, archives, _ARCHIVES_AT_ONCE, values)
    await db.execute(
        "UPDATE zip_ipfs_info JOIN retention_info USING (zip_id) SET master_key = period_key WHERE shredded_at IS NULL"
    )
    await db.execute(_PERIODS.format(**values))
    await db.execute(_RENEWALS, (BLOCKS_A_DAY, BLOCKS_A_DAY))
    await _history(db, _CUSTODY, files, _FILES_AT_ONCE, {**values, "archives": archives})
    await db.execute(_CUSTODY_NODES)
    await db.execute("UPDATE custody_head_info SET size = %s, hash = UNHEX(SHA2(%s, 256))", (files, files))
    await db.execute(
        "INSERT INTO custody_fault_info (position, reason, accepted_at)"
        " SELECT seq, 'x', IF(MOD(seq, 100), NOW(), NULL) FROM seq_1_to_2000"
    )
    await db.execute(
        "INSERT INTO left_out_info (cid, kind, zip_id, segment, archives, record, reason, catalogued)"
        " SELECT CONCAT('bafyleft', seq), IF(seq = 1, 'segment', 'archive'), NULLIF(5000 + seq, 5001),"
        " IF(seq = 1, 7, NULL), 1, '{}', 'x', seq <> 2"
        " FROM seq_1_to_300"
    )
    await _history(db, _FILES, files, _FILES_AT_ONCE, values)
    await _history(db, _TAGS, files, _FILES_AT_ONCE, values)
    for statement in (_DOWNLOADS, _BATCHES, _BATCH_FILES):
        await _history(db, statement, downloads, _FILES_AT_ONCE, values)
    for statement in (_UPLOADS, _UPLOAD_KEYS):
        await _history(db, statement, files, _FILES_AT_ONCE, values)
    await db.execute(_OPEN_UPLOADS.format(**values))
    await _history(db, _VIDEOS, files, _FILES_AT_ONCE, values)
    for statement in (_EVENTS, _DAYS, _HEARTBEATS):
        await db.execute(statement.format(**values, archives=archives))
    filled = Filled(files, archives, downloads)
    async with db.transaction() as tx:
        await _in_hand(tx, filled)
    await db.execute(
        "UPDATE zip_ipfs_info JOIN file_upload_info USING (zip_id) JOIN download_info USING (file_id)"
        " SET master_key = LPAD(60, 16, '0') WHERE fetch_due IS NOT NULL AND master_key IS NULL"
    )
    await db.execute(
        "INSERT INTO set_aside_info (file_id, reason, lost_at) SELECT file_id, 'x', IF(file_id %% 40, NULL, NOW())"
        " FROM file_upload_info WHERE file_id <= %s AND (file_id %% 20 = 0 OR file_id = %s)",
        (files, 1 + filled.due(FETCH)[0] % files),
    )
    for table in (
        "folder_info",
        "file_upload_info",
        "file_tag_info",
        "zip_ipfs_info",
        "label_info",
        "order_info",
        "renewal_info",
        "download_info",
        "batch_info",
        "batch_file_info",
        "evidence_info",
        "set_aside_info",
        "custody_info",
        "custody_node_info",
        "custody_fault_info",
        "left_out_info",
        "audit_info",
        "retention_info",
        "hold_info",
        "period_key_info",
        "upload_info",
        "upload_key_info",
        "video_info",
        "event_log",
        "day_info",
        "heartbeat_info",
    ):
        await db.fetch_all(f"ANALYZE TABLE {table}")
    return filled


async def _history(db: Database, statement: str, total: int, at_once: int, values: dict[str, object]) -> None:
    """Insert rows 1 to `total`, which came evenly over the last five years."""
    age = _TERMS * _TERM_DAYS * 86_400
    came = f"{_NOW} - INTERVAL {age} - seq * {age} / {total} SECOND"
    for first in range(1, total + 1, at_once):
        last = min(first + at_once - 1, total)
        await db.execute(statement.format(**values, came=came, first=first, last=last))


async def _in_hand(tx: Transaction, filled: Filled) -> None:
    """Write the rows that somebody has to do something about."""
    for stage in _ZIP_STAGES:
        for place, columns in enumerate(_places(stage)):
            zip_id = filled.due(stage).start + place
            own = {} if stage is SHRED else columns
            await _archive(tx, filled, zip_id, {**_AS_AT[stage.name], **own})
            if stage is SHRED:
                await _insert(tx, "retention_info", {"zip_id": f"{zip_id}", "ends_at": _NOW, **columns})
            if stage.name in _EVIDENCE_AT:
                counted = {"zip_id": f"{zip_id}", "market": "'here'", "block": f"{HEIGHT}", "replicas": "60"}
                await _insert(
                    tx, "evidence_info", {**counted, "counted_at": _NOW, "proven_at": _EVIDENCE_AT[stage.name]}
                )
    failed = {"status": "3", "open_slot": "NULL"}
    for place, columns in enumerate(_places(PACK)):
        state = failed if HANDFUL <= place < 2 * HANDFUL else {"status": "1", "open_slot": "NULL"}
        await _folder(tx, filled, filled.due(PACK).start + place, {**state, "close_at": _NOW, **columns})
    for folder_id, close_at in zip(filled.open_folders, (f"{_NOW} + INTERVAL 1 DAY", _NOW), strict=True):
        columns = {"status": "0", "open_slot": f"'worker-{folder_id}'", "close_at": close_at}
        await _folder(tx, filled, folder_id, columns)
    for stage in _DOWNLOAD_STAGES:
        for place, columns in enumerate(_places(stage)):
            await _download(tx, filled, filled.due(stage).start + place, {**_AS_AT[stage.name], **columns})
    await _batches_in_hand(tx, filled)
    await _looks_in_hand(tx, filled)
    await tx.execute("UPDATE picture_info SET enrolled = %s", (filled.due(LOOK).start + _EACH - 1,))
    first = filled.due(EXPIRE).start + _EACH
    for download_id in range(first, first + HANDFUL):
        await _download(tx, filled, download_id, _AS_AT["kept"])
    await tx.execute(_UNDER_WAY, (filled.due(ORDER).start, ACCOUNT))


async def _looks_in_hand(tx: Transaction, filled: Filled) -> None:
    for place, columns in enumerate(_places(LOOK)):
        await _insert(tx, "video_info", {"file_id": f"{filled.due(LOOK).start + place}", **columns})


async def _batches_in_hand(tx: Transaction, filled: Filled) -> None:
    for stage in _BATCH_STAGES:
        for place, columns in enumerate(_places(stage)):
            batch = {"batch_id": f"{filled.due(stage).start + place}", "cb_url": "'https://c/'", "cb_place": "'c:443'"}
            await _insert(tx, "batch_info", {**batch, "files": "1", **columns})


_LIVE = {"cid": "'bafy'", "dag_size": "1", "pinned_at": _NOW, "status": "3", "replicas": "60"}
_EXTRACTED = {"path": "UUID()", "status": "1", "expire_due": f"{_NOW} + INTERVAL 1 DAY"}
_OVER = {**_EXTRACTED, "status": "2", "link_expires_at": _NOW}
_AS_AT: dict[str, dict[str, str]] = {
    "pin": {},
    "drop": _LIVE,
    "order": {**_LIVE, "status": "0"},
    "watch": {**_LIVE, "expires_at": f"{_NOW} + INTERVAL 90 DAY", "order_due": f"{_NOW} + INTERVAL 83 DAY"},
    "prove": {**_LIVE, "pinned_at": f"{_NOW} - INTERVAL 30 DAY"},
    "restore": {**_LIVE, "path": "NULL", "uploads_dropped_at": _NOW, "dropped_at": _NOW},
    "audit": {**_LIVE, "path": "NULL", "uploads_dropped_at": _NOW, "dropped_at": _NOW},
    "inspect": _LIVE,
    "shred": _LIVE,
    "fetch": {"status": "0", "open_key": "SHA2(UUID(), 256)"},
    "callback": {**_EXTRACTED, "open_key": "SHA2(UUID(), 256)"},
    "expire": _OVER,
    "kept": _OVER,
}
"""What stands on a row when it comes to a stage."""
_EVIDENCE_AT = {"drop": _NOW, "prove": "NULL"}
"""When it was proven by then, where there is evidence."""


def _places(stage: Stage) -> list[dict[str, str]]:
    """Return what stands in a stage's columns: of rows that are due, that have failed, and of one at work."""
    due = {"due": f"{_NOW} - INTERVAL 60 SECOND"}
    failed = {"due": "NULL", "attempts": "8", "reason": "'it can not be done'", "failed_at": _NOW}
    at_work = {"due": f"{_NOW} + INTERVAL 1 DAY", "token": "REPEAT('t', 32)", "attempts": "1"}
    places = [due] * HANDFUL + [failed] * HANDFUL + [at_work]
    return [{stage.column(name): value for name, value in place.items()} for place in places]


async def _archive(tx: Transaction, filled: Filled, zip_id: int, columns: dict[str, str]) -> None:
    await _folder(tx, filled, zip_id, {"status": "2", "zip_id": f"{zip_id}", "close_at": _NOW})
    common = {"zip_id": f"{zip_id}", "folder_id": f"{zip_id}", "zip_name": f"'{zip_id}.7z.enc'", "path": "UUID()"}
    sizes = {
        "`key`": "'k'",
        "master_key": "LPAD(60, 16, '0')",
        "iv": "MD5('i')",
        "size": f"{MEMBERS * _FILE_BYTES}",
        "files": f"{MEMBERS}",
    }
    await _insert(tx, "zip_ipfs_info", {**common, **sizes, **columns})
    await _insert(tx, "label_info", {"zip_id": f"{zip_id}", "label": "'l'"})


async def _folder(tx: Transaction, filled: Filled, folder_id: int, columns: dict[str, str]) -> None:
    sizes = {"files": f"{MEMBERS}", "bytes": f"{MEMBERS * _FILE_BYTES}"}
    await _insert(tx, "folder_info", {"folder_id": f"{folder_id}", **sizes, **columns})
    first = filled.files + (folder_id - filled.archives - 1) * MEMBERS + 1
    for file_id in range(first, first + MEMBERS):
        file = {"file_id": f"{file_id}", "file_name": "'gate-1.mp4'", "file_type": "'mp4'", "size": f"{_FILE_BYTES}"}
        place = {"sha256": f"SHA2({file_id}, 256)", "path": "UUID()", "folder_id": f"{folder_id}"}
        packed = {"zip_id": columns["zip_id"], "zip_offset": f"{file_id}"} if "zip_id" in columns else {}
        await _insert(tx, "file_upload_info", {**file, **place, **packed})


async def _download(tx: Transaction, filled: Filled, download_id: int, columns: dict[str, str]) -> None:
    row = {"download_id": f"{download_id}", "file_id": f"{1 + download_id % filled.files}", "cb_url": "'https://c/'"}
    await _insert(tx, "download_info", {**row, **columns})


async def _insert(tx: Transaction, table: str, columns: dict[str, str]) -> None:
    await tx.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(columns.values())})")  # noqa: S608
