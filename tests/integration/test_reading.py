"""Reading from the network: slow takers, lines that pause and break, many readers; two real Kubo nodes."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from free_ports import pick_free
from servers_line import Line, line
from servers_process import Running
from servers_routing import Routed, routing

from roadvault_common.errors import IpfsRotten, IpfsUnavailable
from roadvault_common.ipfs import asking
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.gateway import Gateway, Silent
from roadvault_common.ipfs.path import Path as IpfsPath
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_stack.kubo import Kubo, KuboPorts

CONTENT = os.urandom(40 << 20)
SHORT = CONTENT[: 12 << 20]
UNKNOWN = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
ROOM = 10
KUBO_WAITS_SECONDS = 1
"""The tests' `Gateway.RetrievalTimeout`, which is 30 s by default."""


class HastyKubo(Kubo):
    """A node whose gateway hangs up on whoever reads nothing for a second, and on itself if nothing comes for one."""

    def prepare(self) -> None:
        super().prepare()
        config = self._config()
        config["Gateway"]["RetrievalTimeout"] = f"{KUBO_WAITS_SECONDS}s"
        (self.home / "config").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    directory = tmp_path_factory.mktemp("kubo")
    node = Running[Kubo](HastyKubo("hasty-ipfs", directory / "ipfs", KuboPorts(*pick_free(3)), filestore=True))
    node.start()
    yield node.server
    node.kill()


async def add(node: Kubo, content: bytes, path: Path | None = None) -> str:
    async def stream() -> AsyncIterator[bytes]:
        yield content

    async with Ipfs.open(node.rpc_url, 60) as ipfs:
        return await ipfs.add(stream(), path)


async def whole(reader: Reader, cid: str, content: bytes, offset: int = 0) -> bool:
    """Read a file from `offset` on, and tell whether it is what it should be."""
    pieces = [piece async for piece in reader.read(cid, offset, len(content) - offset)]
    return b"".join(pieces) == content[offset:]


async def test_whoever_takes_slowly_is_not_cut_off_and_what_came_meanwhile_counts_as_progress(hasty: Kubo) -> None:
    cid, progress = await add(hasty, CONTENT), list[int]()
    async with line(hasty.gateway_url) as way, Reader.open(way.url, 20) as reader:
        taken = bytearray()
        async with aclosing(reader.read(cid, 0, len(CONTENT), progress.append)) as pieces:
            async for piece in pieces:
                if not taken:
                    await asyncio.sleep(2 * KUBO_WAITS_SECONDS)  # a taker that is busy for longer than Kubo waits
                    assert sum(progress) >= 8 << 20
                taken += piece
        assert taken == CONTENT
        assert len(way.asked) == 40  # each leaf once, the first with the nodes above it


async def test_a_network_that_is_silent_for_longer_than_kubo_waits_is_waited_for(
    hasty: Kubo, network_kubo: Kubo, network_kubo_server: Running[Kubo]
) -> None:
    cid = await add(network_kubo, CONTENT[1:])
    assert hasty.rpc(f"swarm/connect?arg={network_kubo.swarm_address}/p2p/{network_kubo.peer_id}") is not None
    async with line(hasty.gateway_url) as way, Reader.open(way.url, 20) as reader:
        pieces = reader.read(cid, 0, len(CONTENT) - 1)
        first = await anext(pieces)
        with network_kubo_server.suspended():
            way.cut.clear()
            await asyncio.wait_for(way.cut.wait(), 20)  # Kubo gave up
        assert first + b"".join([piece async for piece in pieces]) == CONTENT[1:]


async def test_what_breaks_off_is_asked_for_again_from_where_it_stopped(network_kubo: Kubo) -> None:
    cid = await add(network_kubo, CONTENT)
    async with line(network_kubo.gateway_url) as way, Reader.open(way.url, 20) as reader:
        way.break_after = (1 << 20) + 2500  # the CAR with the first leaf has 3.7 kB more, other leaves 1.3 kB
        assert await whole(reader, cid, CONTENT, 12_345)
        assert len(way.asked) == 41


async def test_what_breaks_off_again_and_again_is_given_up(network_kubo: Kubo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_PAUSES", (0.01, 0.02, 0.03))
    cid = await add(network_kubo, CONTENT)
    async with line(network_kubo.gateway_url) as way, Reader.open(way.url, 20) as reader:
        way.break_after = 60_000
        with pytest.raises(IpfsUnavailable, match=r"comes from the gateway|broke off"):
            await whole(reader, cid, CONTENT)
        assert len(way.asked) <= 50  # four times each of those that are under way
        assert reader.room == ROOM


async def test_of_those_who_want_what_nobody_gives_one_asks_for_all(hasty: Kubo) -> None:
    async with line(hasty.gateway_url) as way, Reader.open(way.url, 1.5 * KUBO_WAITS_SECONDS) as reader:
        readers = (whole(reader, UNKNOWN, CONTENT, offset) for offset in range(8))
        errors = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(error) for error in errors] == [Silent] * 8
        assert len(way.asked) <= 2


async def test_a_gateway_that_falls_silent_is_given_up_after_its_time(network_kubo: Kubo) -> None:
    cid = await add(network_kubo, CONTENT)
    async with (
        line(network_kubo.gateway_url) as way,
        Reader.open(way.url, 0.5) as reader,
        aclosing(reader.read(cid, 0, len(CONTENT))) as pieces,
    ):
        await anext(pieces)
        way.open.clear()
        with pytest.raises(IpfsUnavailable, match=r"comes from the gateway|broke off"):
            [piece async for piece in pieces]


