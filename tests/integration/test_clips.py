"""Clips, from the request to the link: cut out of what only the network has, never mixed with anything else."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import web
from clip_videos import frames, make, probed, repeated
from pydantic import SecretStr
from servers_door import SECRET, LinkDoor
from servers_ingest import Door
from servers_retriever import Bench, received
from sites import site

from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Row
from roadvault_common.web.links import Links
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import Callbacks
from roadvault_stack.kubo import Kubo

MORNING = "2026-11-28T08:30:00+08:00"


@dataclass
class Studio:
    """An archive with videos, and all that a request goes through."""

    bench: Bench
    door: Door
    links: LinkDoor
    notifier: Notifier
    client: str
    told: list[dict[str, Any]]
    """What the client was called back with."""

    async def ask(self, name: str, begin: object = None, end: object = None, cb: str = "a") -> tuple[int, str]:
        """Ask for a file, or a clip of it; return status and message."""
        fields = {} if begin is None else {"from": begin, "to": end}
        body = {"fileID": self.bench.file_ids[name], "cbUrl": f"{self.client}/{cb}", **fields}
        async with self.door.http.post(f"{self.door.url}/api/open/downFile", json=body) as response:
            return response.status, (await response.json()).get("message", "")

    async def asked(self, name: str, begin: object = None, end: object = None, cb: str = "a") -> int:
        """Ask for a file, or a clip of it; return the request's number."""
        assert (await self.ask(name, begin, end, cb))[0] == 200
        (row,) = await self.bench.db.fetch_all("SELECT MAX(download_id) AS id FROM download_info")
        return int(row["id"])

    async def fetched(self, download_id: int) -> Row:
        assert await self.bench.retriever.fetching.work(download_id) == Done()
        return await self.bench.row(download_id)

    async def failed(self, name: str, begin: object, end: object) -> str:
        outcome: Outcome | None = await self.bench.retriever.fetching.work(await self.asked(name, begin, end))
        assert isinstance(outcome, Failed)
        return outcome.reason

    async def called_back(self, download_id: int) -> dict[str, Any]:
        assert await self.notifier.calling.work(download_id) == Done()
        return self.told[-1]

    def content(self, row: Row) -> bytes:
        path: str = row["path"]
        return (self.bench.vault.root / path).read_bytes()


@cache
def _videos() -> dict[str, bytes]:
    with TemporaryDirectory() as name:
        directory = Path(name)
        make(directory / "road.mp4")
        make(directory / "told.mp4", recorded="2026-11-28T00:30:00Z")
        repeated(directory / "large.mp4", 24)
        made = {name: (directory / f"{name}.mp4").read_bytes() for name in ("large", "road", "told")}
    return {**made, "noise": bytes(range(256)) * 4000}


of_videos = pytest.mark.parametrize("bench", [_videos], indirect=True, ids=["videos"])


