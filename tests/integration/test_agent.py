"""`roadvault-agent` as a process, with a real ingest: each file once, none lost, none removed that is not there."""

import asyncio
import hashlib
import json
import os
import sqlite3
import urllib.request
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from free_ports import pick_free
from servers_access import Guarded
from servers_agent import AgentProcess, MakeAgent
from servers_ingest import Door, Open

from roadvault_agent import names, todo
from roadvault_agent.agent import Agent
from roadvault_agent.bucket import Bucket
from roadvault_agent.config import Config, Folder
from roadvault_agent.delivery import Delivery
from roadvault_agent.state import State
from roadvault_agent.tally import Tally
from roadvault_client import Client

ODD = os.fsdecode(b"\xff odd\n\xe5\x89\x8d:?.mp4")


async def kept(door: Door) -> dict[str, str]:
    """Return the SHA-256 of each file of the database, by name; there are no two of one name."""
    rows = await door.db.fetch_all("SELECT file_name, sha256 FROM file_upload_info")
    found = {row["file_name"]: row["sha256"] for row in rows}
    assert len(found) == len(rows)
    return found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_what_is_there_is_handed_over_and_marked(door: Door, make_agent: MakeAgent) -> None:
    agent = make_agent(door.url, '|then = "mark"\ninclude = ["*.mp4"]\ncamera = "gate 7"')
    contents = {name: os.urandom(1000) for name in ("a.mp4", "inner/b.MP4", ODD, "前方.mp4")}
    for name, content in contents.items():
        agent.put(name, content)
    agent.put("notes.txt", b"x")
    assert await agent.once() == 0, agent.log.read_text()
    assert await kept(door) == {names.for_server(name): sha256(content) for name, content in contents.items()}
    mark = json.loads((agent.cam / names.of_mark("a.mp4")).read_text())
    assert mark["sha256"] == sha256(contents["a.mp4"])
    assert (await door.file(mark["fileID"]))["result"]["filename"] == "a.mp4"
    assert await agent.once() == 0
    assert len(await kept(door)) == 4
    assert await agent.command("status") == "0 waiting, 0 sent, 4 done\n"


async def test_files_go_where_they_are_told_to(door: Door, make_agent: MakeAgent, tmp_path: Path) -> None:
    done = tmp_path / "done"
    agent = make_agent(door.url, f'|then = "move"\nmove_to = "{done}"')
    content = os.urandom(9_000)
    agent.put(f"inner/{ODD}", content)
    assert await agent.once() == 0, agent.log.read_text()
    assert agent.lying() == []
    assert (done / "inner" / ODD).read_bytes() == content
    (done / "inner" / ODD).rename(agent.cam / "inner" / ODD)  # somebody brings it back: it is known
    assert await agent.once() == 0, agent.log.read_text()
    assert agent.lying() == []
    assert len(await kept(door)) == 1


async def test_a_card_with_another_file_of_the_same_name_size_and_time(door: Door, make_agent: MakeAgent) -> None:
    agent = make_agent(door.url, '|then = "delete"')
    for content in (b"first " * 100, b"second" * 100):
        os.utime(agent.put("DCIM/0001.mp4", content), (315_532_800, 315_532_800))  # a camera without a clock
        assert await agent.once() == 0, agent.log.read_text()
    assert agent.lying() == []
    rows = await door.db.fetch_all("SELECT sha256 FROM file_upload_info ORDER BY file_id")
    assert [row["sha256"] for row in rows] == [sha256(b"first " * 100), sha256(b"second" * 100)]


async def test_a_server_that_is_away_is_waited_for_and_that_is_seen(open_door: Open, make_agent: MakeAgent) -> None:
    web, metrics = pick_free(2)
    agent = make_agent(f"http://127.0.0.1:{web}", f'metrics_port = {metrics}|then = "delete"')
    agent.put("a.mp4", b"frames")
    await agent.start()
    await agent.until(lambda _: b"server_away_seconds 0.0" not in _metrics(metrics))
    text = _metrics(metrics).decode()
    assert 'roadvault_agent_files{step="waiting"} 1.0' in text
    assert "roadvault_agent_oldest_waiting_seconds 0.0" not in text
    assert "Connect" in await agent.command("status")
    assert agent.lying() == ["a.mp4"]
    async with open_door() as door:
        proxy = await asyncio.start_server(lambda reader, writer: _pass_on(door, reader, writer), "127.0.0.1", web)
        async with proxy:
            await agent.until(lambda one: one.counts() == {"done": 1})
            assert await agent.stop() == 0
    assert agent.lying() == []
    assert "the server is back" in agent.log.read_text()


