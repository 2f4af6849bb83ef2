"""How values stand on pages: sizes, counts, times, spans and money, each with its unit, in the reader's language."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from roadvault_common.plain import plain

NOTHING = "\N{EN DASH}"
MOST = 10_000
"""Counts go no further: what is as many may be more."""
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")
_THOUSAND, _HUNDRED, _TEN = 1000, 100, 10
_SPANS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_PLANCK = 10**12
"""Of one CRU."""


def plainly(value: object) -> object:
    """Make what a template shows plain: characters that turn the direction of text make an .exe look like a .jpg."""
    return plain(value) if type(value) is str else value


def size(count: float | None) -> str:
    """Return a byte count with a decimal unit: 1500000 is 1.5 MB."""
    if count is None:
        return NOTHING
    amount, unit = float(count), 0
    while amount >= _THOUSAND and unit < len(_UNITS) - 1:
        amount, unit = amount / _THOUSAND, unit + 1
    return f"{count:.0f} {_UNITS[0]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def number(value: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return NOTHING if value is None else f"{value:,.0f}"


def counted(value: int) -> str:
    """Return a count that goes no further than MOST."""
    return f"{MOST:,}+" if value >= MOST else f"{value:,}"


def cru(planck: float | None) -> str:
    """Return an amount of money, which is kept in planck, in CRU; small ones to the first digits that tell."""
    if planck is None:
        return NOTHING
    amount = float(planck) / _PLANCK
    if amount == 0 or abs(amount) >= _HUNDRED:
        return f"{amount:,.0f} CRU"
    return f"{amount:,.2f} CRU" if abs(amount) >= 1 else f"{amount:.4g} CRU"


def moment(value: datetime) -> str:
    """Return a database time (UTC, naive) in ISO 8601, for a <time> element."""
    return value.replace(tzinfo=UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=64)
def zone(name: str | None) -> tzinfo:
    """Return the time zone of a name that a browser sent; UTC, if there is none such."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # whatever a cookie may hold
        return UTC


@pass_context
def time(context: Context, value: datetime | None) -> str:
    """Return a database time in the reader's zone, as an element."""
    if value is None:
        return NOTHING
    there: tzinfo = context["zone"]
    text = value.replace(tzinfo=UTC).astimezone(there).strftime("%Y-%m-%d %H:%M")
    return Markup('<time datetime="{}">{}{}</time>').format(moment(value), text, " UTC" if there is UTC else "")


@pass_context
def span(context: Context, seconds: float | None) -> str:
    """Return how long something takes or has taken, in its two largest units."""
    if seconds is None:
        return NOTHING
    words: Mapping[str, str] = context["t"]
    rest, parts = max(int(seconds), 0), list[str]()
    for name, length in _SPANS:
        amount, rest = divmod(rest, length)
        if amount or (parts and name != "s"):
            parts.append(words[f"span_{name}"].format(amount))
        if len(parts) == 2 or (parts and (name == "d" and amount >= _TEN)):  # noqa: PLR2004 - two units
            break
    parts = [part for place, part in enumerate(parts) if place == 0 or not part.startswith("0")]
    return " ".join(parts) or words["span_s"].format(0)


@pass_context
def since(context: Context, value: datetime | None) -> str:
    """Return how long ago a database time was."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return NOTHING if value is None else str(span(context, (now - value).total_seconds()))


@pass_context
def until(context: Context, value: datetime | None) -> str:
    """Return in how long a database time is; now, if it has passed."""
    if value is None:
        return NOTHING
    left = (value - datetime.now(UTC).replace(tzinfo=None)).total_seconds()
    words: Mapping[str, str] = context["t"]
    return words["now"] if left < 1 else words["in_span"].format(span(context, left))


FILTERS = {
    "size": size,
    "number": number,
    "counted": counted,
    "cru": cru,
    "moment": moment,
    "time": time,
    "span": span,
    "since": since,
    "until": until,
}
