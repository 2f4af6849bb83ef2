"""A drop looks at the evidence again before anything goes for good."""

import asyncio

import pytest
from evidence_rows import prove, void
from servers_operator import Console

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Retry, Wait
from roadvault_common.work.stages import DROP, PIN, RESTORE
from roadvault_pinner import service
from roadvault_stack.kubo import Kubo


async def archive(console: Console) -> int:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    await prove(console.db, zip_id)
    return zip_id


@pytest.mark.parametrize("lost", [True, False])
async def test_the_last_look_is_after_the_garbage_collection(
    console: Console, kubo: Kubo, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    zip_id = await archive(console)
    collect = console.pinner._collect_garbage._work

    async def meanwhile() -> None:
        await collect()
        await (void(console.db) if lost else prove(console.db, counted=3600))

    monkeypatch.setattr(console.pinner._collect_garbage, "_work", meanwhile)
    monkeypatch.setattr(service, "_LAST_LOOKS", 0)
    outcome = await console.pinner.dropping.work(zip_id)
    assert isinstance(outcome, Done if lost else Wait)
    row = await console.db.fetch_one("SELECT cid, path, drop_due, pin_due FROM zip_ipfs_info")
    assert row is not None
    assert (row["drop_due"] is None, row["pin_due"] is not None) == (lost, True)
    assert (console.vault.root / row["path"]).exists()
    await console.db.execute("UPDATE evidence_info SET counted_at = UTC_TIMESTAMP(6)")
    await console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")
    if not lost:  # what is read to be pinned must not go meanwhile
        outcome = await console.pinner.dropping.work(zip_id)
        assert isinstance(outcome, Wait)
        assert "pinned again" in outcome.reason
    assert await console.pinner.pinning.work(zip_id) == Done()
    assert await asyncio.to_thread(kubo.rpc, f"pin/ls?arg={row['cid']}&type=recursive") is not None
    assert await backlog.due_rows(console.db, DROP, 10) == [zip_id]


async def test_a_count_that_grew_old_in_the_garbage_collection_is_waited_for(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_id = await archive(console)
    collect, look_again = console.pinner._collect_garbage._work, console.pinner._store.look_again
    looks = []

    async def slow() -> None:
        await collect()
        await prove(console.db, counted=3600)

    async def counted_after_a_while(lease: leases.Lease) -> object:
        looks.append(await look_again(lease))
        if looks[-1].waits is not None:
            await prove(console.db)
        return looks[-1]

    monkeypatch.setattr(console.pinner._collect_garbage, "_work", slow)
    monkeypatch.setattr(console.pinner._store, "look_again", counted_after_a_while)
    monkeypatch.setattr(service, "_LAST_LOOK_SECONDS", 0)
    assert await console.pinner.dropping.work(zip_id) == Done()
    assert [look.may_go for look in looks] == [True, False, True]
    assert not any((console.vault.root / "archives").iterdir())


async def test_a_copy_in_our_node_alone_is_fetched_back_when_the_last_look_fails(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_id = await archive(console)
    await console.db.execute("UPDATE zip_ipfs_info SET path = NULL, restored_at = UTC_TIMESTAMP(6)")

    async def voided() -> None:
        await void(console.db)

    monkeypatch.setattr(console.pinner._collect_garbage, "_work", voided)
    assert await console.pinner.dropping.work(zip_id) == Done()
    row = await console.db.fetch_one("SELECT restored_at, restore_due, dropped_at FROM zip_ipfs_info")
    assert row is not None
    assert (row["restored_at"], row["restore_due"] is not None, row["dropped_at"]) == (None, True, None)


@pytest.mark.parametrize("restored", [False, True])
async def test_an_archive_that_was_unpinned_before_its_evidence_became_void_is_had_again(
    console: Console, kubo: Kubo, monkeypatch: pytest.MonkeyPatch, *, restored: bool
) -> None:
    zip_id = await archive(console)
    if restored:
        await console.db.execute("UPDATE zip_ipfs_info SET path = NULL, restored_at = UTC_TIMESTAMP(6)")

    async def stopped() -> None:
        raise IpfsUnavailable("the node was stopped")

    with monkeypatch.context() as patch:
        patch.setattr(console.pinner._collect_garbage, "_work", stopped)
        assert isinstance(await console.pinner.dropping.work(zip_id), Retry)
    await void(console.db)
    await console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")
    assert await console.pinner.dropping.work(zip_id) == Done()
    stage, worker = (RESTORE, console.pinner.restoring) if restored else (PIN, console.pinner.pinning)
    assert await backlog.due_rows(console.db, stage, 10) == [zip_id]
    assert await worker.work(zip_id) == Done()
    row = await console.db.fetch_one("SELECT cid FROM zip_ipfs_info")
    assert row is not None
    assert await asyncio.to_thread(kubo.rpc, f"pin/ls?arg={row['cid']}&type=recursive") is not None
    assert await console.pinner.dropping.work(zip_id) == Done()  # it is where it should be
    assert await backlog.due_rows(console.db, stage, 10) == []


async def test_uploads_that_are_kept_until_then_go_by_the_same_evidence(console: Console) -> None:
    console.pinner._settings.keep_uploads_until = "replicated"
    zip_id = await archive(console)
    uploads = console.vault.root / "received"

    def kept() -> int:
        return sum(path.is_file() for path in uploads.rglob("*"))

    await prove(console.db, counted=300)
    assert isinstance(await console.pinner.dropping.work(zip_id), Wait)
    assert kept() == 2
    await void(console.db)
    await console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")
    assert await console.pinner.dropping.work(zip_id) == Done()
    assert kept() == 2
    await prove(console.db)
    assert await console.pinner.dropping.work(zip_id) == Done()
    assert kept() == 0
