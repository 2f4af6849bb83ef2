"""A Kubo whose disk is full: what stores rests and counts nothing, all see why, and what makes room goes on."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from chaos.mounts import NoMounts, with_own_mounts
from evidence_rows import prove
from free_ports import pick_free
from prometheus_client import REGISTRY
from servers_operator import Console
from servers_process import Running

from roadvault_common.errors import Domain, IpfsAway, IpfsDiskFull
from roadvault_common.ipfs import publishing
from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_common.ipfs.rpc import Disk, Ipfs
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.worker import Worker
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo, KuboPorts

DISK_BYTES = 32_000_000


class SmallKubo(Kubo):
    """A node whose blocks are on a small disk of their own, which the node alone sees."""

    def command(self) -> list[str]:
        mount = (
            f'mkdir -p "$0/small" && mount -t tmpfs -o size={DISK_BYTES} roadvault-chaos "$0/small" &&'
            ' cp -a "$0/blocks/." "$0/small" && mount --bind "$0/small" "$0/blocks" && exec "$@"'
        )
        return [*with_own_mounts(), "sh", "-c", mount, str(self.home), *super().command()]


class Small(Running[Kubo]):
    """The node, and what else is on its disk."""

    @contextmanager
    def full(self) -> Iterator[None]:
        assert self._process is not None
        others = Path(f"/proc/{self._process.pid}/root/{self.server.home}/blocks/others")
        with others.open("wb", buffering=0) as file:
            while (disk := os.fstatvfs(file.fileno())).f_bfree:
                file.write(bytes(disk.f_bfree * disk.f_frsize))
        try:
            yield
        finally:
            others.unlink()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    node = Small(SmallKubo("small-ipfs", tmp_path / "ipfs", KuboPorts(*pick_free(3))))
    try:
        node.start()
    except NoMounts as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    yield node
    node.kill()


@pytest.fixture
async def ipfs(small: Small) -> AsyncIterator[Ipfs]:
    async with Ipfs.open(small.server.rpc_url, 30) as opened:
        yield opened


def pinner(console: Console, ipfs: Ipfs) -> Pinner:
    own = console.pinner
    settings = own._settings.model_copy(update={"ipfs_filestore": False})
    return Pinner(settings, console.db, console.bus, console.vault, own._keys, ipfs)


async def once_it_is_back(worker: Worker, zip_id: int) -> Outcome:
    """Have a row worked on as soon as the breakers let it through."""
    async with asyncio.timeout(30):
        while (outcome := await worker.work(zip_id)) is None:
            await asyncio.sleep(0.05)
    return outcome


async def test_what_stores_says_that_the_disk_is_full(small: Small, ipfs: Ipfs) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield os.urandom(1 << 20)

    block = os.urandom(70_000)
    kept = await ipfs.add(content(), None)
    with small.full():
        for storing in (
            ipfs.add(content(), None),
            publishing.import_blocks(ipfs, [(Cid.of(RAW, block), block)], pin=True),
            ipfs.check(),
            ipfs.check_pinning(),
        ):
            with pytest.raises(IpfsDiskFull, match="no space left on device"):
                await storing
        breaker = Breaker(Domain.IPFS, ipfs.check_pinning)
        breaker.open(IpfsAway("it was away before its disk was full"))
        breaker.look_at = 0
        assert await breaker.admits()
        await ipfs.unpin(kept)
        await ipfs.collect_garbage()
        await ipfs.check_pinning()


async def test_a_check_that_stores_nothing_goes_by_what_the_node_tells_of_its_disk(
    ipfs: Ipfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ipfs.check(stores=False)
    monkeypatch.setattr(ipfs, "disk", AsyncMock(return_value=Disk(free=1 << 20, available=1 << 10)))
    with pytest.raises(IpfsDiskFull, match="1024 bytes are free on Kubo's disk"):
        await ipfs.check(stores=False)


async def test_on_a_full_disk_what_stores_rests_uncounted_and_drops_go_on(
    console: Console, small: Small, ipfs: Ipfs
) -> None:
    own = pinner(console, ipfs)
    kept, waits, untouched = await console.archive(), await console.archive(), await console.archive()
    assert await own.pinning.work(kept) == Done()
    with small.full():
        outcome = await own.pinning.work(waits)
        assert isinstance(outcome, Wait)
        assert "no space left on device" in outcome.reason
        assert await own.pinning.work(untouched) is None
        await console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (kept,))
        assert await own.restoring.work(kept) is None
        states = own.breakers.states()
        assert list(states) == ["ipfs disk"]
        assert "no space left on device" in str(states["ipfs disk"]["reason"])
        assert REGISTRY.get_sample_value("roadvault_breaker_open", {"domain": "ipfs disk"}) == 1
        assert REGISTRY.get_sample_value("roadvault_breaker_open", {"domain": "ipfs"}) == 0
        await console.db.execute("UPDATE zip_ipfs_info SET restore_due = NULL")
        await prove(console.db, kept)
        assert await own.dropping.work(kept) == Done()
    for row in await console.db.fetch_all("SELECT pin_attempts, pin_token, pin_failed_at FROM zip_ipfs_info"):
        assert set(row.values()) <= {0, None}
    assert await once_it_is_back(own.pinning, untouched) == Done()
    assert own.breakers.states() == {}


async def test_what_reads_and_cut_adds_left_on_a_full_disk_is_thrown_away(
    console: Console, small: Small, ipfs: Ipfs
) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield os.urandom(1 << 20)

    own, zip_id = pinner(console, ipfs), await console.archive()
    await ipfs.unpin(await ipfs.add(content(), None))
    with small.full():
        assert isinstance(await own.pinning.work(zip_id), Wait)
        await console.db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6)")
        assert await once_it_is_back(own.pinning, zip_id) == Done()
