"""A Kubo that hangs, or whose disk takes nothing: no archive and no request is blamed for it. Real nodes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from evidence_rows import prove
from servers_operator import Console
from servers_process import Running

from roadvault_common.errors import IpfsAway
from roadvault_common.ipfs.gateway import Gateway
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Done, Outcome, Retry, Wait
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo, KuboPorts
from roadvault_stack.ports import pick_free

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


async def let_it_be_due(console: Console, stage: str) -> None:
    await console.db.execute(f"UPDATE zip_ipfs_info SET {stage}_due = UTC_TIMESTAMP(6)")  # noqa: S608 - constants


async def test_a_node_that_hangs_counts_against_no_archive(
    console: Console, ipfs: Ipfs, hasty_ipfs: Ipfs, kubo_server: Running[Kubo]
) -> None:
    zip_id, hasty = await console.archive(), pinner(console, hasty_ipfs)
    with kubo_server.suspended():
        outcome = await hasty.pinning.work(zip_id)
    assert is_not_counted(outcome)
    row = await state(console, "pin")
    assert (row["attempts"], row["token"], row["failed_at"]) == (0, None, None)
    assert "before that: no progress for 1 s" in row["reason"]
    await let_it_be_due(console, "pin")
    assert await pinner(console, ipfs, lease_seconds=30.0).pinning.work(zip_id) == Done()

    for stage, worker in (("drop", hasty.dropping), ("restore", hasty.restoring)):
        await prove(console.db)
        await let_it_be_due(console, stage)
        with kubo_server.suspended():
            assert is_not_counted(await worker.work(zip_id))
        assert (await state(console, stage))["attempts"] == 0


async def test_a_node_whose_disk_takes_nothing_counts_against_no_archive(console: Console, own_node: OwnNode) -> None:
    zip_id = await console.archive()
    async with Ipfs.open(own_node.server.rpc_url, 30) as ipfs:
        copying = pinner(console, ipfs, ipfs_filestore=False, lease_seconds=30.0)
        with own_node.broken_disk():
            assert is_not_counted(await copying.pinning.work(zip_id))
        assert (await state(console, "pin"))["attempts"] == 0
        await let_it_be_due(console, "pin")
        assert await copying.pinning.work(zip_id) == Done()


async def test_what_only_one_archive_suffers_from_counts(console: Console, ipfs: Ipfs) -> None:
    zip_id = await console.archive()
    await console.db.execute("UPDATE zip_ipfs_info SET cid = %s", (UNKNOWN,))
    await let_it_be_due(console, "restore")
    outcome = await pinner(console, ipfs).restoring.work(zip_id)
    assert outcome == Retry("no progress for 1 s")
    assert (await state(console, "restore"))["attempts"] == 1


async def test_a_gateway_is_told_from_what_it_is_asked_for(
    kubo: Kubo, ipfs: Ipfs, own_node: OwnNode, kubo_server: Running[Kubo]
) -> None:
    for only_cached in (False, True):
        async with Gateway.open(kubo.gateway_url, 30, only_cached=only_cached, node=ipfs) as gateway:
            await gateway.check()
    async with Gateway.open(kubo.gateway_url, 1) as gateway:
        with kubo_server.suspended(), pytest.raises(IpfsAway, match="does not answer"):
            await gateway.check()
    async with (
        Ipfs.open(own_node.server.rpc_url, 10) as own,
        Gateway.open(own_node.server.gateway_url, 10, node=own) as gateway,
    ):
        with own_node.broken_disk(), pytest.raises(IpfsAway, match="can't store a block"):
            await gateway.check()
        await gateway.check()
        own_node.kill()
        with pytest.raises(IpfsAway, match="does not answer"):
            await gateway.check()


async def test_a_check_leaves_nothing_behind(own_node: OwnNode) -> None:
    before = own_node.server.rpc("repo/stat")
    async with Ipfs.open(own_node.server.rpc_url, 10) as ipfs:
        await ipfs.check()
    after = own_node.server.rpc("repo/stat")
    assert before is not None
    assert after is not None
    assert before["NumObjects"] == after["NumObjects"]
