"""When to renew, and whether to buy: decisions as tables."""

import pytest
from bench.renewal import simulate

from roadvault_crust_orderer.planner import (
    Buy,
    Decision,
    Need,
    Purse,
    RenewalPolicy,
    Stop,
    Wait,
    decide,
    renewal_block,
    runway_days,
)

POLICY = RenewalPolicy()
TERM = 2_592_000
DAY = 14_400
GIB = 1 << 30


def lead(zip_id: int, expires: int = TERM, bought_at: int | None = 0, policy: RenewalPolicy = POLICY) -> float:
    return (expires - renewal_block(zip_id, expires, bought_at, policy)) / DAY


def test_renewals_come_about_a_week_before_the_end() -> None:
    leads = [lead(zip_id) for zip_id in range(5000)]
    assert min(leads) >= 6
    assert max(leads) <= 8
    assert sum(leads) / len(leads) == pytest.approx(7, abs=0.05)
    assert lead(17) == lead(17)


def test_a_thousand_archives_of_one_week_do_not_renew_in_one_hour() -> None:
    blocks = [renewal_block(zip_id, TERM + zip_id % 7 * DAY, 0, POLICY) for zip_id in range(1000)]
    hours = [block // 600 for block in blocks]
    assert max(hours.count(hour) for hour in set(hours)) < 25


def test_never_under_the_floor() -> None:
    late = RenewalPolicy(early_days=1, spread_days=5, floor_days=2)
    assert min(lead(zip_id, policy=late) for zip_id in range(500)) >= 2


def test_short_terms_renew_in_their_last_quarter() -> None:
    assert renewal_block(1, 500, 100, POLICY) == 400
    assert renewal_block(1, 100, 100, POLICY) == 100


NEW, SOON, URGENT = Need(GIB), Need(GIB, 7 * DAY), Need(GIB, 2 * DAY)


@pytest.mark.parametrize(
    ("need", "purse", "decision"),
    [
        (NEW, Purse(100), Buy),
        (NEW, Purse(9), Stop),
        (SOON, Purse(9), Wait),
        (URGENT, Purse(9), Wait),
        (NEW, Purse(100, 95, daily_limit=100), Wait),
        (SOON, Purse(100, 95, daily_limit=100), Buy),
        (NEW, Purse(100, most_per_gib=9), Wait),
        (SOON, Purse(100, most_per_gib=9), Wait),
        (URGENT, Purse(100, most_per_gib=9), Buy),
        (NEW, Purse(100, most_per_gib=10), Buy),
        (NEW, Purse(100, reserve=95), Wait),
        (SOON, Purse(100, reserve=95), Buy),
    ],
)
def test_decisions(need: Need, purse: Purse, decision: type[Decision]) -> None:
    assert isinstance(decide(need, 10, purse, POLICY), decision)


@pytest.mark.parametrize(
    ("need", "purse"),
    [(SOON, Purse(100, 95, daily_limit=100)), (URGENT, Purse(100, most_per_gib=9))],
)
def test_a_renewal_passes_a_limit_loudly(need: Need, purse: Purse) -> None:
    decision = decide(need, 10, purse, POLICY)
    assert isinstance(decision, Buy)
    assert decision.warning is not None


def test_runway() -> None:
    assert runway_days(100, 0, 0, 5) is None
    assert runway_days(100, 70, 0, 5) == 10
    assert runway_days(100, 7, 60, 5) == 10


@pytest.mark.parametrize("seed", [1, 2])
def test_a_simulated_year_without_a_lapse(seed: int) -> None:
    result = simulate(archives=300, years=1.5, seed=seed)
    assert result.lapses == 0
    assert result.wasted < 0.05
    assert result.purchases > 300
