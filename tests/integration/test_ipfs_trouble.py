"""A Kubo that hangs, works long, or whose disk takes nothing: no archive or request is blamed for it. Real nodes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from evidence_rows import prove
from free_ports import pick_free
from servers_operator import Console
from servers_process import Running

from roadvault_common.errors import IpfsAway
from roadvault_common.ipfs.publishing import resolve
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import GC_SECONDS, Ipfs
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Done, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import DROP
from roadvault_common.work.worker import Worker
from roadvault_pinner.service import _DROP_LEASE_SECONDS, Pinner
from roadvault_stack.kubo import Kubo, KuboPorts
from roadvault_stack.ports import HOST

UNKNOWN = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


class OwnNode(Running[Kubo]):
    """A node whose disk can be broken."""

    @contextmanager
    def broken_disk(self) -> Iterator[None]:
        """Have every write of a block fail; the node goes on and answers with errors."""
        blocks = self.server.home / "blocks"
        away = blocks.rename(blocks.with_name("away"))
        blocks.write_text("not a directory")
        try:
            yield
        finally:
            blocks.unlink()
            away.rename(blocks)


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[OwnNode]:
    node = OwnNode(Kubo("own-ipfs", tmp_path / "own-ipfs", KuboPorts(*pick_free(3))))
    node.start()
    yield node
    node.kill()


@pytest.fixture
async def ipfs(kubo: Kubo) -> AsyncIterator[Ipfs]:
    async with Ipfs.open(kubo.rpc_url, 30) as opened:
        yield opened


@pytest.fixture
async def hasty_ipfs(kubo: Kubo) -> AsyncIterator[Ipfs]:
    """Made for a node that stands still; a busy one may take longer for its answers."""
    async with Ipfs.open(kubo.rpc_url, 1) as opened:
        yield opened


def pinner(console: Console, ipfs: Ipfs, **settings: object) -> Pinner:
    own = console.pinner._settings.model_copy(update={"lease_seconds": 1.0, **settings})
    return Pinner(own, console.db, console.bus, console.vault, console.pinner._keys, ipfs)


async def state(console: Console, stage: str) -> Row:
    names = ", ".join(f"{stage}_{name} AS {name}" for name in ("due", "token", "attempts", "reason", "failed_at"))
    row = await console.db.fetch_one(f"SELECT {names} FROM zip_ipfs_info")  # noqa: S608 - constants
    assert row is not None
    return row


def is_not_counted(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Wait) and "can't store a block" in outcome.reason


async def once_it_is_back(worker: Worker, zip_id: int) -> Outcome:
    """Have a row worked on as soon as the breakers let it through."""
    async with asyncio.timeout(30):
        while (outcome := await worker.work(zip_id)) is None:
            await asyncio.sleep(0.05)
    return outcome


async def let_it_be_due(console: Console, stage: str) -> None:
    await console.db.execute(f"UPDATE zip_ipfs_info SET {stage}_due = UTC_TIMESTAMP(6)")  # noqa: S608 - constants


async def test_a_node_that_hangs_counts_against_no_archive_and_holds_up_all_that_needs_it(
    console: Console, ipfs: Ipfs, hasty_ipfs: Ipfs, kubo_server: Running[Kubo]
) -> None:
    zip_id, hasty = await console.archive(), pinner(console, hasty_ipfs)
    with kubo_server.suspended():
        outcome = await hasty.pinning.work(zip_id)
    assert is_not_counted(outcome)
    row = await state(console, "pin")
    assert (row["attempts"], row["token"], row["failed_at"]) == (0, None, None)
    assert "before that: no progress for 1 s" in row["reason"]
    assert list(hasty.breakers.states()) == ["ipfs"]
    await prove(console.db)
    with kubo_server.suspended():
        for stage, worker in (("pin", hasty.pinning), ("drop", hasty.dropping), ("restore", hasty.restoring)):
            await let_it_be_due(console, stage)
            assert await worker.work(zip_id) is None
            row = await state(console, stage)
            assert (row["attempts"], row["token"]) == (0, None)
    await let_it_be_due(console, "pin")
    assert await pinner(console, ipfs, lease_seconds=30.0).pinning.work(zip_id) == Done()


async def test_a_node_that_hangs_is_seen_to_be_away_though_nothing_is_due(
    console: Console, hasty_ipfs: Ipfs, kubo_server: Running[Kubo]
) -> None:
    idle = pinner(console, hasty_ipfs)
    before = (await hasty_ipfs.ask("repo/stat"))["NumObjects"]
    note = idle.breakers.sample(console.db, "pinner", 10)
    for _ in range(3):
        await note()
    assert "ipfs" not in idle.breakers.states()
    assert (await hasty_ipfs.ask("repo/stat"))["NumObjects"] == before
    with kubo_server.suspended():
        for _ in range(2):
            await note()
        assert {"ipfs"} == idle.breakers.states().keys() - {"network"}


async def test_a_node_whose_disk_takes_nothing_counts_against_no_archive(console: Console, own_node: OwnNode) -> None:
    zip_id = await console.archive()
    async with Ipfs.open(own_node.server.rpc_url, 30) as ipfs:
        copying = pinner(console, ipfs, ipfs_filestore=False, lease_seconds=30.0)
        with own_node.broken_disk():
            assert is_not_counted(await copying.pinning.work(zip_id))
        assert (await state(console, "pin"))["attempts"] == 0
        await let_it_be_due(console, "pin")
        assert await once_it_is_back(copying.pinning, zip_id) == Done()
        assert copying.breakers.states() == {}


async def test_what_only_one_archive_suffers_from_counts(console: Console, ipfs: Ipfs) -> None:
    zip_id = await console.archive()
    await console.db.execute("UPDATE zip_ipfs_info SET cid = %s, path = NULL", (UNKNOWN,))
    await let_it_be_due(console, "restore")
    outcome = await pinner(console, ipfs).restoring.work(zip_id)
    assert outcome == Retry(Reason("", "no progress for 1 s"))
    assert (await state(console, "restore"))["attempts"] == 1


async def test_a_gateway_is_told_from_what_it_is_asked_for(
    kubo: Kubo, ipfs: Ipfs, own_node: OwnNode, kubo_server: Running[Kubo]
) -> None:
    for only_cached in (False, True):
        async with Reader.open(kubo.gateway_url, 30, only_cached=only_cached, node=ipfs) as reader:
            await reader.check()
    async with Reader.open(kubo.gateway_url, 1) as reader:
        with kubo_server.suspended(), pytest.raises(IpfsAway, match="does not answer"):
            await reader.check()
    async with (
        Ipfs.open(own_node.server.rpc_url, 10) as own,
        Reader.open(own_node.server.gateway_url, 10, node=own) as reader,
    ):
        with own_node.broken_disk(), pytest.raises(IpfsAway, match="can't store a block"):
            await reader.check()
        await reader.check()
        own_node.kill()
        with pytest.raises(IpfsAway, match="does not answer"):
            await reader.check()


async def test_what_a_check_leaves_behind_goes_with_the_next_garbage_collection(own_node: OwnNode) -> None:
    before = own_node.server.rpc("repo/stat")
    async with Ipfs.open(own_node.server.rpc_url, 10) as ipfs:
        await ipfs.check()
        left = own_node.server.rpc("repo/stat")
        await ipfs.collect_garbage()
    after = own_node.server.rpc("repo/stat")
    assert before is not None
    assert left is not None
    assert after is not None
    assert left["NumObjects"] - before["NumObjects"] == 1
    assert left["RepoSize"] - before["RepoSize"] <= 1 << 17
    assert after["NumObjects"] == before["NumObjects"]


async def test_a_long_add_is_no_outage_and_a_check_meanwhile_holds_up_no_other_add(own_node: OwnNode) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(20):  # more than a node gathers before it writes
            yield secrets.token_bytes(1 << 20)
        begun.set()
        await finish.wait()
        yield b"the end"

    async def quickly() -> AsyncIterator[bytes]:
        yield b"another"

    async with Ipfs.open(own_node.server.rpc_url, 30) as ipfs, asyncio.timeout(60), asyncio.TaskGroup() as group:
        slow = group.create_task(ipfs.add(slowly(), None))
        await begun.wait()
        await wait_for_its_lock(own_node)
        await ipfs.check()
        await ipfs.check_pinning()
        await ipfs.add(quickly(), None)
        assert not slow.done()
        finish.set()


async def test_while_garbage_is_collected_what_pins_rests_and_what_reads_goes_on(own_node: OwnNode) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(20):  # more than a node gathers before it writes
            yield secrets.token_bytes(1 << 20)
        begun.set()
        await finish.wait()

    async with (
        Ipfs.open(own_node.server.rpc_url, 1) as hasty,
        Ipfs.open(own_node.server.rpc_url, 30) as ipfs,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(ipfs.add(slowly(), None))
        await begun.wait()
        await wait_for_its_lock(own_node)
        collecting = group.create_task(ipfs.collect_garbage())  # which waits for the add, and everybody for it
        with pytest.raises(IpfsAway, match="collects garbage"):
            while True:
                await hasty.check_pinning()
        await hasty.check()
        assert not collecting.done()
        finish.set()
    async with Ipfs.open(own_node.server.rpc_url, 30) as ipfs:
        await ipfs.check_pinning()


async def wait_for_its_lock(node: OwnNode) -> None:
    """Wait until the node has taken up an add: it writes the first blocks of what it adds at once."""
    async with asyncio.timeout(20):
        while (node.server.rpc("repo/stat") or {"RepoSize": 0})["RepoSize"] < 1 << 20:
            await asyncio.sleep(0.05)


def test_a_garbage_collection_has_its_time_within_the_lease_that_would_cut_it() -> None:
    assert 2 * GC_SECONDS < _DROP_LEASE_SECONDS < DROP.deadline


async def test_a_name_may_be_looked_for_longer_than_a_read_stalls() -> None:
    async def late(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.json_response({"Path": f"/ipfs/{UNKNOWN}"})

    (port,) = pick_free(1)
    app = web.Application()
    app.router.add_post("/api/v0/name/resolve", late)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        async with Ipfs.open(f"http://{HOST}:{port}", 0.2) as node:
            assert await resolve(node, "k51") == UNKNOWN
    finally:
        await runner.cleanup()
