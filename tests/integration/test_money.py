"""What the operator sees of the money: known from the start, true when there is none, and the alerts that go by it."""

import math
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from servers_devnet import FINALITY_LAG
from servers_orderer import CID, Desk, OpenDesk, balance

from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.buying.money import BALANCE, PRICE, RUNWAY, UNKNOWN
from roadvault_crust_orderer.markets.node import ERA_BLOCKS

ROOT = Path(__file__).parents[2]
FIVE_GB = 5_000_000_000


@pytest.fixture(autouse=True)
def _as_after_a_restart() -> None:
    for gauge in (BALANCE, PRICE, RUNWAY):
        gauge.set(UNKNOWN)


def seen(name: str) -> float:
    value = REGISTRY.get_sample_value(name)
    assert value is not None
    return value


def fires(alert: str) -> bool:
    """Tell whether an alert's condition holds for what is seen now; such conditions mean the same in Python."""
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
    condition = next(rule["expr"] for group in groups for rule in group["rules"] if rule["alert"] == alert)
    names = {name: seen(name) for name in re.findall(r"roadvault_\w+", condition)}
    of_one_series = {"min": float, "max": float}
    return bool(eval(condition, of_one_series, names))  # noqa: S307


async def renewal_to_come(desk: Desk) -> None:
    """Let there be an archive that is looked at much later, and renewed in some days."""
    zip_id = await desk.archive(size=FIVE_GB)
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) + INTERVAL 1 DAY, expired_on = 100000, status = 3"
        " WHERE zip_id = %s",
        (zip_id,),
    )
    await desk.db.transact(lambda tx: renewals_store.note(tx, None, 100_000, FIVE_GB))


async def test_what_is_not_known_yet_alarms_nobody(desk: Desk) -> None:
    assert all(math.isnan(seen(f"roadvault_crust_{name}")) for name in ("balance_cru", "price_cru", "runway_days"))
    assert (fires("RunwayLow"), fires("BalanceLow")) == (False, False)
    await desk.orderer.money.sample()  # there is no archive yet that could be ordered
    assert (fires("RunwayLow"), fires("BalanceLow")) == (False, False)


async def test_price_and_runway_are_known_before_anything_is_bought(desk: Desk) -> None:
    await renewal_to_come(desk)
    await desk.orderer.money.sample()
    assert 0 < seen("roadvault_crust_price_cru") < 1
    assert seen("roadvault_crust_balance_cru") == pytest.approx(10**6)
    assert 30 < seen("roadvault_crust_runway_days") < math.inf
    assert (fires("RunwayLow"), fires("BalanceLow")) == (False, False)


async def test_an_empty_account_raises_both_alarms(open_desk: OpenDesk) -> None:
    async with open_desk(seed="//Pauper") as desk:
        await renewal_to_come(desk)
        await desk.orderer.money.sample()
    assert (seen("roadvault_crust_balance_cru"), seen("roadvault_crust_runway_days")) == (0, 0)
    assert (fires("RunwayLow"), fires("BalanceLow")) == (True, True)


async def test_the_price_in_the_readme_is_what_the_devnet_asks(desk: Desk) -> None:
    offer = await desk.chain.offer("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", FIVE_GB)
    readme = (ROOT / "services" / "crust-orderer" / "README.md").read_text()
    assert f"= {offer.price:,} planck".replace(",", " ") in readme
    assert f"{offer.total / 10**12:.4f} CRU" in readme


async def test_what_a_refused_order_costs_is_spent(desk: Desk) -> None:
    zip_id = await desk.archive()
    before = await balance(desk.chain)
    await desk.attend(zip_id)
    desk.devnet.turn(market_enabled=False)  # between quote and block
    desk.devnet.final()
    await desk.attend(zip_id)
    await desk.orderer.money.sample()
    cost = before - await balance(desk.chain)
    assert cost > 0
    assert seen("roadvault_crust_spent_today_cru") * 10**12 == pytest.approx(cost, rel=1e-9)


async def test_what_was_bought_is_spent_and_what_was_never_included_is_not(desk: Desk) -> None:
    zip_id = await desk.archive()
    before = await balance(desk.chain)
    desk.devnet.turn(refuse_submissions={"code": 1010, "text": "Invalid Transaction"})
    await desk.attend(zip_id)
    desk.devnet.blocks(ERA_BLOCKS + FINALITY_LAG + 1)
    desk.devnet.turn(refuse_submissions=None)
    await desk.bought(zip_id)
    await desk.orderer.money.sample()
    assert [purchase["status"] for purchase in await desk.purchases()] == [3, 1]
    cost = before - await balance(desk.chain)
    assert seen("roadvault_crust_spent_today_cru") * 10**12 == pytest.approx(cost, rel=1e-9)


@pytest.mark.parametrize(("size", "renewed"), [(1, FIVE_GB), (FIVE_GB, 1)])
async def test_reserve_and_runway_go_by_the_sizes_of_what_is_to_be_renewed(desk: Desk, size: int, renewed: int) -> None:
    """Whatever archive is at hand, what is kept is what its renewals would be quoted at."""
    day = (await desk.chain.head()).height // renewals_store.BLOCKS_A_DAY + 5
    for _ in range(3):
        ends = day * renewals_store.BLOCKS_A_DAY
        await desk.db.transact(lambda tx: renewals_store.note(tx, None, ends, renewed))  # noqa: B023
    zip_id = await desk.archive(size=size)
    offer = await desk.chain.offer(CID.format(0), size)
    cost = 3 * (await desk.chain.offer(CID.format(0), renewed)).total
    assert (await desk.orderer.money.purse(offer, await desk.chain.head())).reserve == cost
    await desk.db.execute("UPDATE zip_ipfs_info SET order_due = NULL WHERE zip_id = %s", (zip_id,))
    await desk.orderer.money.sample()
    assert seen("roadvault_crust_runway_days") == pytest.approx(offer.balance / (cost / 30))
