"""Many files asked for at once: a request and a callback for each, one callback at the end, status, and cancelling."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from servers_ingest import Door, Open
from servers_services import Services
from sites import site

from roadvault_common.errors import LeaseLost
from roadvault_common.sql.db import Row
from roadvault_common.sql.mirror import fail_request
from roadvault_common.web.links import Links
from roadvault_common.work import lease as leases
from roadvault_common.work import repair
from roadvault_common.work.outcome import Done, Failed, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import ASK, CALLBACK, REPORT
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import Callbacks


@dataclass
class Client:
    """A client that asks and is called, the ingest that it asks, and the notifier that calls it."""

    door: Door
    notifier: Notifier
    url: str
    answers: list[int]
    """Statuses that it answers with, in turn; then 200."""
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def files(self, count: int) -> list[int]:
        """Have some files, as if they had been uploaded."""
        db = self.door.db
        folder = await db.transact(
            lambda tx: tx.insert("INSERT INTO folder_info (status, close_at) VALUES (1, UTC_TIMESTAMP(6))")
        )
        await db.execute(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, folder_id, camera)"
            " SELECT CONCAT(seq, '.mp4'), 'mp4', 1, SHA2(seq, 256), %s, CONCAT('gate ', seq %% 3) FROM seq_1_to_10000"
            " WHERE seq <= %s",
            (folder, count),
        )
        rows = await db.fetch_all("SELECT file_id FROM file_upload_info WHERE folder_id = %s", (folder,))
        return sorted(row["file_id"] for row in rows)

    async def post(self, body: object) -> tuple[int, dict[str, Any]]:
        async with self.door.http.post(f"{self.door.url}/api/open/downFiles", json=body) as response:
            return response.status, await response.json()

    async def asks(self, **body: object) -> int:
        """Ask for a batch, and have ingest make its requests."""
        status, answer = await self.post({"cbUrl": self.url, **body})
        assert status == 200, answer
        batch_id = int(answer["result"]["batchID"])
        assert await self.door.ingest.batches.asking.work(batch_id) == Done()
        return batch_id

    async def sees(self, batch_id: int, method: str = "GET", **query: str) -> dict[str, Any]:
        url = f"{self.door.url}/api/open/batch/{batch_id}"
        async with self.door.http.request(method, url, params=query) as response:
            assert response.status == 200, await response.text()
            result: dict[str, Any] = (await response.json())["result"]
            return result

    async def requests(self) -> list[Row]:
        return await self.door.db.fetch_all("SELECT * FROM download_info ORDER BY download_id")

    async def gets(self, download_ids: list[int]) -> None:
        """Have files brought back, and the client called."""
        for download_id in download_ids:
            await self.door.db.execute(
                "UPDATE download_info SET status = 1, path = UUID(), fetch_due = NULL, extracted_at = UTC_TIMESTAMP(6),"
                " callback_due = UTC_TIMESTAMP(6) WHERE download_id = %s",
                (download_id,),
            )
            assert await self.notifier.calling.work(download_id) == Done()

    async def reported(self, batch_id: int) -> object:
        """Have the notifier look at a batch."""
        await self.door.db.execute(
            "UPDATE batch_info SET report_due = UTC_TIMESTAMP(6) WHERE batch_id = %s", (batch_id,)
        )
        return await self.notifier.reporting.work(batch_id)


@pytest.fixture
async def client(open_door: Open, database_url: str, redis_url: str) -> AsyncIterator[Client]:
    async with made(open_door, database_url, redis_url) as client:
        yield client


@asynccontextmanager
async def made(open_door: Open, database_url: str, redis_url: str, **overrides: object) -> AsyncIterator[Client]:
    answers, calls = list[int](), list[dict[str, Any]]()

    async def take(request: web.Request) -> web.Response:
        calls.append({"id": request.headers["webhook-id"], **json.loads(await request.read())})
        return web.Response(status=answers.pop(0) if answers else 200)

    async with open_door(**overrides) as door, site([web.post("/{any:.*}", take)]) as url:
        values = {
            "database_url": database_url, "redis_url": redis_url, "link_secret": "s" * 32, "public_url": "http://f/",
            "callback_allow_private": "127.0.0.0/8,::1/128",
        }  # fmt: skip
        settings = NotifierSettings.model_validate(values)
        callbacks = Callbacks(settings.reach(), 2, None, None)
        notifier = Notifier(settings, door.db, door.ingest._bus, Links(SecretStr("s" * 32)), callbacks)
        yield Client(door, notifier, f"{url}/done", answers, calls)


async def test_each_file_has_its_callback_and_the_batch_has_one_at_the_end(client: Client) -> None:
    files = await client.files(45)
    batch_id = await client.asks(fileIDs=[*files, files[0], str(files[1])])
    requests = await client.requests()
    assert [row["file_id"] for row in requests] == files
    assert {row["batch_id"] for row in requests} == {batch_id}
    (line, *_) = await client.door.db.fetch_all("SELECT facts FROM custody_info WHERE act = 'asked'")
    assert json.loads(line["facts"])["batch"] == batch_id
    seen = await client.sees(batch_id, limit="30")
    assert (seen["state"], seen["files"], seen["counts"]) == ("under way", 45, {"requested": 45})
    assert [one["fileID"] for one in seen["requests"]] == files[:30]
    rest = await client.sees(batch_id, limit="30", after=str(seen["next"]))
    assert ([one["fileID"] for one in rest["requests"]], rest["next"]) == (files[30:], None)
    await client.gets([row["download_id"] for row in requests[:-1]])
    assert isinstance(await client.reported(batch_id), Wait)
    seen = await client.sees(batch_id)
    assert (seen["state"], seen["counts"]) == ("under way", {"called back": 44, "requested": 1})
    assert [call["fileID"] for call in client.calls] == files[:-1]
    await client.door.db.transact(lambda tx: fail_request(tx, requests[-1]["download_id"]))
    assert await client.reported(batch_id) == Done()
    assert client.calls[-1] == {
        "id": f"batch-{batch_id}", "batchID": batch_id, "files": 45, "done": 44, "failed": 1, "cancelled": 0
    }  # fmt: skip
    seen = await client.sees(batch_id)
    assert (seen["state"], seen["counts"]) == ("called back", {"called back": 44, "failed": 1})
    # And never again.
    assert await client.notifier.reporting.work(batch_id) is None
    assert await client.door.ingest.batches.asking.work(batch_id) is None


async def test_a_filter_names_the_files(client: Client) -> None:
    files = await client.files(300)
    batch_id = await client.asks(filter={"camera": "gate 2", "state": "waiting to be packed"})
    assert {row["file_id"] for row in await client.requests()} == {*files[1::3]}
    assert (await client.sees(batch_id))["counts"] == {"requested": 100}


async def test_what_is_no_batch_is_refused_and_asks_for_nothing(
    open_door: Open, database_url: str, redis_url: str
) -> None:
    async with made(open_door, database_url, redis_url, batch_files=10, batches_per_peer=2) as client:
        files, url = await client.files(11), client.url
        for body, status, words in [
            ({"fileIDs": files, "cbUrl": url}, 400, "a batch can be of 10 files"),
            ({"filter": {"camera": "gate 1"}, "cbUrl": "http://169.254.1.1/"}, 400, "cbUrl can't be called"),
            ({"filter": {"name": ""}, "cbUrl": url}, 400, "is empty"),
            ({"filter": {"nmae": "x"}, "cbUrl": url}, 400, "is no filter"),
            ({"filter": {}, "cbUrl": url}, 400, "at least one name"),
            ({"filter": {"state": "waiting to be packed"}, "cbUrl": url}, 400, "a batch can be of 10 files"),
            ({"filter": {"camera": "nobody"}, "cbUrl": url}, 404, "no file fits"),
            ({"fileIDs": [], "cbUrl": url}, 404, "no file fits"),
            ({"fileIDs": [files[0], 998, 999], "cbUrl": url}, 404, "there is no file 998, 999; nothing was asked for"),
            ({"fileIDs": ["x"], "cbUrl": url}, 400, "positive whole number"),
            ({"fileIDs": 7, "cbUrl": url}, 400, "a list of numbers"),
            ({"fileIDs": [1], "filter": {"camera": "x"}, "cbUrl": url}, 400, "send fileIDs"),
            ({"cbUrl": url}, 400, "send fileIDs"),
            ({"fileIDs": files[:1]}, 400, "cbUrl is missing"),
            ({"fileIDs": [1] * 20_000, "cbUrl": url}, 413, "longer than"),
        ]:
            got, answer = await client.post(body)
            assert (got, words in answer["message"]) == (status, True), answer
        assert await client.door.count("batch_info") == await client.door.count("download_info") == 0
        for number in range(2):
            await client.asks(fileIDs=[files[number]])
        got, answer = await client.post({"fileIDs": files[:1], "cbUrl": url})
        assert (got, "2 batches of the address" in answer["message"]) == (429, True)
        async with client.door.http.get(f"{client.door.url}/api/open/batch/12345") as response:
            assert response.status == 404
        # A batch is one act: its requests leave the address what it may ask for one by one.
        assert {row["peer"] for row in await client.requests()} == {None}


async def test_an_ingest_that_dies_half_way_is_gone_on_behind(client: Client) -> None:
    files = await client.files(50)
    _, answer = await client.post({"fileIDs": files, "cbUrl": client.url})
    batches, batch_id = client.door.ingest.batches, answer["result"]["batchID"]
    batch = await batches.store.batch(batch_id)
    lease = await leases.claim(client.door.db, ASK, batch_id, 60)
    assert lease is not None
    assert batch is not None
    url = client.door.ingest._callback_url(client.url)
    assert await batches.store.ask_some(lease, batch, url, 9, "main")  # and then it dies
    seen = await client.sees(batch_id)
    assert seen["counts"] == {"requested": 20, "waiting to be asked for": 30}
    assert seen["state"] == "being asked for"
    assert await batches.asking.work(batch_id) is None  # it is another's yet
    await client.door.db.execute("UPDATE batch_info SET ask_due = UTC_TIMESTAMP(6)")
    assert await batches.asking.work(batch_id) == Done()
    assert [row["file_id"] for row in await client.requests()] == files
    with pytest.raises(LeaseLost):
        await batches.store.ask_some(lease, batch, url, 9, "main")


async def test_what_has_not_ended_is_cancelled_but_for_what_others_asked_for(client: Client) -> None:
    files = await client.files(48)
    async with client.door.http.post(
        f"{client.door.url}/api/open/downFile", json={"fileID": files[0], "cbUrl": client.url}
    ) as response:
        assert response.status == 200
    batch_id = await client.asks(fileIDs=files)
    requests = await client.requests()
    assert [row["file_id"] for row in requests] == files  # the first is shared
    async with client.door.http.post(
        f"{client.door.url}/api/open/downFile", json={"fileID": files[1], "cbUrl": client.url}
    ) as response:
        assert response.status == 200
    other = await client.asks(fileIDs=files[2:4])
    await client.gets([row["download_id"] for row in requests[4:10]])
    # One is being called back at this moment, one is brought back at this moment.
    await client.door.db.execute(
        "UPDATE download_info SET status = 1, path = 'x', fetch_due = NULL, callback_token = REPEAT('t', 32),"
        " callback_due = UTC_TIMESTAMP(6) + INTERVAL 60 SECOND WHERE download_id = %s",
        (requests[10]["download_id"],),
    )
    await client.door.db.execute(
        "UPDATE download_info SET fetch_token = REPEAT('t', 32), fetch_due = UTC_TIMESTAMP(6) + INTERVAL 60 SECOND"
        " WHERE download_id = %s",
        (requests[11]["download_id"],),
    )
    assert (await client.sees(batch_id, "DELETE"))["state"] == "being cancelled"
    asking = client.door.ingest.batches.asking
    assert isinstance(await asking.work(batch_id), Wait)
    now = await client.requests()
    assert [row["file_id"] for row in now if row["open_key"] is not None] == [*files[:4], files[10]]
    (reason,) = {row["fetch_reason"] for row in now[11:]}
    assert reason == "its client cancelled the batch that asked for it [cancelled]"
    assert all(row["fetch_token"] is None and row["fetch_due"] is None for row in now[11:])
    counts = {"cancelled": 41, "called back": 6, "extracted": 1}
    assert isinstance(await client.reported(batch_id), Wait)
    assert (await client.sees(batch_id))["counts"] == counts
    await client.door.db.execute("UPDATE download_info SET callback_token = NULL")
    await client.gets([requests[10]["download_id"]])
    await client.door.db.execute("UPDATE batch_info SET ask_due = UTC_TIMESTAMP(6) WHERE batch_id = %s", (batch_id,))
    assert await asking.work(batch_id) == Done()
    assert await client.reported(batch_id) == Done()
    assert client.calls[-1] == {
        "id": f"batch-{batch_id}", "batchID": batch_id, "files": 48, "done": 7, "failed": 0, "cancelled": 41
    }  # fmt: skip
    assert (await client.sees(batch_id, "DELETE"))["state"] == "called back"
    assert await client.door.ingest.batches.asking.work(batch_id) is None
    await client.gets([row["download_id"] for row in requests[2:4]])
    assert await client.reported(other) == Done()
    assert client.calls[-1]["done"] == 2


async def test_a_callback_that_was_under_way_and_was_not_taken_is_cancelled_then(client: Client) -> None:
    batch_id = await client.asks(fileIDs=await client.files(1))
    (request,) = await client.requests()
    await client.door.db.execute(
        "UPDATE download_info SET status = 1, path = UUID(), fetch_due = NULL, extracted_at = UTC_TIMESTAMP(6),"
        " callback_due = UTC_TIMESTAMP(6)"
    )
    lease = await leases.claim(client.door.db, CALLBACK, request["download_id"], 60)
    assert lease is not None
    await client.sees(batch_id, "DELETE")
    asking = client.door.ingest.batches.asking
    assert isinstance(await asking.work(batch_id), Wait)
    assert (await client.sees(batch_id))["counts"] == {"extracted": 1}
    await client.door.db.transact(lambda tx: leases.close(tx, lease, Wait(Reason("cancelled", "no answer"), 600)))
    await client.door.db.execute("UPDATE batch_info SET ask_due = UTC_TIMESTAMP(6)")
    assert await asking.work(batch_id) == Done()
    assert (await client.sees(batch_id))["counts"] == {"cancelled": 1}
    assert await client.reported(batch_id) == Done()
    assert [call.get("cancelled") for call in client.calls] == [1]


async def test_cancelled_before_it_was_asked_for(client: Client) -> None:
    _, answer = await client.post({"fileIDs": await client.files(2500), "cbUrl": client.url})
    batch_id = answer["result"]["batchID"]
    await client.sees(batch_id, "DELETE")
    assert await client.door.ingest.batches.asking.work(batch_id) == Done()
    assert await client.requests() == []
    assert await client.reported(batch_id) == Done()
    assert client.calls == [
        {"id": f"batch-{batch_id}", "batchID": batch_id, "files": 2500, "done": 0, "failed": 0, "cancelled": 2500}
    ]


async def test_a_file_that_can_not_be_asked_for_fails_alone(client: Client) -> None:
    files = await client.files(3)
    await client.door.db.execute("UPDATE file_upload_info SET zip_id = 5 WHERE file_id = %s", (files[1],))
    await client.door.db.execute(
        "INSERT INTO retention_info (zip_id, ends_at, shredded_at) VALUES (5, '2026-01-01', '2026-01-01')"
    )
    batch_id = await client.asks(fileIDs=files)
    seen = await client.sees(batch_id)
    assert [one["state"] for one in seen["requests"]] == ["requested", "failed", "requested"]
    assert "ended on 2026-01-01" in seen["requests"][1]["reason"]


async def test_the_last_callback_is_tried_until_it_is_taken_or_refused(client: Client) -> None:
    files = await client.files(2)
    first, second = [await client.asks(fileIDs=[file_id]) for file_id in files]
    await client.gets([row["download_id"] for row in await client.requests()])
    client.answers += [500]
    outcome = await client.reported(first)
    assert "answered 500" in outcome.reason  # type: ignore[attr-defined]
    assert (await client.sees(first))["state"] == "ended"
    assert await client.reported(first) == Done()
    client.answers += [410]
    assert isinstance(await client.reported(second), Failed)
    assert (await client.sees(second))["state"] == "callback failed"
    assert await repair.retry(client.door.db, REPORT, second)
    assert await client.notifier.reporting.work(second) == Done()
    assert [call["id"] for call in client.calls[2:]] == [f"batch-{n}" for n in (first, first, second, second)]


async def test_two_batches_and_single_requests_do_not_get_in_each_others_way(client: Client) -> None:
    files = await client.files(120)
    _, one = await client.post({"fileIDs": files, "cbUrl": client.url})
    _, other = await client.post({"fileIDs": files[::-1], "cbUrl": client.url})
    asking = client.door.ingest.batches.asking

    async def single(file_id: int) -> None:
        body = {"fileID": file_id, "cbUrl": client.url}
        async with client.door.http.post(f"{client.door.url}/api/open/downFile", json=body) as response:
            assert response.status == 200

    ids = [answer["result"]["batchID"] for answer in (one, other)]
    done = await asyncio.gather(*(asking.work(batch_id) for batch_id in ids), *(single(n) for n in files[40:80]))
    assert done[:2] == [Done(), Done()]
    assert [row["file_id"] for row in sorted(await client.requests(), key=lambda row: row["file_id"])] == files


@pytest.mark.timeout(180)
async def test_with_real_services_of_which_the_ingest_is_killed(services: Services) -> None:
    calls, over = list[dict[str, Any]](), asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        calls.append({"id": request.headers["webhook-id"], **json.loads(await request.read())})
        if "batchID" in calls[-1]:
            over.set()
        return web.Response()

    killed, others = services("ingest"), [services("ingest"), services("retriever"), services("notifier")]
    await asyncio.gather(*(service.start() for service in (killed, *others)))
    async with aiohttp.ClientSession() as http, site([web.post("/{any:.*}", take)]) as url:
        sent = set[int]()
        for number in range(150):
            form = aiohttp.FormData({"camera": "gate 7", "recordedAt": f"{1_795_825_800 + number}"})
            form.add_field("file", f"{number}".encode(), filename=f"{number}.mp4")
            async with http.post(f"{others[0].url}/api/open/upload", data=form) as response:
                sent.add((await response.json())["result"]["fileID"])
        wanted = {"camera": "gate 7", "recordedFrom": 1_795_825_800, "recordedTo": 1_795_825_940}
        body = {"filter": wanted, "cbUrl": f"{url}/done"}
        async with http.post(f"{killed.url}/api/open/downFiles", json=body) as response:
            batch = (await response.json())["result"]
        assert killed.process is not None
        killed.process.kill()
        assert batch["files"] == 140
        async with asyncio.timeout(120):
            await over.wait()
        async with http.get(f"{others[0].url}/api/open/batch/{batch['batchID']}") as response:
            seen = (await response.json())["result"]
    assert seen["counts"] == {"called back": 140}
    assert (calls[-1]["done"], calls[-1]["failed"], calls[-1]["cancelled"]) == (140, 0, 0)
    of_files = [call["fileID"] for call in calls if "fileID" in call]
    assert len(of_files) == len(set(of_files)) == 140
    assert set(of_files) <= sent