async def test_readers_of_one_archive_share_what_is_on_its_way(network_kubo: Kubo) -> None:
    cid = await add(network_kubo, SHORT)
    async with line(network_kubo.gateway_url) as way, Reader.open(way.url, 20) as reader:
        assert await asyncio.gather(*(whole(reader, cid, SHORT, offset) for offset in (0, 1, 2))) == [True] * 3
        assert (len(way.asked), reader.room) == (12, ROOM)
        asked, neighbours = len(way.asked), [(len(SHORT) - 10, 5), (len(SHORT) - 5, 5)]
        found = [piece async for piece in reader.read_many(cid, neighbours)]
        assert found == [(0, SHORT[-10:-5]), (1, SHORT[-5:])]
        assert len(way.asked) == asked


async def test_what_a_reader_gives_up_another_asks_for_again(network_kubo: Kubo) -> None:
    cid = await add(network_kubo, SHORT)
    async with line(network_kubo.gateway_url) as way, Reader.open(way.url, 20) as reader:
        first = reader.read(cid, 0, len(SHORT))
        await anext(first)
        way.open.clear()
        second = asyncio.create_task(whole(reader, cid, SHORT))
        await _turns(way)
        await first.aclose()
        way.open.set()
        assert await asyncio.wait_for(second, 20)


async def test_a_read_past_the_end_leaves_nobody_waiting(network_kubo: Kubo) -> None:
    cid, last = await add(network_kubo, SHORT), len(SHORT) - 1
    async with Reader.open(network_kubo.gateway_url, 20) as reader:
        assert await whole(reader, cid, SHORT[:1])  # the node is known from now on, and so is the end at once
        with pytest.raises(IpfsUnavailable, match=f"ends at byte {len(SHORT)}, before"):
            [piece async for piece in reader.read(cid, last, 2)]
        assert await asyncio.wait_for(whole(reader, cid, SHORT, last), 20)


async def _turns(way: Line) -> None:
    """Let everybody come as far as they can get."""
    for _ in range(100):
        await asyncio.sleep(0)
    assert not way.open.is_set()


@pytest.mark.parametrize("only_cached", [False, True])
async def test_ranges_are_read_however_they_lie(network_kubo: Kubo, *, only_cached: bool) -> None:
    cid, small = await add(network_kubo, CONTENT), await add(network_kubo, b"one leaf")
    ranges = [(5, 0), ((1 << 20) - 1, 2), (0, 1), (39 << 20, 1 << 20), (3 << 20, 5_000_000)]
    async with Reader.open(network_kubo.gateway_url, 20, only_cached=only_cached) as reader:
        found = dict.fromkeys(range(len(ranges)), b"")
        async for number, piece in reader.read_many(cid, ranges):
            found[number] += piece
        assert list(found.values()) == [CONTENT[begin : begin + size] for begin, size in ranges]
        assert [piece async for piece in reader.read(small, 4, 4)] == [b"leaf"]
        with pytest.raises(IpfsUnavailable, match="ends at byte 8, before byte 9"):
            [piece async for piece in reader.read(small, 4, 5)]
        with pytest.raises(IpfsUnavailable, match=f"ends at byte {len(CONTENT)}, before"):
            [piece async for piece in reader.read(cid, len(CONTENT) - 1, 2)]


async def test_rot_in_the_nodes_own_file_is_told_from_a_network_that_is_silent(hasty: Kubo) -> None:
    path = hasty.home.parent / "archive"
    content = os.urandom(12 << 20)
    path.write_bytes(content)
    cid = await add(hasty, content, path)
    path.write_bytes(content[: 5 << 20] + b"rot" + content[(5 << 20) + 3 :])
    async with Reader.open(hasty.gateway_url, 20) as reader:
        with pytest.raises(IpfsRotten, match="data in file did not match"):
            await whole(reader, cid, content)


async def test_a_leaf_is_found_where_the_root_is_announced_after_the_connection_has_gone(
    network_kubo: Kubo, tmp_path: Path
) -> None:
    cid, (rpc, gateway, swarm) = await add(network_kubo, SHORT), pick_free(3)
    node = Routed("routed-ipfs", tmp_path / "ipfs", KuboPorts(rpc, gateway, swarm))
    async with routing() as router:
        node.router, router.roots[cid] = router.url, network_kubo
        running = Running[Kubo](node)
        await asyncio.to_thread(running.start)
        async with Ipfs.open(node.rpc_url, 20) as ipfs, Reader.open(node.gateway_url, 20, node=ipfs) as reader:
            assert await whole(reader, cid, SHORT[: 1 << 20])
            peer = f"{network_kubo.swarm_address}/p2p/{network_kubo.peer_id}"
            assert await asyncio.to_thread(node.rpc, f"swarm/disconnect?arg={peer}") is not None
            assert await whole(reader, cid, SHORT, 5 << 20)
        running.kill()


async def test_a_connection_that_waits_longer_than_a_stall_fails_nobody_after_it(kubo: Kubo) -> None:
    content, stall = CONTENT[: 600 << 10], 0.6
    cid = await add(kubo, content)
    async with Gateway.open(kubo.gateway_url, stall) as gateway:
        async with gateway.car(IpfsPath.parse(cid), 0, len(content)) as car:
            await asyncio.sleep(stall / 2)  # all of it is there before any of it is taken
            assert await car.block(Cid.parse(cid), len(content)) == content
        await asyncio.sleep(2 * stall)
        await gateway.check()