@pytest.fixture
async def studio(
    bench: Bench, database_url: str, redis_url: str, door: Door, link_door: LinkDoor
) -> AsyncIterator[Studio]:
    told = list[dict[str, Any]]()

    async def take(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    values = {"database_url": database_url, "redis_url": redis_url, "link_secret": SECRET, "public_url": link_door.url}
    settings = NotifierSettings.model_validate({**values, "callback_allow_private": "127.0.0.0/8"})
    callbacks = Callbacks(settings.reach(), 5, None, None)
    async with site([web.post("/{any:.*}", take)]) as client:
        notifier = Notifier(settings, bench.db, bench.retriever._bus, Links(SecretStr(SECRET)), callbacks)
        yield Studio(bench, door, link_door, notifier, client, told)


@of_videos
async def test_seconds_of_what_only_the_network_has_are_cut_called_back_and_downloaded(
    studio: Studio, kubo: Kubo, tmp_path: Path
) -> None:
    bench = studio.bench
    bench.lose("received", "archives")
    for table in ("file_upload_info", "zip_ipfs_info"):
        await bench.db.execute(f"UPDATE {table} SET path = NULL")  # noqa: S608 - constants
    async with Ipfs.open(kubo.rpc_url, 60) as node:
        await node.collect_garbage()
    before = await received(kubo)
    download_id = await studio.asked("large", 10.5, "13.2")
    row = await studio.fetched(download_id)
    assert (row["source"], row["clip_name"]) == ("ipfs", "1 10.5s-13.2s.mp4")
    assert await received(kubo) - before <= row["clip_size"] + (12 << 20)
    told = await studio.called_back(download_id)
    assert told.keys() == {"fileID", "fileUrl", "clip"}
    assert told["clip"] == {"from": 10.5, "to": 13.2}
    answer = await studio.links.ask(told["fileUrl"])
    assert answer.status == 200
    assert answer.headers["ETag"] == f'"{row["clip_sha256"]}"'
    assert answer.headers["Content-Type"] == "video/mp4"
    assert 'filename="1 10.5s-13.2s.mp4"' in answer.headers["Content-Disposition"]
    (tmp_path / "clip.mp4").write_bytes(answer.body)
    seen = probed(tmp_path / "clip.mp4")
    assert (seen["start"], seen["codec"]) == (0, "h264")
    assert seen["seconds"] == pytest.approx(3.3, abs=0.3)
    assert frames(tmp_path / "clip.mp4") == pytest.approx(33, abs=2)
    await bench.db.execute("INSERT INTO folder_info (folder_id, status, close_at) VALUES (1, 2, UTC_TIMESTAMP(6))")
    (request,) = (await studio.door.file(told["fileID"]))["result"]["requests"]
    clip = request["clip"]
    assert (clip["from"], clip["to"], clip["begins"], clip["leftOut"]) == (10.5, 13.2, 10.0, [])
    assert (clip["size"], clip["sha256"]) == (len(answer.body), row["clip_sha256"])


@of_videos
async def test_a_clip_is_never_mixed_with_the_file_or_with_another_clip(studio: Studio) -> None:
    whole = await studio.asked("road")
    first = await studio.asked("road", 1, 3)
    assert await studio.asked("road", "1.0", 3.0) == first  # joins it
    same, other = [await studio.asked("road", 1, 3, cb) for cb in ("b", "c")]
    later = await studio.asked("road", 1, 4)
    assert len({whole, first, same, other, later}) == 5
    rows = {first: await studio.fetched(first), whole: await studio.fetched(whole)}
    for one in (same, other):  # closed along with the first
        rows[one] = await studio.bench.row(one)
        assert rows[one]["path"] == rows[first]["path"]
        assert rows[one]["clip_sha256"] == rows[first]["clip_sha256"] is not None
    rows[later] = await studio.fetched(later)
    assert len({rows[one]["path"] for one in (whole, first, later)}) == 3
    assert studio.content(rows[whole]) == studio.bench.contents["road"]
    assert rows[whole]["clip_size"] is rows[whole]["clip_name"] is None
    assert (await studio.called_back(whole)).keys() == {"fileID", "fileUrl"}
    again = await studio.asked("road", 1, 3, "d")
    assert (await studio.fetched(again))["path"] == rows[first]["path"]  # there is one already
    (studio.bench.vault.root / rows[first]["path"]).write_bytes(b"rot")
    row = await studio.fetched(await studio.asked("road", 1, 3, "e"))
    assert row["path"] != rows[first]["path"]
    assert (await studio.bench.row(same))["path"] == row["path"]
    assert len(studio.content(row)) == row["clip_size"]


@of_videos
async def test_it_is_written_down_where_its_bytes_came_from(studio: Studio) -> None:
    studio.bench.lose("received")  # whatever the row says
    row = await studio.fetched(await studio.asked("road", 1, 3))
    assert row["source"] == "archive"
    lines = await studio.bench.db.fetch_all("SELECT facts FROM custody_info WHERE act = 'fetched'")
    assert [json.loads(line["facts"])["from"] for line in lines] == ["archive"]


@of_videos
async def test_times_on_the_clock_go_by_what_the_client_said_or_else_by_the_video(studio: Studio) -> None:
    begin = "2026-11-28T08:30:03+08:00"
    row = await studio.fetched(await studio.asked("told", begin, "2026-11-28T00:30:05Z"))
    assert row["clip_name"] == "3 20261128T003003Z-20261128T003005Z.mp4"
    note = json.loads(row["clip_note"])
    assert (note["begin"], note["recorded"]) == (2000, 1_795_825_802_000)
    await studio.bench.db.execute(
        "INSERT INTO video_info (file_id, recorded_at) SELECT file_id, '2026-11-28 00:30:02' FROM file_upload_info"
    )
    row = await studio.fetched(await studio.asked("told", begin, "2026-11-28T00:30:04Z"))
    note = json.loads(row["clip_note"])
    assert note["recorded"] == 1_795_825_802_000 + note["begin"], "what a look found comes before what the video says"
    await studio.bench.db.execute("UPDATE file_upload_info SET recorded_at = '2026-11-28 00:30:01'")
    row = await studio.fetched(await studio.asked("told", begin, "2026-11-28T00:30:05.5Z"))
    assert json.loads(row["clip_note"])["recorded"] == 1_795_825_801_000 + json.loads(row["clip_note"])["begin"]
    told = await studio.called_back(row["download_id"])
    assert told["clip"] == {"from": "2026-11-28T00:30:03Z", "to": "2026-11-28T00:30:05.500Z"}
    status, message = await studio.ask("told", "2026-11-28T00:20:00Z", "2026-11-28T00:25:00Z")
    assert (status, "began only at 2026-11-28T00:30:01Z" in message) == (400, True)


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [
        (3, 3, "from must lie before to"),
        (5, 2, "from must lie before to"),
        (-1, 2, "from must be seconds"),
        (0, 3601, "a clip may have 3600 seconds"),
        (1, None, "belong together"),
        (1, MORNING, "of one kind"),
        ("2026-11-28T08:30:00", MORNING, "must say its zone"),
        ("soon", "later", "must be a time"),
        ([1], {}, "must be seconds"),
        (True, 2, "must be seconds"),
        (0, 1e300, "must be seconds"),
    ],
)
async def test_a_span_that_can_not_be_is_refused_at_once(door: Door, begin: object, end: object, why: str) -> None:
    body = {"fileID": 1, "cbUrl": "http://127.0.0.1:9/", "from": begin, "to": end}
    async with door.http.post(f"{door.url}/api/open/downFile", json=body) as response:
        told = await response.json()
    assert (response.status, why in told["message"]) == (400, True), told


