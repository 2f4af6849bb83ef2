"""Lists of files: every pair of filters against a plain filter of all rows, by pages, while uploads come in."""

import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servers_ingest import Door, Open

from roadvault_common.files import facts
from roadvault_common.sql.db import Database, Row
from roadvault_ingest.lists import files_store
from roadvault_ingest.lists.files_store import FilesStore
from roadvault_ingest.lists.filters import Filters, Mark, Order
from roadvault_ingest.problems import Problem
from roadvault_ingest.states import STATES, state_of
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received

FILES, EACH = 3000, 50
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).replace(tzinfo=None)
ALL = (
    "SELECT file_id, file_name, COALESCE(file.camera, video.camera) AS camera,"
    " COALESCE(file.recorded_at, video.recorded_at) AS recorded_at, file.create_time, file.zip_id,"
    " folder.status AS folder_status,"
    " aside.file_id IS NOT NULL AS set_aside, aside.lost_at IS NOT NULL AS lost, shredded_at,"
    " (SELECT GROUP_CONCAT(tag) FROM file_tag_info WHERE file_tag_info.file_id = file.file_id) AS tags"
    " FROM file_upload_info AS file JOIN folder_info AS folder USING (folder_id)"
    " LEFT JOIN set_aside_info AS aside USING (file_id)"
    " LEFT JOIN retention_info ON retention_info.zip_id = file.zip_id"
    " LEFT JOIN video_info AS video USING (file_id)"
)
GIVEN: dict[str, list[Any]] = {
    "name": ["cam-1", "%_|", "cam-1-7.mp4", "nothing", "c"],
    "camera": ["cam-1", "cam-3", "cam-4", "of nobody"],
    "recorded_from": [NOW - timedelta(days=2), NOW],
    "recorded_to": [NOW - timedelta(days=3), NOW],
    "received_from": [NOW - timedelta(days=1)],
    "received_to": [NOW - timedelta(days=1)],
    "state": list(STATES),
    "archive": [3, 999],
    "tag": ["night", "rare", "none"],
}


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A database with files in every state, that came and were recorded in no order."""
    dice = random.Random(7)
    async with Database.open(database_url) as opened:
        folders, files, tags, videos = list[object](), list[object](), list[object](), list[object]()
        for folder in range(1, FILES // EACH + 1):
            folders += [folder, {58: 1, 59: 3, 60: 0}.get(folder, 2), NOW]
        for file_id in range(1, FILES + 1):
            folder = (file_id - 1) // EACH + 1
            name = dice.choice(["cam-1-7.mp4", f"cam-{file_id % 20}.mp4", "%_|x.mp4", "CAM-1.mp4"])
            camera = dice.choice([None, "cam-1", "cam-2", "cam-3"])
            recorded = dice.choice([None, NOW - timedelta(minutes=dice.randrange(9000)), NOW])
            came = NOW - timedelta(seconds=dice.randrange(200_000))
            zip_id = folder if folder < 58 else None
            files += [file_id, name, "mp4", 1, "0" * 64, folder, zip_id, camera, recorded, came]
            for tag in [tag for tag, of in (("night", 3), ("rare", 700)) if not dice.randrange(of)]:
                tags += [tag, file_id]
            found = dice.choice([None, "cam-1", "cam-4"]), dice.choice([None, NOW - timedelta(minutes=file_id), NOW])
            known = camera or found[0], recorded or found[1]
            if dice.randrange(3):
                videos += [file_id, *found, *((None, None) if known == (camera, recorded) else known)]
        columns = "file_id, file_name, file_type, size, sha256, folder_id, zip_id, camera, recorded_at, create_time"
        for table, width, values in (
            ("folder_info (folder_id, status, close_at)", 3, folders),
            (f"file_upload_info ({columns})", 10, files),
            ("file_tag_info (tag, file_id)", 2, tags),
            ("video_info (file_id, camera, recorded_at, known_camera, known_at)", 5, videos),
        ):
            rows = ", ".join([f"({', '.join(['%s'] * width)})"] * (len(values) // width))
            await opened.execute(f"INSERT INTO {table} VALUES {rows}", values)  # noqa: S608 - names in this file
        await opened.execute(
            "INSERT INTO retention_info (zip_id, ends_at, shredded_at)"
            " SELECT seq, NOW(), IF(seq %% 17 = 3, NOW(), NULL) FROM seq_1_to_60"
        )
        await opened.execute(
            "INSERT INTO set_aside_info (file_id, reason, lost_at)"
            " SELECT file_id, 'x', IF(file_id %% 2, NOW(), NULL) FROM file_upload_info"
            " WHERE zip_id IS NULL AND file_id %% 9 = 0"
        )
        yield opened


async def listed(db: Database, filters: Filters, order: Order) -> list[Row]:
    """Return all pages of a list; see that none is longer than it may be."""
    rows: list[Row] = []
    while True:
        page, mark = await FilesStore(db).page(filters, order)
        assert len(page) <= order.limit
        rows += page
        if mark is None:
            return rows
        order = order._replace(after=mark)


def fitting(rows: list[Row], filters: Filters) -> set[int]:
    """Return the numbers of the files that fit, by nothing but Python."""
    found = set[int]()
    for row in rows:
        recorded, came = row["recorded_at"], row["create_time"]
        fits = [
            filters.name is None or row["file_name"].startswith(filters.name),
            filters.camera is None or row["camera"] == filters.camera,
            filters.recorded_from is None or (recorded is not None and recorded >= filters.recorded_from),
            filters.recorded_to is None or (recorded is not None and recorded < filters.recorded_to),
            filters.received_from is None or came >= filters.received_from,
            filters.received_to is None or came < filters.received_to,
            filters.state is None or state_of(row) == filters.state,
            filters.archive is None or row["zip_id"] == filters.archive,
            filters.tag is None or filters.tag in (row["tags"] or "").split(","),
        ]
        if all(fits):
            found.add(row["file_id"])
    return found


@pytest.mark.timeout(240)
async def test_every_pair_of_filters_gives_what_a_plain_filter_gives(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_store, "WINDOW", 400)
    rows, dice = await db.fetch_all(ALL), random.Random(1)
    pairs = [(one, other) for one, other in itertools.combinations_with_replacement(GIVEN, 2)]
    met = 0
    for one, other in pairs:
        for value, its in itertools.product(GIVEN[one], GIVEN[other]):
            filters = Filters(**{other: its, one: value})
            order = Order(newest_first=dice.random() < 0.5, limit=dice.choice([7, 60, 1000]))
            got = [row["file_id"] for row in await listed(db, filters, order)]
            assert len(got) == len(set(got)), (filters, order)
            assert set(got) == fitting(rows, filters), (filters, order)
            met += bool(got)
    assert met > len(pairs)


@pytest.mark.parametrize("filters", [Filters(), Filters(camera="cam-2"), Filters(recorded_to=NOW), Filters(name="cam")])
@pytest.mark.parametrize("newest_first", [True, False])
async def test_pages_are_in_order_and_each_file_comes_once_while_uploads_come_in(
    db: Database, filters: Filters, *, newest_first: bool
) -> None:
    before, order = fitting(await db.fetch_all(ALL), filters), Order(newest_first=newest_first, limit=100)
    got: list[Row] = []
    for number in range(1000):
        page, mark = await FilesStore(db).page(filters, order)
        got += page
        known = facts.Facts(camera="cam-2", recordedAt=(NOW - timedelta(minutes=9 * number)).replace(tzinfo=UTC))
        new = Received(f"cam-{number}.mp4", f"received/{number}", 1, "0" * 64, facts=known)
        await IngestStore(db).add_files("slot", [new], Limits(files=100, bytes=1 << 40, age_seconds=1000))
        if mark is None:
            break
        order = order._replace(after=mark)
    ids = [row["file_id"] for row in got]
    assert len(ids) == len(set(ids))
    assert before <= set(ids)
    column = {"name": "file_name", "camera": "known_at", "recorded_to": "known_at"}.get(
        next(iter(filters.given), ""), "file_id"
    )
    least = datetime(1, 1, 1) if column == "known_at" else ""  # noqa: DTZ001 - as the database has times
    keys = [(least if row[column] is None else row[column], row["file_id"]) for row in got]
    assert keys == sorted(keys, reverse=newest_first)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_what_has_ended_is_found_by_its_archives_and_nothing_else_is_looked_at(
    db: Database, monkeypatch: pytest.MonkeyPatch, *, newest_first: bool
) -> None:
    monkeypatch.setattr(files_store, "WINDOW", 60)
    monkeypatch.setattr(files_store, "_AT_ONCE", 2)
    filters, order, got, pages = Filters(state="ended"), Order(newest_first=newest_first, limit=60), list[Row](), 0
    while pages == 0 or order.after is not None:
        page, mark = await FilesStore(db).page(filters, order)
        got, pages, order = got + page, pages + 1, order._replace(after=mark)
    keys = [(row["zip_id"], row["file_id"]) for row in got]
    assert keys == sorted(set(keys), reverse=newest_first)
    assert {row["file_id"] for row in got} == fitting(await db.fetch_all(ALL), filters)
    assert pages == 4  # of 200 files of 3000


async def ask(door: Door, **query: str) -> tuple[int, dict[str, Any]]:
    async with door.http.get(f"{door.url}/api/open/files", params=query) as response:
        return response.status, await response.json()


async def test_over_http(open_door: Open) -> None:
    async with open_door() as door:
        for number in range(5):
            said = {"camera": f"gate {number % 2}", "recordedAt": f"2026-11-28T0{number}:30:00Z", "tags": "night"}
            await door.upload(b"x", f"{number}.mp4", late_name=False, **said)
        status, body = await ask(door, camera="gate 0", recordedFrom="2026-11-28T08:31:00+08:00", limit="1")
        (file,) = body["result"]["files"]
        assert (status, file["filename"], file["state"], file["zipID"]) == (
            200,
            "4.mp4",
            "waiting in an open folder",
            None,
        )
        assert (file["recordedAt"], file["tags"]) == ("2026-11-28T04:30:00.000+00:00", ["night"])
        mark = body["result"]["next"]
        rest = {"camera": "gate 0", "recordedFrom": "2026-11-28T08:31:00+08:00"}
        _, body = await ask(door, **rest, after=mark)
        assert [one["filename"] for one in body["result"]["files"]] == ["2.mp4"]
        assert body["result"]["next"] is None
        _, body = await ask(door, order="oldest", state="waiting in an open folder", tag="night")
        assert [one["filename"] for one in body["result"]["files"]] == [f"{number}.mp4" for number in range(5)]
        await door.db.execute(
            "INSERT INTO video_info (file_id, camera, recorded_at, duration, video_codec, lat)"
            " SELECT file_id, 'GoPro', '2020-01-01', 5.5, 'h264', 1.5 FROM file_upload_info"
            " WHERE file_name IN ('1.mp4', '2.mp4')"
        )
        await door.db.execute("UPDATE file_upload_info SET camera = NULL WHERE file_name IN ('1.mp4', '3.mp4')")
        await door.db.execute(
            "UPDATE video_info JOIN file_upload_info AS file USING (file_id)"
            " SET known_camera = 'GoPro', known_at = file.recorded_at WHERE file_name = '1.mp4'"
        )
        _, body = await ask(door, camera="GoPro", recordedFrom="2026-11-28T00:00:00Z")
        (file,) = body["result"]["files"]
        assert (file["filename"], file["camera"]) == ("1.mp4", None)
        assert file["recordedAt"] == "2026-11-28T01:30:00.000+00:00"
        said = file["found"]
        assert (said["camera"], said["recordedAt"], said["duration"]) == ("GoPro", "2020-01-01T00:00:00.000+00:00", 5.5)
        assert (said["videoCodec"], said["lat"], said["width"]) == ("h264", 1.5, None)
        assert (await door.file(file["fileID"]))["result"]["found"] == said
        _, body = await ask(door, camera="gate 0", order="oldest")
        assert [(one["filename"], one["found"] is None) for one in body["result"]["files"]] == [
            ("0.mp4", True),
            ("2.mp4", False),
            ("4.mp4", True),
        ]
        for query, words in [
            ({"camra": "gate 0"}, "is no filter; there are name, camera, recordedFrom"),
            ({"camera": " "}, "is empty"),
            ({"limit": "1001"}, "between 1 and 1000"),
            ({"limit": "x"}, "whole number"),
            ({"order": "up"}, "newest, oldest"),
            ({"state": "gone"}, "packing failed"),
            ({"archive": "-1"}, "whole number"),
            ({"recordedFrom": "today"}, "must be a time"),
            ({"after": "zzz"}, "the next of an earlier answer"),
            ({"after": "W10"}, "the next of an earlier answer"),
            ({"after": mark}, "another list"),
            ({"after": mark, "camera": "gate 1"}, "another list"),
            ({"after": "\N{SNOWMAN}"}, "the next of an earlier answer"),
        ]:
            status, body = await ask(door, **query)
            assert status == 400
            assert words in body["message"]


async def test_a_mark_that_a_client_made_up_is_refused(db: Database) -> None:
    filters, order = Filters(camera="cam-1"), Order()
    for lead, value in (("ended", "x"), ("name", "x"), ("number", None), ("camera", "x"), ("nobody", None)):
        mark = Mark(lead, value, 7).encode(filters, order)
        with pytest.raises(Problem, match="the next of an earlier answer"):
            await FilesStore(db).page(filters, order._replace(after=mark))
    page, _ = await FilesStore(db).page(replace(filters), order)
    assert page
    filters = Filters(state="ended")
    for value in (None, "x", "3.5"):
        with pytest.raises(Problem, match="the next of an earlier answer"):
            await FilesStore(db).page(filters, order._replace(after=Mark("ended", value, 7).encode(filters, order)))
