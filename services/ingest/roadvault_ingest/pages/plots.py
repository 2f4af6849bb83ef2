"""Days for plots: one for each, known or not, so that a plot is as wide when there is little to show."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from roadvault_common.history.days import Day

_LEAST = 14


def filled(known: Sequence[Day], count: int, today: date | None = None) -> list[Day]:
    """Return the last days, the oldest first; those of which nothing is known have nothing in them.

    They begin soon before the first that is known.
    """
    last = today or datetime.now(UTC).date()
    by_day = {day.day: day for day in known}
    count = min(count, max(_LEAST, (last - min(by_day, default=last)).days + 1))
    wanted = [last - timedelta(days=back) for back in reversed(range(count))]
    return [by_day.get(day) or Day(day, 0, 0, 0, 0, 0, 0, 0, None, None) for day in wanted]


def days_of(days: Sequence[Day], *names: str) -> list[tuple[object, ...]]:
    """Return some of what each day has, behind the day."""
    return [(day.day, *(getattr(day, name) for name in names)) for day in days]
