"""One extraction for each file, however many ask: who makes it, who takes it, and when it goes."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from prometheus_client import REGISTRY
from pydantic import SecretStr
from servers_retriever import Bench
from sweeps import sweep_once

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.reading import Reader
from roadvault_common.sql.db import Database
from roadvault_common.work import lease as leases
from roadvault_common.work import repair
from roadvault_common.work.outcome import Done, Outcome, Retry, Wait
from roadvault_common.work.stages import EXPIRE, FETCH
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever

NAME, OTHER = "1 MB", "100 KB"
DUE = "UPDATE download_info SET {0}_due = UTC_TIMESTAMP(6) WHERE {0}_due IS NOT NULL"


@pytest.fixture
async def bench(database_url: str, redis_url: str, data_dir: Path) -> AsyncIterator[Bench]:
    """A retriever with uploads that nobody has packed: their own files are where it finds them."""
    secret = SecretStr(Fernet.generate_key().decode())
    values = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": secret}
    settings, vault = RetrieverSettings.model_validate({**values, "disk_margin_bytes": 0}), Vault(data_dir)
    vault.prepare()
    contents = {NAME: os.urandom(1_000_000), OTHER: os.urandom(100_000)}
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "retriever") as bus,
        Reader.open("http://127.0.0.1:9", 1) as reader,
    ):
        for number, (name, content) in enumerate(contents.items(), 1):
            path = f"received/00/{number}"
            (data_dir / path).write_bytes(content)
            await db.execute(
                "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, path, folder_id)"
                " VALUES (%s, %s, 'mp4', %s, %s, %s, 1)",
                (number, name, len(content), hashlib.sha256(content).hexdigest(), path),
            )
        retriever = Retriever(settings, db, bus, vault, MasterKeys(secret), reader)
        yield Bench(db, vault, retriever, contents, {name: number for number, name in enumerate(contents, 1)})


def files(bench: Bench) -> list[Path]:
    return [path for path in bench.downloads() if path.is_file()]


async def expire(bench: Bench, download_id: int) -> Outcome | None:
    """Have a request's time be over."""
    await bench.db.execute(
        "UPDATE download_info SET callback_due = NULL, status = 2, expire_due = UTC_TIMESTAMP(6)"
        " WHERE download_id = %s",
        (download_id,),
    )
    return await bench.retriever.expiring.work(download_id)


def another(bench: Bench) -> Retriever:
    """Return another retriever, as a process of its own has it."""
    own = bench.retriever
    return Retriever(own._settings, bench.db, own._bus, bench.vault, own._keys, own._reader)


async def test_many_requests_for_a_file_make_one_extraction(bench: Bench) -> None:
    requests = [await bench.request(NAME) for _ in range(20)]
    other, before = await bench.request(OTHER), _shared()
    retrievers = [bench.retriever, another(bench)]
    outcomes = await asyncio.gather(
        *(retrievers[number % 2].fetching.work(request) for number, request in enumerate([*requests, other]))
    )
    # Whoever looked while another was at it waits without counting; all were served by the one that was made.
    assert not any(isinstance(outcome, Retry) for outcome in outcomes)
    rows = await bench.db.fetch_all("SELECT * FROM download_info WHERE file_id = %s", (bench.file_ids[NAME],))
    assert {(row["status"], row["fetch_due"], row["fetch_token"], row["fetch_attempts"]) for row in rows} == {
        (1, None, None, 0)
    }
    assert all(row["callback_due"] is not None and row["expire_due"] is not None for row in rows)
    (path,) = {row["path"] for row in rows}
    assert (bench.vault.root / path).read_bytes() == bench.contents[NAME]
    assert len(files(bench)) == 2
    assert (await bench.row(requests[-1]))["mirror"] == 6
    assert _shared() - before == 19


def _shared() -> float:
    count = REGISTRY.get_sample_value("roadvault_fetch_shared_total")
    assert count is not None
    return count


