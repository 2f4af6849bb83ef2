"""Nodes that can't be believed: behind, stuck, silent, without what they are asked for; nothing is paid twice."""

import socket
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr
from servers_devnet import Devnet, left_behind
from servers_orderer import CID, SIZE, Desk, OpenDesk
from servers_process import Running
from sites import site

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work.outcome import Done, Failed, Wait
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.endpoints import STUCK_SECONDS
from roadvault_crust_orderer.markets.market import Included
from roadvault_crust_orderer.markets.node import ERA_BLOCKS


async def test_a_node_that_is_behind_proves_nothing(
    open_desk: OpenDesk, devnet_server: Running[Devnet], tmp_path: Path
) -> None:
    ahead = devnet_server.server
    with left_behind(ahead, tmp_path / "behind") as behind:
        async with open_desk(crust_url=f"{ahead.url},{behind.url}") as desk:
            zip_id = await desk.archive()
            await desk.attend(zip_id)
            ahead.blocks(ERA_BLOCKS + 5)
            look = desk.chain.find

            async def find(extrinsic_hash: str, first: int, last: int) -> Included | None:
                devnet_server.kill()  # right after it told its head
                return await look(extrinsic_hash, first, last)

            desk.chain.find = find  # type: ignore[method-assign]
            outcome = await desk.attend(zip_id)
            assert isinstance(outcome, Wait)
            assert "is at the finalized block 0" in outcome.reason
            assert [row["status"] for row in await desk.purchases()] == [0]
            devnet_server.start()
            desk.chain.find = look  # type: ignore[method-assign]
            await desk.attend(zip_id)
            assert isinstance(await desk.attend(zip_id), Done)
            assert (ahead.orders(), len(await desk.purchases())) == (1, 1)


async def test_a_node_that_has_lost_touch_is_passed_over(open_desk: OpenDesk, devnet: Devnet, tmp_path: Path) -> None:
    with left_behind(devnet, tmp_path / "stuck") as stuck:
        async with open_desk(crust_url=f"{stuck.url},{devnet.url}") as desk:
            zip_id = await desk.archive()
            await desk.attend(zip_id)
            assert (len(stuck.state()["pool"]), devnet.state()["pool"]) == (1, [])
            heads = desk.chain._account.node.endpoints.heads
            heads[stuck.url] = (0, heads[stuck.url][1] - STUCK_SECONDS)
            await desk.bought(zip_id)
        stuck.turn(peerless=True)
        async with open_desk(crust_url=stuck.url) as desk:
            outcome = await desk.attend(zip_id)
            assert isinstance(outcome, Wait)
            assert "no peers" in outcome.reason
        async with open_desk(crust_url=f"{stuck.url},{devnet.url}") as desk:
            await desk.bought(await desk.archive(1))
        assert (devnet.orders(), stuck.orders()) == (2, 0)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"bodies": 0}, "BodyDiscarded"),
        ({"spoil_events": "unknown"}, "EventsUnreadable"),
        ({"spoil_events": "none"}, "NoResultEvent"),
    ],
)
async def test_where_no_node_can_tell_the_markets_files_do(desk: Desk, fault: dict[str, object], name: str) -> None:
    good, bad = await desk.archive(0), await desk.archive(1)
    await desk.attend(good)
    desk.devnet.turn(**fault, make_blocks=ERA_BLOCKS + 5)
    assert isinstance(await desk.attend(good), Done)
    await desk.attend(bad)
    desk.devnet.turn(market_enabled=False)
    desk.devnet.final()
    assert isinstance(await desk.attend(bad), Wait)  # before its era is over nothing is void
    desk.devnet.turn(market_enabled=True, make_blocks=ERA_BLOCKS)
    outcome = await desk.attend(bad)
    assert isinstance(outcome, Failed)
    assert name in outcome.reason
    assert [(row["status"], row["term"]) for row in await desk.purchases()] == [(1, 1), (2, None)]
    await desk.attend(bad)  # a person has looked, and retries
    desk.devnet.turn(make_blocks=ERA_BLOCKS + 5)
    assert isinstance(await desk.attend(bad), Done)
    assert desk.devnet.orders() == 2


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": 400}], indirect=True)
async def test_a_renewal_that_failed_is_not_taken_for_bought_because_the_old_term_runs(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.blocks(320)
    await desk.attend(zip_id)  # the renewal is sent
    desk.devnet.turn(market_enabled=False, spoil_events="none", make_blocks=3)
    desk.devnet.turn(market_enabled=True, spoil_events="", make_blocks=ERA_BLOCKS)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Failed)
    assert [row["status"] for row in await desk.purchases()] == [1, 2]
    await desk.bought(zip_id)
    assert desk.devnet.orders() == 2


async def test_the_price_is_known_or_nothing_is_bought(open_desk: OpenDesk, devnet_server: Running[Devnet]) -> None:
    devnet_server.server._settings["lacks"] = "FileByteFee"
    devnet_server.restart()
    async with open_desk(crust_most_per_gib_cru=0.000001) as desk:
        outcome = await desk.attend(await desk.archive())
        assert isinstance(outcome, Wait)
        assert "Market.FileByteFee" in outcome.reason
        assert await desk.purchases() == []
    devnet_server.server._settings["lacks"] = "FileKeysCountFee"  # older runtimes have none
    devnet_server.restart()
    async with open_desk() as desk:
        assert (await desk.chain.offer(CID.format(0), SIZE)).price > 0


async def test_a_node_by_http_that_hangs_or_talks_nonsense(open_desk: OpenDesk, devnet: Devnet) -> None:
    async with open_desk(crust_url=devnet.url.replace("ws://", "http://")) as desk:
        await desk.bought(await desk.archive())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Chain.open(url, SecretStr("//Alice"), 0.3) as chain:
            with pytest.raises(ChainUnavailable, match="Timeout"):
                await chain.ping()

    async def nonsense(request: web.Request) -> web.Response:
        asked = await request.json()
        result = "0x00" if asked["method"] == "chain_getBlockHash" else None
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async with (
        site([web.post("/", nonsense)]) as url,
        Chain.open(url, SecretStr("//Alice"), 5) as chain,
    ):
        with pytest.raises(ChainUnavailable, match="TypeError"):
            await chain.head()