def _metrics(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found: bytes = answer.read()
            return found
    except OSError:
        return b"server_away_seconds 0.0"


async def _pass_on(door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = door.url.removeprefix("http://").partition(":")
    answers, onward = await asyncio.open_connection(host, int(port))

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)
        sink.close()

    await asyncio.gather(carry(reader, onward), carry(answers, writer))


async def test_a_file_that_goes_on_growing_is_taken_when_it_is_whole(door: Door, make_agent: MakeAgent) -> None:
    agent = make_agent(door.url, 'bytes_per_second = 100_000|then = "delete"\ncheck_open = false')
    path = agent.put("a.mp4", os.urandom(80_000))
    await agent.start()
    await agent.until(lambda one: one.counts() == {"waiting": 1})
    with path.open("ab") as file:
        file.write(b"the end")
    whole = sha256(path.read_bytes())
    await agent.until(lambda one: one.counts().get("done", 0) >= 1 and not one.lying())
    rows = await door.db.fetch_all("SELECT sha256 FROM file_upload_info ORDER BY file_id")
    assert rows[-1]["sha256"] == whole


async def test_a_card_that_is_pulled_out_goes_on_when_it_is_back(door: Door, make_agent: MakeAgent) -> None:
    agent = make_agent(door.url, 'bytes_per_second = 60_000|then = "delete"')
    contents = {f"{number}.mp4": os.urandom(60_000) for number in range(4)}
    for name, content in contents.items():
        agent.put(name, content)
    await agent.start()
    await agent.until(lambda one: one.counts().get("done", 0) >= 1)
    out = agent.cam.with_name("out")
    agent.cam.rename(out)
    await asyncio.sleep(1.5)
    assert len(list(out.iterdir())) >= 1
    out.rename(agent.cam)
    await agent.until(lambda one: one.counts() == {"done": 4} and not one.lying())
    assert await kept(door) == {name: sha256(content) for name, content in contents.items()}


async def test_a_full_server_is_waited_for_and_a_refused_file_holds_up_no_other(
    open_door: Open, make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_ingest.uploads.admission._FULL_RETRY_SECONDS", 1)  # which the agent heeds
    async with open_door(disk_margin_bytes=1 << 60) as full:
        agent = make_agent(full.url, '|then = "delete"')
        agent.put("a.mp4", b"frames")
        await agent.start()
        await agent.until(lambda one: "507" in one.log.read_text())
        assert agent.lying() == ["a.mp4"]
        await agent.kill()
    async with open_door(upload_max_bytes=1000) as door:
        agent = make_agent(door.url, '|then = "delete"')
        agent.put("b.mp4", b"x" * 2000)
        assert await agent.once() == 1
        assert agent.lying() == ["b.mp4"]
        assert list(await kept(door)) == ["a.mp4"]
        assert "b.mp4: 413:" in await agent.command("status")


async def test_files_of_a_camera_that_is_not_the_tokens_hold_up_no_other(
    guarded: Guarded, make_agent: MakeAgent
) -> None:
    token = (await guarded.token("edge", "upload,read", cameras=("gate-*",)))["Authorization"].removeprefix("Bearer ")
    agent = make_agent(guarded.url, f'token = "{token}"|then = "delete"\ncamera = "^(?P<camera>[^/]+)/"')
    for number in range(12):
        agent.put(f"yard/{number}.mp4", b"yard")
    await agent.start()
    await agent.until(lambda one: one.log.read_text().count("is refused: 403") == 12)
    agent.put("gate-7/a.mp4", b"gate")
    await agent.until(lambda one: one.counts().get("done") == 1, 20)
    assert await agent.stop() == 0
    # Without the scope nothing is any file's fault: all rest.
    await guarded.db.execute("UPDATE token_info SET scopes = 'read'")
    guarded.access.guard._tokens._known.clear()
    agent.put("gate-7/b.mp4", b"gate")
    await agent.start()
    await agent.until(lambda one: "takes the scope upload" in one.log.read_text())
    assert "gate-7/b.mp4 is refused" not in agent.log.read_text()
    assert await agent.stop() == 0


async def test_nothing_is_removed_before_the_archive_has_come_so_far(door: Door, make_agent: MakeAgent) -> None:
    agent = make_agent(door.url, '|then = "delete"\nwait_for = "pinned"')
    agent.put("a.mp4", b"frames")
    await agent.start()
    await agent.until(lambda one: one.counts() == {"sent": 1})
    await agent.kill()
    assert agent.lying() == ["a.mp4"]
    await door.db.execute(
        "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, pinned_at)"
        " SELECT folder_id, 'a', 'k', 'i', 6, 1, UTC_TIMESTAMP(6) FROM folder_info"
    )
    await door.db.execute("UPDATE file_upload_info SET zip_id = (SELECT zip_id FROM zip_ipfs_info)")
    assert await agent.once() == 0, agent.log.read_text()
    assert agent.lying() == []


async def test_a_server_that_has_lost_the_file_gets_it_again(door: Door, make_agent: MakeAgent) -> None:
    agent = make_agent(door.url, '|then = "delete"\nwait_for = "pinned"')
    agent.put("a.mp4", b"frames")
    await agent.start()
    await agent.until(lambda one: one.counts() == {"sent": 1})
    await agent.kill()
    await door.db.execute("INSERT INTO set_aside_info (file_id, reason) SELECT file_id, 'rotten' FROM file_upload_info")
    await agent.start()
    await agent.until(lambda one: "set aside" in one.log.read_text())
    async with asyncio.timeout(30):
        while await door.count("file_upload_info") < 2:
            await asyncio.sleep(0.1)
    assert agent.lying() == ["a.mp4"]


async def test_settings_that_change_while_a_file_is_under_way(open_door: Open, make_agent: MakeAgent) -> None:
    async with open_door(folder_bytes=100_000_000) as door:
        agent = make_agent(door.url, "bytes_per_second = 1_000_000|")
        content = os.urandom(5_000_000)
        agent.put("a.mp4", content)
        await agent.start()
        async with asyncio.timeout(30):
            while not await door.count("upload_info"):
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert await agent.stop() == 0
        agent.set('|tags = ["night"]')
        assert await agent.once() == 0, agent.log.read_text()
        assert await kept(door) == {"a.mp4": sha256(content)}


class FullDisk(State):
    """What can't be written now and then."""

    calls = 0

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:  # type: ignore[override] # any kind does
        self.calls += 1
        if self.calls % 3 == 1:
            raise sqlite3.OperationalError("database or disk is full")
        return super()._writing()


async def test_a_full_disk_of_the_agents_own_costs_no_file(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cam").mkdir()
    for number in range(5):
        (tmp_path / "cam" / f"{number}.mp4").write_bytes(b"frames %d" % number)
    folder = Folder(path=tmp_path / "cam", settle_seconds=0, then="delete")
    told = Config(url=door.url, poll_seconds=0.05, folders=(folder,))
    state = FullDisk(tmp_path / "state")
    with closing(state), Client(door.url) as client:
        agent = Agent(told, state, Delivery(client, state, Bucket(0)), Tally())
        monkeypatch.setattr(todo, "_FIRST_SECONDS", 0.05)
        assert await asyncio.wait_for(asyncio.to_thread(agent.run, once=True), 60)
    assert state.calls > 10
    assert list((tmp_path / "cam").iterdir()) == []
    assert len(await kept(door)) == 5


async def test_two_agents_do_not_share_a_state(door: Door, make_agent: MakeAgent) -> None:
    agent: AgentProcess = make_agent(door.url)
    await agent.start()
    await agent.until(lambda one: one.counts() == {} and (one.state / "agent.db").exists())
    assert "already running" in await agent.command("once")
    assert await agent.command("check") == f"1 folders, to {door.url}\n"
