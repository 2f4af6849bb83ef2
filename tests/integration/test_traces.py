"""A client's trace goes on through real services, also where sweeps alone find the work; answers and logs name it."""

import asyncio
import json

import aiohttp
from collector import collecting
from servers_receiver import receiver
from servers_services import Services

from roadvault_common.sql.db import Database
from roadvault_common.tracing import store

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
BAD = {"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}
NO_REDIS = "redis://127.0.0.1:1/0"


async def test_a_clients_trace_goes_on_to_its_callback_without_a_single_event(
    services: Services, database_url: str
) -> None:
    taken = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with collecting() as collector:
        settings = {"otlp_url": collector.url, "redis_url": NO_REDIS}
        made = [services(name, **settings) for name in ("ingest", "retriever", "notifier")]
        await asyncio.gather(*(service.start() for service in made))
        ingest, retriever, _ = made
        async with receiver(taken) as client, aiohttp.ClientSession() as http:
            async with http.put(f"{ingest.url}/api/open/upload/secret-name.mp4", data=b"x", headers=PARENT) as answer:
                assert answer.headers["traceresponse"].split("-")[1] == TRACE
                file_id = (await answer.json())["result"]["fileID"]
            asked = {"fileID": file_id, "cbUrl": f"http://127.0.0.1:{client.port}/secret-path"}
            async with http.post(f"{ingest.url}/api/open/downFile", json=asked, headers=PARENT) as answer:
                assert answer.status == 200
            async with http.get(f"{ingest.url}/api/open/file/99", headers=BAD) as answer:
                assert (answer.status, TRACE in answer.headers["traceresponse"]) == (404, False)
            async with http.get(f"{ingest.url}/readyz", headers=PARENT) as answer:
                assert "traceresponse" not in answer.headers
            async with asyncio.timeout(30):
                while not client.asked:
                    await asyncio.sleep(0.05)
        head = client.asked[0][0].decode()
        for service in made:  # what is left is sent as they end
            service.terminate()
            await service.ended(20)
    spans = collector.of(TRACE)
    assert collector.above(spans["record"]) == ["PUT /api/open/upload/{name}"]
    assert collector.above(spans["fetch"]) == collector.above(spans["callback"]) == ["POST /api/open/downFile"]
    assert f"traceparent: 00-{TRACE}-{spans['callback'].span}-01\r\n" in head
    assert spans["fetch"].facts["roadvault.outcome"] == "done"
    sent = b"".join(collector.raw)
    assert b"secret" not in sent
    lines = [json.loads(line) for line in retriever.log.read_text().splitlines()]
    assert [line["trace_id"] for line in lines if line["event"] == "file extracted"] == [TRACE]
    async with Database.open(database_url, size=1) as db:
        await store.forget(db)
        events = await db.fetch_all("SELECT stage, trace_id FROM event_log ORDER BY stage")
        assert [tuple(row.values()) for row in events] == [("callback", TRACE), ("fetch", TRACE)]
        kept = await db.fetch_all("SELECT of_table FROM trace_info ORDER BY of_table")
        assert [row["of_table"] for row in kept] == ["download_info", "file_upload_info"]
        await db.execute("UPDATE trace_info SET create_time = create_time - INTERVAL 8 DAY")
        await store.forget(db)
        assert await db.fetch_value("SELECT COUNT(*) FROM trace_info") == 0


async def test_without_a_collector_no_answer_and_no_row_has_a_trace(services: Services, database_url: str) -> None:
    ingest = services("ingest")
    await ingest.start()
    url = f"{ingest.url}/api/open/upload/a.mp4"
    async with aiohttp.ClientSession() as http, http.put(url, data=b"x", headers=PARENT) as answer:
        assert (answer.status, "traceresponse" in answer.headers) == (200, False)
    async with Database.open(database_url, size=1) as db:
        assert await db.fetch_value("SELECT COUNT(*) FROM trace_info") == 0
    assert "trace_id" not in ingest.log.read_text()
