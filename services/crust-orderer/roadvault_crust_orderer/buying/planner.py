"""When to renew, and whether to buy now: pure decisions, without a clock, a chain or a database.

A re-order sets the term to now plus 180 days: each day too early is paid twice, a day too late loses the file. Heights
are blocks, amounts planck, sizes bytes.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum

from roadvault_common.work.reasons import Reason

DAY_SECONDS = 86_400
_GIB = 1 << 30
_SHORT_TERM_PART = 4
"""On a chain with short terms a renewal comes in the last quarter, so that one does not follow another."""


@dataclass(frozen=True)
class RenewalPolicy:
    """How long before its end an order is renewed: `early_days` give or take `spread_days`, at least `floor_days`."""

    early_days: float = 7
    spread_days: float = 1
    floor_days: float = 5
    block_seconds: float = 6

    def blocks(self, days: float) -> int:
        """Return days as a number of blocks."""
        return int(days * DAY_SECONDS / self.block_seconds)


class Kind(Enum):
    """Why something is bought."""

    NEW = "new"
    RENEWAL = "renewal"
    """Something is lost if this is not bought in time."""
    EXTRA = "extra"
    """Wanted, for more replicas; nothing is lost without it."""


@dataclass(frozen=True)
class Need:
    """What is to be bought: a size, and for a renewal the blocks that are left of the running term."""

    size: int
    blocks_left: int | None = None
    extra: bool = False

    @property
    def kind(self) -> Kind:
        """Why it is bought."""
        if self.extra:
            return Kind.EXTRA
        return Kind.NEW if self.blocks_left is None else Kind.RENEWAL

    @property
    def renewal(self) -> bool:
        """Whether something is lost if this is not bought in time."""
        return self.kind is Kind.RENEWAL


@dataclass(frozen=True)
class Purse:
    """What can be spent: the balance, what was spent since midnight UTC, and the operator's limits (None: no limit)."""

    balance: int
    spent_today: int = 0
    daily_limit: int | None = None
    most_per_gib: int | None = None
    """Of an order of less than 1 GiB, for the whole of it."""
    reserve: int = 0
    """What the renewals of the coming days will cost; new orders leave it alone."""


@dataclass(frozen=True)
class Buy:
    """Buy now; `warning` says which limit is passed, and why."""

    warning: str | None = None


@dataclass(frozen=True)
class Wait:
    """Don't buy now; look again after `seconds`."""

    reason: Reason
    seconds: float = 3600


@dataclass(frozen=True)
class Stop:
    """A person has to act first; trying again changes nothing."""

    reason: Reason


Decision = Buy | Wait | Stop


def renewal_block(zip_id: int, expires: int, began: int | None, policy: RenewalPolicy) -> int:
    """Return the height at which an order should be renewed whose term began at `began` and ends at `expires`.

    Archives ordered together are spread over twice `spread_days`, each always at the same place of it.
    """
    digest = hashlib.sha256(f"{zip_id}:{expires}".encode()).digest()
    place = int.from_bytes(digest[:8]) / (1 << 64) * 2 - 1
    days = max(policy.early_days + place * policy.spread_days, policy.floor_days)
    lead = policy.blocks(days)
    if began is not None:
        lead = min(lead, max(expires - began, 0) // _SHORT_TERM_PART)
    return expires - lead


def decide(need: Need, total: int, purse: Purse, policy: RenewalPolicy) -> Decision:
    """Return whether to buy at `total` (price and fee). Renewals go before other orders, and beat the daily limit."""
    urgent = need.renewal and (need.blocks_left or 0) <= policy.blocks(policy.floor_days)
    if purse.balance < total:
        words = f"the order costs {_cru(total)}, the account has {_cru(purse.balance)}; send CRU to it"
        reason = Reason("no_money", words, cost_planck=total, have_planck=purse.balance)
        # Looking again costs nothing, and a renewal must go out as soon as there is money, with or without a person.
        if need.kind is Kind.NEW:
            return Stop(reason.again(f"{words}, then retry"))
        return Wait(reason.again(f"{words}: the archive's term is running out") if need.renewal else reason)
    # Most of a small order's price is the same for any size: it would be over every limit, and never bought.
    per_gib = total * _GIB // max(need.size, _GIB)
    if (most := purse.most_per_gib) is not None and per_gib > most:
        words = f"{_cru(per_gib)} for each GiB is over the limit of {_cru(most)}"
        reason = Reason("price_over_limit", words, cost_planck=per_gib, limit_planck=most)
        return Buy(f"{words}, but the term is running out") if urgent else Wait(reason)
    if (limit := purse.daily_limit) is not None and purse.spent_today + total > limit:
        words = f"{_cru(purse.spent_today)} were spent today, the limit is {_cru(limit)}"
        reason = Reason("day_over_limit", words, spent_planck=purse.spent_today, limit_planck=limit)
        return Buy(f"{words}, but a renewal does not wait") if need.renewal else Wait(reason)
    if not need.renewal and purse.balance - total < purse.reserve:
        words = f"{_cru(purse.reserve)} are kept for the renewals of the coming days; send CRU to the account"
        return Wait(Reason("kept_for_renewals", words, keep_planck=purse.reserve))
    return Buy()


def runway_days(balance: int, spent_in_7_days: int, renewals_in_30_days: int) -> float | None:
    """Return for how many days the balance lasts, at the greater of the last week's and the next month's spending.

    All in planck. None when there is no spending to go by.
    """
    daily = max(spent_in_7_days / 7, renewals_in_30_days / 30)
    return None if daily == 0 else balance / daily


def _cru(planck: int) -> str:
    return f"{planck / 10**12:.6f} CRU"
