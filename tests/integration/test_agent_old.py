"""A file whose key the server may have forgotten by now is looked for there before it is sent again."""

import hashlib
import sqlite3

from servers_agent import MakeAgent
from servers_ingest import Door

from roadvault_agent import state


async def test_a_file_that_was_sent_days_ago_is_found(door: Door, make_agent: MakeAgent) -> None:
    """Its answer was lost, and the line stayed away for longer than the server keeps keys."""
    agent = make_agent(door.url, '|then = "delete"')
    agent.put("a.mp4", b"frames")
    agent.put("b.mp4", b"other frames")
    away = make_agent("http://127.0.0.1:9", '|then = "delete"')
    await away.start()
    await away.until(lambda one: one.counts() == {"waiting": 2})
    await away.kill()
    with sqlite3.connect(state.place(agent.state)) as db:
        db.execute("UPDATE file SET seen_at = seen_at - 3 * 86400")
    db.close()
    await door.upload(b"other frames", "a.mp4")
    _, uploaded = await door.upload(b"frames", "a.mp4")
    agent.set('|then = "delete"')
    assert await agent.once() == 0, agent.log.read_text()
    assert f"a.mp4 is done with, as file {uploaded['result']['fileID']}" in agent.log.read_text()
    rows = await door.db.fetch_all("SELECT file_name, sha256 FROM file_upload_info ORDER BY file_id")
    sums = [hashlib.sha256(content).hexdigest() for content in (b"other frames", b"frames", b"other frames")]
    assert [(row["file_name"], row["sha256"]) for row in rows] == list(
        zip(["a.mp4", "a.mp4", "b.mp4"], sums, strict=True)
    )