@of_videos
async def test_what_only_the_video_tells_fails_for_good(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it ends after 8.000 s" in await studio.failed("road", 60, 70)
    assert "it can't be read as an MP4" in await studio.failed("noise", 0, 1)
    assert "when it was recorded" in await studio.failed("road", MORNING, "2026-11-28T08:31:00+08:00")
    monkeypatch.setattr(studio.bench.retriever._clips, "_most_bytes", 10_000)
    assert "more than 10000 bytes" in await studio.failed("road", 0, 7)
    assert [path for path in studio.bench.downloads() if path.is_file()] == []


@of_videos
async def test_where_the_kernel_kills_it_for_memory_it_is_tried_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(talk: Any, data: bytes) -> None:  # noqa: ANN401 - nobody else's class
        del data
        talk._process.kill()

    download_id = await studio.asked("road", 1, 2)
    with monkeypatch.context() as short:
        short.setattr("roadvault_video.sandbox._Talk._answer", killed)
        outcome = await studio.bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Retry)
    assert outcome.reason.code == "no_memory"
    assert [path for path in studio.bench.downloads() if path.is_file()] == []
    await studio.bench.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6)")
    assert (await studio.fetched(download_id))["clip_size"] > 0


@of_videos
async def test_without_room_it_waits_and_leaves_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [16 << 20]

    def free() -> int:
        written = sum(path.stat().st_size for path in studio.bench.downloads() if path.is_file())
        return max(room[-1] - written, 0)

    monkeypatch.setattr(studio.bench.vault, "free_bytes", free)
    for module in ("clips.making", "service"):
        monkeypatch.setattr(f"roadvault_retriever.{module}.ROOM_BYTES", 1 << 20)
    download_id = await studio.asked("large", 2, 12)
    outcome = await studio.bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Wait)
    assert "no room for extractions" in outcome.reason
    assert [path for path in studio.bench.downloads() if path.is_file()] == []
    room.append(200 << 20)
    await studio.bench.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6)")
    assert (await studio.fetched(download_id))["clip_size"] > 30 << 20


@of_videos
async def test_a_batch_of_clips(studio: Studio) -> None:
    ids = [studio.bench.file_ids[name] for name in ("road", "told")]
    body = {"fileIDs": ids, "cbUrl": f"{studio.client}/batch", "from": 1, "to": 2}
    async with studio.door.http.post(f"{studio.door.url}/api/open/downFiles", json=body) as response:
        batch_id = (await response.json())["result"]["batchID"]
    assert await studio.door.ingest.batches.asking.work(batch_id) == Done()
    rows = await studio.bench.db.fetch_all("SELECT download_id FROM download_info ORDER BY file_id")
    for row in rows:
        assert (await studio.fetched(row["download_id"]))["clip_name"].endswith(" 1s-2s.mp4")