async def test_a_later_request_takes_the_extraction_that_is_there_for_its_own_time(bench: Bench) -> None:
    first = await bench.request(NAME)
    await bench.retriever.fetching.work(first)
    await bench.db.execute("UPDATE download_info SET expire_due = UTC_TIMESTAMP(6) + INTERVAL 1 MINUTE")
    bench.retriever.ledger.margin_bytes = 1 << 60  # nothing is written, so no room is asked for
    second = await bench.request(NAME)
    assert await bench.retriever.fetching.work(second) == Done()
    rows = [await bench.row(request) for request in (first, second)]
    assert rows[0]["path"] == rows[1]["path"]
    assert (rows[1]["expire_due"] - rows[0]["expire_due"]).total_seconds() > 6 * 86_400
    assert (rows[1]["source"], rows[1]["callback_due"] is not None, rows[1]["mirror"]) == ("received", True, 6)


async def test_an_extraction_goes_with_the_last_request_that_names_it(bench: Bench) -> None:
    first, second, third = [await bench.request(NAME) for _ in range(3)]
    await bench.retriever.fetching.work(first)
    assert await expire(bench, first) == Done()
    row = await bench.row(first)
    assert (row["status"], row["path"], row["expire_due"]) == (4, None, None)
    assert len(files(bench)) == 1
    assert await bench.retriever._store.named([(await bench.row(second))["path"]])
    # Both of the others at once: one of them is the last.
    await bench.db.execute(
        "UPDATE download_info SET callback_due = NULL, status = 2, expire_due = UTC_TIMESTAMP(6) WHERE path IS NOT NULL"
    )
    both = await asyncio.gather(bench.retriever.expiring.work(second), another(bench).expiring.work(third))
    assert list(both) == [Done(), Done()]
    assert bench.downloads() == []
    assert (
        await bench.db.fetch_all("SELECT 1 FROM download_info WHERE path IS NOT NULL OR expire_due IS NOT NULL") == []
    )


async def test_an_extraction_that_is_about_to_go_is_taken_by_nobody(bench: Bench) -> None:
    first = await bench.request(NAME)
    await bench.retriever.fetching.work(first)
    await bench.db.execute("UPDATE download_info SET callback_due = NULL, status = 2, expire_due = UTC_TIMESTAMP(6)")
    lease = await leases.claim(bench.db, EXPIRE, first, 60)
    assert lease is not None
    store, second = bench.retriever._expiry, await bench.request(NAME)
    assert not await store.close_unless_last(lease, await store.extraction(first))
    assert await bench.retriever.fetching.work(second) == Done()
    old, new = [(await bench.row(request))["path"] for request in (first, second)]
    assert old != new
    # It died before it unlinked; the next one does.
    await bench.db.execute("UPDATE download_info SET expire_due = UTC_TIMESTAMP(6) WHERE download_id = %s", (first,))
    assert await bench.retriever.expiring.work(first) == Done()
    assert [str(path.relative_to(bench.vault.root)) for path in files(bench)] == [new]


async def test_a_request_that_was_read_as_shared_and_goes_meanwhile_is_brought_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await bench.request(NAME), await bench.request(NAME)
    await bench.db.execute("UPDATE download_info SET fetch_due = NULL WHERE download_id = %s", (second,))
    await bench.retriever.fetching.work(first)
    await bench.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6) WHERE download_id = %s", (second,))
    close = bench.retriever._store.close_shared

    async def late(*args: object) -> bool:
        assert await expire(bench, first) == Done()
        return await close(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.retriever._store, "close_shared", late)
    assert await bench.retriever.fetching.work(second) == Done()
    (file,) = files(bench)
    assert str(file.relative_to(bench.vault.root)) == (await bench.row(second))["path"]
    assert file.read_bytes() == bench.contents[NAME]


@pytest.mark.parametrize("how", ["rot", "gone"])
async def test_a_damaged_extraction_is_made_anew_for_all_who_name_it(bench: Bench, how: str) -> None:
    first, second = await bench.request(NAME), await bench.request(NAME)
    await bench.retriever.fetching.work(first)
    (damaged,) = files(bench)
    damaged.unlink() if how == "gone" else damaged.write_bytes(b"rot" + damaged.read_bytes()[3:])
    third = await bench.request(NAME)
    assert await bench.retriever.fetching.work(third) == Done()
    (whole,) = files(bench)
    assert whole.read_bytes() == bench.contents[NAME]
    paths = {(await bench.row(request))["path"] for request in (first, second, third)}
    assert paths == {str(whole.relative_to(bench.vault.root))}


