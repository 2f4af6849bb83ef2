"""When to renew, and whether to buy: decisions as tables."""

import pytest
from bench import renewal
from bench.renewal import simulate

from roadvault_common.work.reasons import Reason
from roadvault_crust_orderer.buying.planner import (
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
from roadvault_crust_orderer.config import OrdererSettings

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


def test_what_is_set_by_default_is_the_planners_default() -> None:
    given = {"database_url": "mysql://h/db", "redis_url": "redis://h", "master_keys": "k", "crust_seed": "//Alice"}
    assert OrdererSettings.model_validate(given).policy() == POLICY
    assert (POLICY.early_days, POLICY.floor_days > 4) == (7, True)  # an outage of 4 days may begin at the floor


def test_a_thousand_archives_of_one_minute_do_not_renew_in_one_hour_and_stay_spread() -> None:
    expiries = dict.fromkeys(range(1000), TERM)
    for _ in range(5):  # terms, each of which begins with its renewal
        blocks = {zip_id: renewal_block(zip_id, expires, 0, POLICY) for zip_id, expires in expiries.items()}
        hours = [block // 600 for block in blocks.values()]
        assert max(hours.count(hour) for hour in set(hours)) < 45
        expiries = {zip_id: block + TERM for zip_id, block in blocks.items()}


def test_an_outage_of_four_days_loses_nothing_whenever_it_begins() -> None:
    purse = Purse(100, 95, daily_limit=100, most_per_gib=9)  # over both limits: the price is waited on for a while
    for zip_id in range(100):
        due = renewal_block(zip_id, TERM, 0, POLICY)
        bought = next(
            height
            for height in range(due, TERM, 600)
            if isinstance(decide(Need(GIB, TERM - height), 10, purse, POLICY), Buy)
        )
        assert bought + 4 * DAY < TERM  # away from the moment on at which it would have bought
        assert isinstance(decide(Need(GIB, TERM - bought - 4 * DAY), 10, purse, POLICY), Buy)


def test_renewals_get_the_money_when_it_is_short() -> None:
    balance = 35
    bought: list[Need] = []
    for need in (NEW, NEW, SOON, NEW, SOON, NEW, URGENT, NEW):
        renewals_to_come = 3 - sum(each.renewal for each in bought)
        if isinstance(decide(need, 10, Purse(balance, reserve=10 * renewals_to_come), POLICY), Buy):
            balance, bought = balance - 10, [*bought, need]
    assert bought == [SOON, SOON, URGENT]


def test_renewals_pass_the_daily_limit_and_new_orders_wait() -> None:
    spent = 0
    bought: list[Need] = []
    for need in (NEW, SOON, NEW, NEW, SOON, URGENT, NEW):
        if isinstance(decide(need, 10, Purse(1000, spent, daily_limit=30), POLICY), Buy):
            spent, bought = spent + 10, [*bought, need]
    assert bought == [NEW, SOON, NEW, SOON, URGENT]


def test_never_under_the_floor() -> None:
    late = RenewalPolicy(early_days=1, spread_days=5, floor_days=2)
    assert min(lead(zip_id, policy=late) for zip_id in range(500)) >= 2


def test_short_terms_renew_in_their_last_quarter() -> None:
    assert renewal_block(1, 500, 100, POLICY) == 400
    assert renewal_block(1, 100, 100, POLICY) == 100


NEW, SOON, URGENT, EXTRA = Need(GIB), Need(GIB, 7 * DAY), Need(GIB, 2 * DAY), Need(GIB, extra=True)


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
        (EXTRA, Purse(9), Wait),
        (EXTRA, Purse(100, 95, daily_limit=100), Wait),
        (EXTRA, Purse(100, most_per_gib=9), Wait),
        (EXTRA, Purse(100, reserve=95), Wait),
        (EXTRA, Purse(100), Buy),
    ],
)
def test_decisions(need: Need, purse: Purse, decision: type[Decision]) -> None:
    assert isinstance(decide(need, 10, purse, POLICY), decision)


@pytest.mark.parametrize("size", [1, 2 << 20, GIB - 1, GIB])
def test_a_small_archive_may_cost_as_much_as_a_gib(size: int) -> None:
    """A part of the price is the same for any size: for each byte it is dear, and yet it is little."""
    purse = Purse(1000, most_per_gib=10)
    assert isinstance(decide(Need(size), 10, purse, POLICY), Buy)
    assert decide(Need(size, 7 * DAY), 10, purse, POLICY) == Buy()  # a renewal is over no limit
    assert isinstance(decide(Need(size), 11, purse, POLICY), Wait)


def test_a_large_archive_is_limited_by_its_size() -> None:
    assert isinstance(decide(Need(5 * GIB), 50, Purse(1000, most_per_gib=10), POLICY), Buy)
    assert isinstance(decide(Need(5 * GIB), 55, Purse(1000, most_per_gib=10), POLICY), Wait)


@pytest.mark.parametrize(
    ("need", "purse"),
    [(SOON, Purse(100, 95, daily_limit=100)), (URGENT, Purse(100, most_per_gib=9))],
)
def test_a_renewal_passes_a_limit_loudly(need: Need, purse: Purse) -> None:
    decision = decide(need, 10, purse, POLICY)
    assert isinstance(decision, Buy)
    assert decision.warning is not None


def test_runway() -> None:
    assert runway_days(100, 0, 0) is None
    assert runway_days(100, 70, 0) == 10
    assert runway_days(100, 7, 300) == 10


@pytest.mark.parametrize("seed", [1, 2])
def test_a_simulated_year_without_a_lapse(seed: int) -> None:
    result = simulate(archives=300, years=1.5, seed=seed)
    assert result.lapses == 0
    assert result.wasted < 0.05
    assert result.purchases > 300
    assert result.unbought == 0
    assert min(result.never_included, result.refused, result.asked) > 0


@pytest.mark.parametrize(("by_age", "lapses"), [(False, 0), (True, 1)])
def test_twenty_thousand_new_orders_at_once_starve_no_renewal(*, by_age: bool, lapses: int) -> None:
    """In one queue with them a renewal would wait for days, and an outage comes upon that."""
    result = simulate(archives=300, years=0.96, seed=1, burst=20_000, by_age=by_age)
    assert (result.lapses, result.unbought) == (lapses, 0)
    assert (result.least_left > 3) == (not by_age)


def test_the_simulation_counts_what_nobody_came_to_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "decide", lambda need, *_: Wait(Reason("", "never")) if need.renewal else Buy())
    assert simulate(archives=30, years=1, seed=1).lapses > 0
    monkeypatch.setattr(renewal, "decide", lambda *_: Stop(Reason("", "never")))
    assert simulate(archives=30, years=1, seed=1).unbought > 0
