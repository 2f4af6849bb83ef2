"""Bringing files back: every source, only the file's own range over the network, and what goes when."""

import asyncio
import errno
import threading
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from servers_retriever import SIZES, Bench, received

from roadvault_common.files.ledger_book import KuboNote
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.room import Purpose, Reservation, blocks
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.dag import directory
from roadvault_common.ipfs.own_blocks import held
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import FETCH
from roadvault_retriever.store import Wanted
from roadvault_stack.kubo import Kubo

INNER_BYTES = 5_000
"""More than the DAG's one inner node of this archive: 66 links of some 50 bytes, and two 20-byte headers."""


async def _forget(kubo: Kubo) -> None:
    """Empty our node's cache, so that the next read goes over the network again."""
    async with Ipfs.open(kubo.rpc_url, 60) as ipfs:
        await ipfs.collect_garbage()


async def test_the_nearest_source_that_has_it_is_taken(bench: Bench) -> None:
    assert await bench.fetched("1 MB") == ("received", bench.contents["1 MB"])
    bench.lose("received")
    assert await bench.fetched("1 MB") == ("archive", bench.contents["1 MB"])
    bench.lose("archives")
    assert await bench.fetched("1 MB") == ("ipfs", bench.contents["1 MB"])


async def test_what_comes_from_the_network_has_room_in_our_nodes_repository_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, kept = bench.retriever.ledger.keep, list[int]()

    def counted(purpose: Purpose, size: int, **more: Any) -> AbstractAsyncContextManager[Reservation]:  # noqa: ANN401
        kept.append(size)
        return keep(purpose, size, **more)

    monkeypatch.setattr(bench.retriever.ledger, "keep", counted)
    for table in ("file_upload_info", "zip_ipfs_info", None):
        await bench.fetched("1 MB")
        if table is not None:
            await bench.db.execute(f"UPDATE {table} SET path = NULL")  # noqa: S608 - constants
    once, again, both = kept
    assert once == again == both // 2


async def test_so_has_what_was_to_come_from_our_disk_and_a_kubo_elsewhere_takes_nothing_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lose("received", "archives")
    monkeypatch.setattr(bench.vault, "free_bytes", lambda: blocks(SIZES["1 MB"]) * 3 // 2)
    download_id = await bench.request("1 MB")
    outcome = await bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Wait)
    assert "no room for extractions" in outcome.reason
    assert (await bench.row(download_id))["fetch_attempts"] == 0
    wanted = bench.retriever.ledger._waits.wanted()
    assert wanted >= 2 * blocks(SIZES["1 MB"])  # uploads leave room for both
    await bench.retriever.ledger.set_kubo(KuboNote(elsewhere=True))
    assert (await bench.fetched("1 MB"))[0] == "ipfs"
    for table in ("file_upload_info", "zip_ipfs_info"):
        await bench.db.execute(f"UPDATE {table} SET path = NULL")  # noqa: S608 - constants
    assert (await bench.fetched("1 MB"))[0] == "ipfs"


@pytest.mark.parametrize("name", list(SIZES))
async def test_no_more_than_the_files_own_blocks_cross_the_network(bench: Bench, kubo: Kubo, name: str) -> None:
    bench.lose("received", "archives")
    await _forget(kubo)
    before = await received(kubo)
    assert await bench.fetched(name) == ("ipfs", bench.contents[name])
    moved = await received(kubo) - before
    assert moved >= SIZES[name]
    assert moved <= SIZES[name] + (2 << 20) + INNER_BYTES


