"""What clients have begun and not ended is seen to grow old."""

import pytest
from prometheus_client import REGISTRY
from servers_ingest import Door
from tus_requests import Client

from roadvault_ingest.gauges import open_work


def seconds(what: str) -> float | None:
    """Return an age that is shown, without the seconds that the test took."""
    shown = REGISTRY.get_sample_value(f"roadvault_{what}_seconds")
    assert shown is not None
    return shown // 100 * 100


@pytest.fixture
async def begun(door: Door) -> str:
    return await Client(door.http, door.url).begun(10)


async def test_uploads_that_come_on_are_told_from_those_that_were_left(door: Door, begun: str) -> None:
    sample = open_work(door.ingest.resumable.store, door.ingest.batches.store)
    await Client(door.http, door.url).begun(10)
    upload_id = begun.rpartition("/")[2]
    for hours, which in ((3, "TRUE"), (5, f"upload_id = '{upload_id}'")):
        await door.db.execute(
            f"UPDATE upload_info SET create_time = UTC_TIMESTAMP(6) - INTERVAL {hours} HOUR WHERE {which}"  # noqa: S608
        )
    await sample()
    assert REGISTRY.get_sample_value("roadvault_uploads_open") == 2
    assert (seconds("uploads_open_oldest"), seconds("uploads_coming_oldest")) == (18_000, 18_000)
    await door.db.execute("UPDATE upload_info SET held_until = UTC_TIMESTAMP(6) WHERE upload_id = %s", (upload_id,))
    await sample()
    assert (seconds("uploads_open_oldest"), seconds("uploads_coming_oldest")) == (18_000, 10_800)
    await door.db.execute("UPDATE upload_info SET file_id = 1")
    await sample()
    assert REGISTRY.get_sample_value("roadvault_uploads_open") == 0
    assert (seconds("uploads_open_oldest"), seconds("uploads_coming_oldest")) == (0, 0)


async def test_the_oldest_batch_that_has_not_ended(door: Door) -> None:
    sample = open_work(door.ingest.resumable.store, door.ingest.batches.store)
    for batch_id, hours in ((1, 5), (2, 3)):
        await door.db.execute(
            "INSERT INTO batch_info (batch_id, cb_url, cb_place, files, create_time)"
            " VALUES (%s, 'https://c/', 'c:443', 1, UTC_TIMESTAMP(6) - INTERVAL %s HOUR)",
            (batch_id, hours),
        )
    for batch_id, age in ((1, 18_000), (2, 10_800), (3, 0)):
        await sample()
        assert seconds("batches_open_oldest") == age
        await door.db.execute("UPDATE batch_info SET is_open = NULL WHERE batch_id = %s", (batch_id,))
