"""Crust is gone: what only its nodes have is fetched back, and kept by a pinning service, as the runbook has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from evidence_rows import evidence
from pydantic import SecretStr
from servers_operator import Console
from servers_orderer import Desk, Shop
from servers_pinning import TOKEN, PinningService
from sites import site
from sweeps import look_once

from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import OthersGateway
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.pinning import PinningMarket
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_crust_orderer.service import Orderer
from roadvault_stack.kubo import Kubo


@dataclass
class Move:
    """An archive that was bought and proven on Crust, and the orderer of before, or of after the switch."""

    console: Console
    network: Kubo

    async def proven(self, orderer: Orderer, zip_id: int) -> None:
        async with Reader.open(self.network.gateway_url, 10, only_cached=True) as reader:
            settings, market = orderer.buying._settings, orderer.buying._market
            way, keys = OthersGateway(reader), self.console.pinner._keys
            prover = Prover(settings, self.console.db, self.console.bus, keys, way, market)
            assert await prover.proving.work(zip_id) == Done()

    async def drop(self, zip_id: int) -> Outcome | None:
        await self.console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")
        return await self.console.pinner.dropping.work(zip_id)

    async def row(self, zip_id: int) -> Row:
        row = await self.console.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
        assert row is not None
        return row


@asynccontextmanager
async def pinning(console: Console, service: PinningService) -> AsyncIterator[Shop]:
    """Open the orderer after the switch, with the settings that the runbook names."""
    async with site(service.routes()) as url, PinningMarket.open(url, SecretStr(TOKEN), [], 5) as market:
        settings = OrdererSettings.model_validate(
            {**console.settings, "market": "pinning", "pinning_url": url, "pinning_token": TOKEN,
             "replica_threshold": 0, "replica_floor": 1}
        )  # fmt: skip
        yield Shop(console.db, Orderer(settings, console.db, console.bus, market, lambda: None))


async def look(shop: Shop) -> None:
    await shop.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
    assert await look_once(shop.orderer.watching) == 1


async def test_what_only_crust_had_moves_to_a_pinning_service(console: Console, desk: Desk, network_kubo: Kubo) -> None:
    move, zip_id = Move(console, network_kubo), await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    cid = (await move.row(zip_id))["cid"]
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        await network.fetch_and_pin(cid, lambda: None)
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": cid, "count": 60})
    desk.devnet.final()
    await desk.attend(zip_id)
    await move.proven(desk.orderer, zip_id)
    assert await move.drop(zip_id) == Done()

    service = PinningService()
    async with pinning(console, service) as shop:
        shop.orderer.buying._needs._missing[zip_id] = 0  # it was missing at an earlier look, a block ago
        outcome = await shop.attend(zip_id)
        assert isinstance(outcome, Wait)
        assert "bought again once the archive is fetched back" in outcome.reason
        assert service.requests == 0
        assert await console.pinner.restoring.work(zip_id) == Done()
        # The account at Crust is not heard for an hour, and this one stands in.
        await console.db.execute("UPDATE zip_ipfs_info SET payer = '' WHERE zip_id = %s", (zip_id,))
        assert isinstance(await shop.attend(zip_id), Wait)
        assert isinstance(await shop.attend(zip_id), Done)
        assert service.requests == 1
        # Queued is no replica; pinned is one, though the service tells no number.
        await look(shop)
        assert (await evidence(console.db, zip_id))[-1]["valid"] is None
        service.set_status("pinned")
        shop.orderer.watching._head = None
        await look(shop)
        assert (await evidence(console.db, zip_id))[-1]["replicas"] == 1
        await move.proven(shop.orderer, zip_id)
        assert await move.drop(zip_id) == Done()
        await look(shop)
        row = await move.row(zip_id)
        assert (row["dropped_at"] is not None, row["restored_at"], row["restore_due"]) == (True, None, None)
        # The pin is gone: it is fetched back, and pinned again.
        service.pins.clear()
        shop.orderer.buying._needs._missing[zip_id] = 0
        await shop.attend(zip_id)
        assert (await move.row(zip_id))["restore_due"] is not None
    before, after = await evidence(console.db, zip_id)
    assert "counted at another market" in before["void_reason"]
    assert after["valid"] is None
