"""Who watches stands in the custody log: once for each token, beside what is sent, and sooner or later."""

import asyncio
import json

import pytest
from servers_streaming import MADE_FOR, OpenStage, Stage, view_token

from roadvault_common.errors import DatabaseUnavailable
from roadvault_common.sql.db import Database
from roadvault_common.web.links import View
from roadvault_retriever.streaming import register as module
from roadvault_retriever.streaming.register import Register
from roadvault_retriever.streaming.store import StreamStore


async def watched(db: Database) -> list[tuple[int, dict[str, str]]]:
    """Return whose watching is written down: files, and for whom."""
    rows = await db.fetch_all("SELECT file_id, facts FROM custody_info WHERE act = 'watched' ORDER BY line_id")
    return [(row["file_id"], json.loads(row["facts"])) for row in rows]


async def settled(register: Register) -> None:
    async with asyncio.timeout(10):
        while register._writing:
            await asyncio.sleep(0.02)


async def test_a_token_is_one_line_however_many_ranges_and_retrievers(stage: Stage, open_stage: OpenStage) -> None:
    file_id, db = stage.bench.file_ids["12 MB"], stage.bench.db
    path = f"/v/{view_token(file_id)}"
    ranges = [{"Range": f"bytes={begin}-{begin + 9}"} for begin in (0, 5_000_000, 11_000_000)]
    for unsent in ({"Range": "bytes=20000000-"}, {"If_Match": '"another"'}):
        await stage.door.ask(stage.door.url + path, **unsent)
    await stage.door.ask(stage.door.url + path, "HEAD")
    await settled(stage.register)
    assert await watched(db) == []
    async with open_stage() as other:  # another process, or this one after its restart
        urls = [stage.door.url + path, other.door.url + path]
        answers = await asyncio.gather(*(stage.door.ask(url, **one) for url in urls for one in ranges))
        assert {answer.status for answer in answers} == {206}
        await settled(other.register)
    await settled(stage.register)
    assert await watched(db) == [(file_id, MADE_FOR)]
    await stage.part("12 MB", 0, 10)  # by another token
    await settled(stage.register)
    assert await watched(db) == [(file_id, MADE_FOR)] * 2


async def test_rows_of_tokens_go_a_day_after_their_end(stage: Stage) -> None:
    store, db = StreamStore(stage.bench.db), stage.bench.db
    await store.note_watched(View("a" * 16, 1, await db.now(), {}))
    await db.execute("UPDATE watched_info SET over_at = over_at - INTERVAL 25 HOUR")
    await store.note_watched(View("b" * 16, 1, await db.now(), {}))
    assert await db.fetch_all("SELECT view_id FROM watched_info") == [{"view_id": "b" * 16}]


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have no line written until this is set."""
    write, back = StreamStore.note_watched, asyncio.Event()

    async def note(store: StreamStore, view: View) -> None:
        if not back.is_set():
            raise DatabaseUnavailable("away")
        await write(store, view)

    monkeypatch.setattr(StreamStore, "note_watched", note)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(module, "_END_SECONDS", 0.1)
    return back


async def test_a_line_that_can_not_be_written_delays_nothing_and_comes_later(stage: Stage, back: asyncio.Event) -> None:
    content = stage.bench.contents["1 MB"]
    assert await stage.part("1 MB", 0, len(content)) == content
    assert await watched(stage.bench.db) == []
    back.set()
    await settled(stage.register)
    assert await watched(stage.bench.db) == [(stage.bench.file_ids["1 MB"], MADE_FOR)]


@pytest.mark.usefixtures("back")
async def test_what_waits_to_be_written_is_bounded_and_told_at_the_end(
    open_stage: OpenStage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_WAIT_MOST", 1)
    async with open_stage() as stage:
        first = stage.view("1 MB")
        for _ in range(2):
            assert (await stage.door.ask(first)).status == 200
        assert (await stage.ask("3 MB")).status == 503
        assert (await stage.ask("3 MB", "HEAD")).status == 200
        capsys.readouterr()
    told = capsys.readouterr().out
    assert "not written down" in told
    assert "anna" in told