async def test_an_extraction_that_is_made_just_before_one_looks_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, earlier = await bench.request(NAME), await bench.request(NAME), another(bench)
    close, look = earlier._store.close_extracted, bench.retriever._store.look
    made, go_on = asyncio.Event(), asyncio.Event()

    async def held(*args: Any, **more: Any) -> object:  # noqa: ANN401 - as close_extracted
        made.set()
        await go_on.wait()
        return await close(*args, **more)

    monkeypatch.setattr(earlier._store, "close_extracted", held)
    fetching = asyncio.create_task(earlier.fetching.work(first))
    await made.wait()

    async def late(*args: Any) -> object:  # noqa: ANN401 - as look
        go_on.set()
        assert await fetching == Done()
        return await look(*args)

    monkeypatch.setattr(bench.retriever._store, "look", late)
    assert await bench.retriever.fetching.work(second) == Done()
    assert len(files(bench)) == 1
    assert (await bench.row(first))["path"] == (await bench.row(second))["path"]


async def test_two_damaged_extractions_of_before_are_both_made_anew(bench: Bench) -> None:
    requests = []
    for number in range(3):
        requests.append(await bench.request(NAME))
        await bench.db.execute(
            "UPDATE download_info SET path = %s, source = 'ipfs', status = 1, fetch_due = NULL WHERE download_id = %s",
            (f"downloads/{number}-gone", requests[-1]),
        )
    new = await bench.request(NAME)
    assert await bench.retriever.fetching.work(new) == Done()
    assert {(await bench.row(request))["path"] for request in (*requests, new)} == {(await bench.row(new))["path"]}


async def test_a_fetch_that_died_is_taken_over_by_any_request_of_the_file(bench: Bench) -> None:
    first, second = await bench.request(NAME), await bench.request(NAME)
    assert await leases.claim(bench.db, FETCH, first, 60) is not None
    waits = await bench.retriever.fetching.work(second)
    assert isinstance(waits, Wait)
    assert (await bench.row(second))["fetch_attempts"] == 0
    await bench.db.execute(DUE.format("fetch"))  # the lease of the dead one has run out
    assert await bench.retriever.fetching.work(second) == Done()
    row = await bench.row(first)
    assert (row["path"] is not None, row["fetch_due"], row["fetch_token"]) == (True, None, None)
    assert await bench.retriever.fetching.work(first) is None
    assert len(files(bench)) == 1


async def test_a_failed_request_that_a_person_retries_takes_what_is_there(bench: Bench) -> None:
    failed, asked = await bench.request(NAME), await bench.request(NAME)
    assert await repair.give_up(bench.db, FETCH, failed, "x")
    await bench.retriever.fetching.work(asked)
    assert (await bench.row(failed))["path"] is None
    assert await repair.retry(bench.db, FETCH, failed)
    assert await bench.retriever.fetching.work(failed) == Done()
    row = await bench.row(failed)
    assert (row["status"], row["path"]) == (1, (await bench.row(asked))["path"])


async def test_whoever_asks_and_expires_at_once_never_loses_a_file(bench: Bench) -> None:
    """Requests and expiries of one file, in two processes, again and again: each row that names a file has it."""
    retrievers = [bench.retriever, another(bench)]

    async def ask(retriever: Retriever, times: int) -> None:
        for _ in range(times):
            request = await bench.request(NAME)
            await retriever.fetching.work(request)
            await bench.db.execute(
                "UPDATE download_info SET callback_due = NULL, status = 2, expire_due = UTC_TIMESTAMP(6)"
                " WHERE download_id = %s AND path IS NOT NULL",
                (request,),
            )
            await sweep_once(retriever.expiring)

    await asyncio.gather(*(ask(retrievers[number % 2], 8) for number in range(4)))
    rows = await bench.db.fetch_all("SELECT DISTINCT path FROM download_info WHERE path IS NOT NULL")
    assert {str(path.relative_to(bench.vault.root)) for path in files(bench)} == {row["path"] for row in rows}