async def test_a_directory_costs_its_own_block_and_no_more(bench: Bench, kubo: Kubo, network_kubo: Kubo) -> None:
    (row,) = await bench.db.fetch_all("SELECT cid, size FROM zip_ipfs_info")
    async with Ipfs.open(network_kubo.rpc_url, 20) as network:
        node = await held(network, row["cid"])
        assert node is not None
    moved = []
    for path in (str(directory(node)["archive.7z.enc"]), f"{row['cid']}/archive.7z.enc"):
        await _forget(kubo)
        before = await received(kubo)
        async with Reader.open(kubo.gateway_url, 20) as reader:
            assert sum([len(piece) async for piece in reader.read(path, row["size"] // 2, 3_000_000)]) == 3_000_000
        moved.append(await received(kubo) - before)
    assert moved[1] - moved[0] == len(node) < 200


async def test_a_damaged_copy_is_passed_over(bench: Bench) -> None:
    for path in (bench.vault.root / "received").rglob("0*1"):
        if path.is_file():
            path.write_bytes(b"rot" + path.read_bytes()[3:])
    assert await bench.fetched("100 KB") == ("archive", bench.contents["100 KB"])


async def test_a_copy_that_can_not_be_read_is_passed_over(bench: Bench) -> None:
    before = {source: _unreadable(source) for source in ("received", "archive")}
    for name in ("received/00/" + "2".zfill(32), "archives/a"):
        (bench.vault.root / name).unlink()
        (bench.vault.root / name).mkdir()  # opening it is an IsADirectoryError, as EIO and EACCES another OSError
    assert await bench.fetched("1 MB") == ("ipfs", bench.contents["1 MB"])
    assert {source: _unreadable(source) - count for source, count in before.items()} == {"received": 1, "archive": 1}
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = NULL")
    await bench.db.execute("DELETE FROM download_info")
    outcome = await bench.retriever.fetching.work(await bench.request("1 MB"))
    assert isinstance(outcome, Retry)
    assert "can't be read: Is a directory" in outcome.reason


async def test_a_target_that_can_not_be_written_is_not_taken_for_a_bad_source(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _unreadable("received")

    def breaks(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("roadvault_common.files.new_file.write_all", breaks)
    outcome = await bench.retriever.fetching.work(await bench.request("1 MB"))
    assert isinstance(outcome, Retry)
    assert "Input/output error" in outcome.reason
    assert _unreadable("received") == before


def _unreadable(source: str) -> float:
    count = REGISTRY.get_sample_value("roadvault_fetch_unreadable_total", {"source": source})
    assert count is not None
    return count


async def test_nothing_but_damaged_copies_is_a_failure_with_its_reason(bench: Bench) -> None:
    await bench.db.execute("UPDATE file_upload_info SET sha256 = %s WHERE file_id = 1", ("0" * 64,))
    download_id = await bench.request("100 KB")
    outcome = await bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Failed)
    assert "SHA-256" in outcome.reason
    row = await bench.row(download_id)
    assert (row["status"], row["mirror"], row["open_key"], row["fetch_reason"]) == (3, 4, None, str(outcome.reason))
    assert [path for path in bench.downloads() if path.is_file()] == []


async def test_no_copy_at_all_is_a_failure_with_its_reason(bench: Bench) -> None:
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = NULL")
    bench.lose("received", "archives")
    outcome = await bench.retriever.fetching.work(await bench.request("1 MB"))
    assert isinstance(outcome, Failed)
    assert "no copy is left" in outcome.reason


async def test_a_file_that_was_packed_and_moved_out_meanwhile_is_looked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = await bench.db.fetch_one("SELECT cid FROM zip_ipfs_info")
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = NULL")
    begin = bench.retriever._store.note_begun

    async def suspended(wanted: Wanted) -> None:
        assert cid is not None
        await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s, path = NULL", (cid["cid"],))
        bench.lose("received", "archives")
        await begin(wanted)

    monkeypatch.setattr(bench.retriever._store, "note_begun", suspended)
    download_id = await bench.request("1 MB")
    outcome = await bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Wait)
    assert outcome.after == 0
    assert await bench.retriever.fetching.work(download_id) == Done()
    assert (await bench.row(download_id))["source"] == "ipfs"


async def test_only_the_latest_request_is_mirrored(bench: Bench) -> None:
    older, newer = await bench.request("1 MB"), await bench.request("1 MB")
    await bench.db.execute("UPDATE download_info SET fetch_due = NULL WHERE download_id = %s", (newer,))
    await bench.retriever.fetching.work(older)
    assert (await bench.row(older))["mirror"] == 1
    await bench.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6) WHERE download_id = %s", (newer,))
    await bench.retriever.fetching.work(newer)
    assert (await bench.row(newer))["mirror"] == 6


async def test_a_disk_that_hangs_in_the_clean_up_too_ends_in_an_outcome(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovered = threading.Event()

    def hang(*_: object) -> None:
        recovered.wait(60)

    monkeypatch.setattr(NewFile, "write", hang)
    monkeypatch.setattr(NewFile, "discard", hang)
    download_id = await bench.request("1 MB")
    try:
        async with asyncio.timeout(20):
            outcome = await bench.through(bench.retriever._reader, lease_seconds=1.0).fetching.work(download_id)
    finally:
        recovered.set()
    assert outcome == Retry(Reason("", "no progress for 1 s"))
    row = await bench.row(download_id)
    assert (row["fetch_token"], row["fetch_attempts"]) == (None, 1)


async def test_what_killed_retrievers_left_goes_before_room_is_looked_for(bench: Bench) -> None:
    first, second = await bench.request("1 MB"), await bench.request("1 MB")
    remains = {download_id: bench.vault.root / f"downloads/{download_id}/cut-short" for download_id in (first, second)}
    for path in remains.values():
        path.parent.mkdir()
        path.write_bytes(b"half a file")
    bench.retriever.ledger.margin_bytes = 1 << 60
    assert isinstance(await bench.retriever.fetching.work(first), Wait)
    assert [path for path in bench.downloads() if path.is_file()] == [remains[second]]


async def test_a_late_extraction_is_removed_by_a_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    download_id, close, removers = await bench.request("1 MB"), bench.retriever._store.close_extracted, []
    remove = Vault.remove

    async def late(*args: Any, **more: Any) -> None:  # noqa: ANN401 - as close_extracted
        await bench.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6)")
        assert await leases.claim(bench.db, FETCH, download_id, 60) is not None
        await close(*args, **more)

    def noted(vault: Vault, relative: str) -> None:
        removers.append(threading.current_thread())
        remove(vault, relative)

    monkeypatch.setattr(bench.retriever._store, "close_extracted", late)
    monkeypatch.setattr(Vault, "remove", noted)
    assert isinstance(await bench.retriever.fetching.work(download_id), Retry)
    assert [path for path in bench.downloads() if path.is_file()] == []
    assert len(removers) == 1
    assert removers[0] is not threading.main_thread()
