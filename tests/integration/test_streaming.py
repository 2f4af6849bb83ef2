"""Playing files from wherever they are, through the door: every source, any range, and what becomes of troubles."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from datetime import datetime
from types import SimpleNamespace

import aiohttp
import pytest
from free_ports import pick_free
from prometheus_client import REGISTRY
from servers_process import Running
from servers_retriever import SIZES
from servers_streaming import OpenStage, Stage, digest, small_client, view_token, watch
from sites import site

from roadvault_common.ipfs.reading import Reader
from roadvault_stack.kubo import Kubo

RANGES = [(0, 1), (0, 12_000_000), (1_048_575, 1_048_578), (3_333_333, 7_777_777), (11_999_999, 12_000_000)]
MIB = 1 << 20


def _read_from(source: str) -> float:
    return REGISTRY.get_sample_value("roadvault_stream_read_bytes_total", {"source": source}) or 0


@pytest.mark.parametrize("source", ["received", "archive", "ipfs"])
async def test_any_range_of_a_file_is_its_plaintext_from_every_source(stage: Stage, source: str) -> None:
    if source != "received":
        stage.bench.lose("received")
    if source == "ipfs":
        stage.bench.lose("archives")
    before, content = _read_from(source), stage.bench.contents["12 MB"]
    for begin, end in RANGES:
        assert await stage.part("12 MB", begin, end) == content[begin:end]
    assert _read_from(source) - before == len(content)  # once, however often it was asked for
    for name in SIZES:
        assert (await stage.ask(name)).body == stage.bench.contents[name]
    assert stage.bench.downloads() == []


async def test_it_answers_as_players_need_it(stage: Stage) -> None:
    content = stage.bench.contents["1 MB"]
    whole, head = await stage.ask("1 MB"), await stage.ask("1 MB", "HEAD")
    for answer in (whole, head):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.headers["Content-Disposition"].startswith('inline; filename="2.mp4"')
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["ETag"] == f'"{digest(content)}"'
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox allow-same-origin"
    part = await stage.ask("1 MB", Range="bytes=-10")
    assert (part.status, part.body) == (206, content[-10:])
    assert part.headers["Content-Range"] == f"bytes 999990-999999/{len(content)}"
    assert (await stage.ask("1 MB", If_None_Match=whole.headers["ETag"])).status == 304
    assert (await stage.ask("1 MB", If_Match='"another"')).status == 412
    assert (await stage.ask("1 MB", Range="bytes=0-9", If_Range='"another"')).status == 200
    past = await stage.ask("1 MB", Range="bytes=1000000-")
    assert (past.status, past.headers["Content-Range"]) == (416, "bytes */1000000")


async def test_scripts_of_other_origins_read_it_only_where_they_are_named(open_stage: OpenStage) -> None:
    async with open_stage(link_origins="https://portal.example") as stage:
        for origin, allowed in (("https://portal.example", "https://portal.example"), ("https://evil.example", None)):
            answer = await stage.ask("1 MB", Range="bytes=0-9", Origin=origin)
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        asked = {"Origin": "https://portal.example", "Access_Control_Request_Method": "GET"}
        assert (await stage.ask("1 MB", "OPTIONS", **asked)).status == 204


async def test_what_has_no_copy_or_has_ended_is_said(stage: Stage) -> None:
    db, file_id = stage.bench.db, stage.bench.file_ids["1 MB"]
    assert (await stage.ask("1 MB", "HEAD")).status == 200
    await db.execute("UPDATE file_upload_info SET zip_id = NULL, path = NULL WHERE file_id = %s", (file_id,))
    answer = await stage.ask("1 MB")
    assert (answer.status, answer.body) == (404, b"no whole copy of this file is left\n")
    await db.execute("UPDATE file_upload_info SET path = 'received/00/x' WHERE file_id = %s", (file_id,))
    await db.execute("INSERT INTO set_aside_info (file_id, reason) VALUES (%s, 'rotten')", (file_id,))
    answer = await stage.ask("1 MB")
    assert (answer.status, b"set aside" in answer.body) == (404, True)
    await db.execute(
        "INSERT INTO retention_info (zip_id, ends_at, shredded_at) SELECT zip_id, %s, %s FROM zip_ipfs_info",
        (datetime(2026, 1, 1), datetime(2026, 1, 2)),  # noqa: DTZ001 - as the column is
    )
    answer = await stage.ask("3 MB")
    assert (answer.status, b"2026-01-02" in answer.body) == (410, True)
    assert (await stage.ask("3 MB", "HEAD")).status == 410


async def test_a_key_that_is_damaged_in_its_row_is_a_persons_to_mend(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.bench.db.execute("UPDATE file_upload_info SET path = NULL")
    await stage.bench.db.execute("UPDATE zip_ipfs_info SET `key` = 'gAAAAA'")
    answer = await stage.ask("3 MB", Range="bytes=0-9")
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert not [one for one in caplog.records if one.exc_info], "it is no defect of ours"


async def test_a_file_that_ends_while_it_is_watched_is_shown_no_further(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_later = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + seconds_later[0])
    monkeypatch.setattr("roadvault_retriever.streaming.source.time", clock)
    await stage.ask("12 MB")  # all of it is in memory
    async with stage.door.http.get(stage.view("12 MB")) as response:
        await response.content.readexactly(100_000)
        await stage.bench.db.execute(
            "INSERT INTO retention_info (zip_id, ends_at, shredded_at)"
            " SELECT zip_id, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM zip_ipfs_info"
        )
        seconds_later[0] = 30
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_copy_that_goes_while_it_is_watched_is_followed_by_the_next(stage: Stage) -> None:
    content = stage.bench.contents["12 MB"]
    async with stage.door.http.get(stage.view("12 MB")) as response:
        got = await response.content.readexactly(100_000)
        stage.bench.lose("received")
        got += await response.content.readexactly(4_000_000)
        stage.bench.lose("archives")
        assert got + await response.read() == content


async def test_a_file_that_is_packed_while_it_is_watched_is_found_again(stage: Stage) -> None:
    """The row that was read as it began knew of the upload alone."""
    db, file_id = stage.bench.db, stage.bench.file_ids["12 MB"]
    row = await db.fetch_one("SELECT zip_id, zip_offset FROM file_upload_info WHERE file_id = %s", (file_id,))
    assert row is not None
    await db.execute("UPDATE file_upload_info SET zip_id = NULL, zip_offset = NULL WHERE file_id = %s", (file_id,))
    async with stage.door.http.get(stage.view("12 MB")) as response:
        got = await response.content.readexactly(100_000)
        await db.execute(
            "UPDATE file_upload_info SET path = NULL, zip_id = %s, zip_offset = %s WHERE file_id = %s",
            (row["zip_id"], row["zip_offset"], file_id),
        )
        stage.bench.lose("received")
        assert got + await response.read() == stage.bench.contents["12 MB"]


async def test_an_archive_that_is_spoilt_here_and_not_given_by_the_network_is_to_be_mended(
    open_stage: OpenStage, kubo: Kubo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_retriever.streaming.watching._FIRST_SECONDS", 0.1)
    async with Reader.open(kubo.gateway_url, 0.3) as reader, open_stage(reader=reader) as stage:
        db = stage.bench.db
        stage.bench.lose("received")
        (stage.bench.vault.root / "archives/a").write_bytes(b"short")
        await db.execute("UPDATE zip_ipfs_info SET cid = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'")
        assert (await stage.ask("1 MB")).status == 503
        assert await db.fetch_value("SELECT restore_due <= UTC_TIMESTAMP(6) FROM zip_ipfs_info") == 1


@pytest.mark.parametrize("spoilt", ["shorter", "unreadable"])
async def test_local_copies_that_are_seen_to_be_spoilt_are_passed_over(
    stage: Stage, spoilt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_retriever.streaming.watching._FIRST_SECONDS", 0.5)
    for path in (*(stage.bench.vault.root / "received").rglob("0*"), stage.bench.vault.root / "archives/a"):
        if path.is_file():
            size = path.stat().st_size
            path.unlink()
            path.mkdir() if spoilt == "unreadable" else path.write_bytes(os.urandom(size - 1))
    assert (await stage.ask("3 MB")).body == stage.bench.contents["3 MB"]
    await stage.bench.db.execute("UPDATE zip_ipfs_info SET cid = NULL")
    answer = await stage.ask("5 MB")
    assert answer.status == (404 if spoilt == "shorter" else 503)


async def test_kubo_may_be_away_for_a_while(stage: Stage, kubo_server: Running[Kubo]) -> None:
    await stage.sent_away()
    async with stage.door.http.get(stage.view("12 MB")) as response:
        got = await response.content.readexactly(100_000)
        await asyncio.to_thread(kubo_server.stop)
        reading = asyncio.create_task(response.read())
        blocks = len(stage.blocks._kept)
        while not stage.blocks._flights:  # it asks for what does not come
            await asyncio.sleep(0.01)
        assert (reading.done(), len(stage.blocks._kept)) == (False, blocks)
        await asyncio.to_thread(kubo_server.start)
        assert got + await reading == stage.bench.contents["12 MB"]


async def test_what_is_away_is_told_after_a_while_and_local_copies_play(
    stage: Stage, kubo_server: Running[Kubo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_retriever.streaming.watching._FIRST_SECONDS", 0.5)
    await stage.bench.db.execute("UPDATE zip_ipfs_info SET path = NULL")
    db, file_id = stage.bench.db, stage.bench.file_ids["1 MB"]
    await db.execute("UPDATE file_upload_info SET path = NULL WHERE file_id = %s", (file_id,))
    kubo_server.stop()
    answer = await stage.ask("1 MB")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert (await stage.ask("3 MB")).body == stage.bench.contents["3 MB"]


async def test_without_a_retriever_a_player_is_told_to_come_again(open_link_door: OpenStage) -> None:
    for url in ("", "http://127.0.0.1:9"):
        async with open_link_door(stream_url=url) as door:
            answer = await door.ask(f"{door.url}/v/{view_token(1)}")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_no_more_is_moved_than_is_watched_and_a_little_ahead(stage: Stage) -> None:
    await stage.sent_away()
    before = await stage.moved()
    taken = await watch(stage, "12 MB", bytes_per_second=1_000_000, seconds=4)
    await stage.still(watchers=0)
    moved = await stage.moved() - before
    assert 3_000_000 < taken < moved <= taken + 4 * MIB


async def test_a_paused_player_has_nothing_more_fetched(stage: Stage) -> None:
    await stage.sent_away()
    before = await stage.moved()
    async with small_client() as http, http.get(stage.view("12 MB")) as response:
        await response.content.readexactly(1)
        await stage.still(watchers=1)
        moved = await stage.moved() - before
        assert 0 < moved <= 4 * MIB
        await stage.still(watchers=1)
        assert await stage.moved() - before == moved


async def test_fifty_who_watch_share_what_is_fetched(stage: Stage) -> None:
    await stage.sent_away()
    before, content = await stage.moved(), stage.bench.contents["12 MB"]

    async def take(begin: int) -> bool:
        async with aiohttp.ClientSession() as http:
            headers = {"Range": f"bytes={begin}-"}
            async with http.get(stage.view("12 MB"), headers=headers) as response:
                return await response.read() == content[begin:]

    assert all(await asyncio.gather(*(take(number * 1000) for number in range(50))))
    assert await stage.moved() - before <= len(content) + 2 * MIB
    assert stage.blocks._bytes <= stage.blocks.most_bytes
    assert (stage.blocks.watchers, stage.blocks._flights) == (0, {})


async def test_memory_is_bounded_whoever_watches_what(open_stage: OpenStage) -> None:
    async with open_stage(cache_bytes=2 * MIB) as stage:
        await stage.sent_away()
        names = ["12 MB", "5 MB", "3 MB"] * 4
        answers = await asyncio.gather(*map(stage.ask, names))
        assert all(answer.body == stage.bench.contents[name] for answer, name in zip(answers, names, strict=True))
        assert stage.blocks._bytes <= 2 * MIB
        assert sum(len(data) for data, _ in stage.blocks._kept.values()) == stage.blocks._bytes


async def test_who_hangs_up_is_let_go_though_nothing_comes_for_him(stage: Stage) -> None:
    await stage.sent_away()
    await stage.bench.db.execute(
        "UPDATE zip_ipfs_info SET cid = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'"
    )
    asking = asyncio.create_task(stage.ask("12 MB"))
    async with asyncio.timeout(30):
        while not (stage.blocks.watchers and stage.blocks._flights):
            await asyncio.sleep(0.01)
    asking.cancel()
    async with asyncio.timeout(5):
        while stage.blocks.watchers or stage.blocks._flights:
            await asyncio.sleep(0.05)


async def test_places_of_watchers_are_bounded_and_given_back(open_stage: OpenStage) -> None:
    async with open_stage(watchers=2, peer_watchers=2) as stage:
        async with aiohttp.ClientSession(read_bufsize=1 << 12) as http:
            held = [await http.get(stage.view("12 MB")) for _ in range(2)]
            full = await stage.ask("12 MB")
            assert (full.status, full.headers["Retry-After"]) == (503, "5")
            assert (await stage.ask("12 MB", "HEAD")).status == 200
            for response in held:
                response.close()
        async with asyncio.timeout(5):
            while (await stage.ask("1 MB")).status != 200:
                await asyncio.sleep(0.1)


async def test_who_takes_nothing_is_cut_off_and_may_go_on_where_he_was(open_stage: OpenStage) -> None:
    async with open_stage(download_grace_seconds=0.5) as stage:
        content = stage.bench.contents["12 MB"]
        async with aiohttp.ClientSession(read_bufsize=1 << 12) as http, http.get(stage.view("12 MB")) as response:
            got = await response.content.readexactly(1000)
            async with asyncio.timeout(5):
                while stage.blocks.watchers:
                    await asyncio.sleep(0.05)
            with pytest.raises(aiohttp.ClientPayloadError):
                while True:
                    got += await response.content.readany()
        assert len(got) < len(content)
        assert got + await stage.part("12 MB", len(got), len(content)) == content


async def test_what_nobody_watches_is_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.ask("3 MB")
    await stage.blocks.tidy()
    assert stage.blocks._bytes == 3_000_000
    monkeypatch.setattr("roadvault_retriever.streaming.blocks._KEPT_SECONDS", 0.0)
    await stage.blocks.tidy()
    assert (stage.blocks._bytes, len(stage.blocks._kept)) == (0, 0)


async def test_a_retriever_that_is_started_anew_is_asked_for_the_rest(stage: Stage, open_link_door: OpenStage) -> None:
    (port,) = pick_free(1)
    content = stage.bench.contents["12 MB"]
    async with open_link_door(stream_url=f"http://127.0.0.1:{port}") as door:
        async with AsyncExitStack() as first:
            closing, streaming = asyncio.Event(), stage.streaming
            await first.enter_async_context(site(streaming.routes(), port=port))
            ending = asyncio.create_task(streaming.end(closing))
            response = await door.http.get(f"{door.url}/v/{view_token(stage.bench.file_ids['12 MB'])}")
            got = await response.content.readexactly(100_000)
            closing.set()
            await ending
            async with asyncio.timeout(2):
                while stage.blocks.watchers:
                    await asyncio.sleep(0.02)
        async with site(stage.streaming.routes(), port=port):
            assert got + await response.read() == content
