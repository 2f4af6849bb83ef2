"""How values stand on pages: sizes, counts, times, spans and money, each with its unit, in the reader's language."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from datetime import time as midnight
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from roadvault_common.errors import Value
from roadvault_common.files.span import Span
from roadvault_common.plain import plain
from roadvault_common.sql.db import Row
from roadvault_common.work import reasons
from roadvault_common.work.reasons import Reason

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


def _unknown(value: object) -> bool:
    """Tell whether there is no value, or no such name among what a service told."""
    return value is None or isinstance(value, Undefined)


def size(count: Any) -> str:  # noqa: ANN401 - a number, if it is known
    """Return a byte count with a decimal unit: 1500000 is 1.5 MB."""
    if _unknown(count):
        return NOTHING
    amount, unit = float(count), 0
    while amount >= _THOUSAND and unit < len(_UNITS) - 1:
        amount, unit = amount / _THOUSAND, unit + 1
    return f"{count:.0f} {_UNITS[0]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def number(value: Any) -> str:  # noqa: ANN401 - a number, if it is known
    """Return a whole number with its thousands apart."""
    return NOTHING if _unknown(value) else f"{value:,.0f}"


def counted(value: int) -> str:
    """Return a count that goes no further than MOST."""
    return f"{MOST:,}+" if value >= MOST else f"{value:,}"


def cru(planck: Any) -> str:  # noqa: ANN401 - a number, if it is known
    """Return an amount of money, which is kept in planck, in CRU; small ones to the first digits that tell."""
    if _unknown(planck):
        return NOTHING
    amount = float(planck) / _PLANCK
    if amount == 0 or abs(amount) >= _HUNDRED:
        return f"{amount:,.0f} CRU"
    return f"{amount:,.2f} CRU" if abs(amount) >= 1 else f"{Decimal(f'{amount:.3g}'):f} CRU"


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
def time(context: Context, value: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a database time in the reader's zone, as an element."""
    if value is None:
        return NOTHING
    there: tzinfo = context["zone"]
    text = value.replace(tzinfo=UTC).astimezone(there).strftime(form)
    return Markup('<time datetime="{}">{}{}</time>').format(moment(value), text, " UTC" if there is UTC else "")


@pass_context
def second(context: Context, value: datetime | None) -> str:
    """Return a database time as `time` does, to the second."""
    return time(context, value, "%Y-%m-%d %H:%M:%S")


@pass_context
def span(context: Context, seconds: float | None) -> str:
    """Return how long something takes or has taken, in its largest units."""
    if seconds is None:
        return NOTHING
    words: Mapping[str, str] = context["t"]
    whole = max(int(seconds), 0)
    for place, (name, length) in enumerate(_SPANS):
        amount, rest = divmod(whole, length)
        if amount:
            text, below = words[f"span_{name}"].format(amount), _SPANS[place + 1 :]
            # Next to minutes nobody asks for seconds, nor next to many days for hours.
            exact = len(below) > 1 and amount < _TEN and rest >= below[0][1]
            return f"{text} {words[f'span_{below[0][0]}'].format(rest // below[0][1])}" if exact else text
    return words["span_s"].format(0)


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


def _parameter(context: Context, name: str, value: Value) -> object:
    """Return a reason's parameter as a page shows numbers of its kind: the name's end says what it is in."""
    kind = name.rpartition("_")[2]
    if not isinstance(value, int | float):
        return value
    if kind == "seconds":
        return span(context, value)
    return {"bytes": size, "planck": cru}.get(kind, number)(value) if name not in _NAMES else value


_NAMES = frozenset({"order", "archive", "file", "status", "on", "period"})
"""Parameters that are numbers of something, not amounts."""


@pass_context
def reason(context: Context, text: str | Reason | None) -> str:
    """Return why, in the reader's language, if it has a code that is known; else the words that were noted."""
    why = text if isinstance(text, Reason) else reasons.parse(text)
    if why is None:
        return ""
    told = context["t"].get(f"reason_{why.code}")
    try:
        return str(told.format(**{name: _parameter(context, name, value) for name, value in why.params.items()}))
    except (AttributeError, KeyError):  # without a code, or cut short by who wrote it
        return why.words


def raw(text: str | Reason | None) -> str | None:
    """Return the words that were noted, where a page says them in its own."""
    why = text if isinstance(text, Reason) else reasons.parse(text)
    return why.words if why is not None and why.code else None


_FORMS = {"bytes": size, "count": number, "cru": cru}


def plotted(value: float, form: str) -> float:
    """Return a value as a plot draws it: money in CRU."""
    return float(value) / _PLANCK if form == "cru" else float(value)


def epoch(when: date) -> int:
    """Return the seconds at which a day begins, or a time is, UTC."""
    clock = when.timetz() if isinstance(when, datetime) else midnight()
    return int(datetime.combine(when, clock.replace(tzinfo=UTC)).timestamp())


@pass_context
def point(context: Context, when: date) -> str:
    """Return a day, or a time in the reader's zone, as it stands below a plot."""
    return time(context, when) if isinstance(when, datetime) else when.isoformat()


_LONG = 40
"""Characters of a word that is a hash or the like."""


_READ_BY = re.compile(r"(gateway|witness) (\S+): .*")


@pass_context
def way(context: Context, text: str | None) -> str:
    """Return how something was read, in the reader's language where the words are ours."""
    by = _READ_BY.fullmatch(text or "")
    if by is not None:
        return str(context["t"][f"read_by_{by[1]}"].format(by[2]))
    return str(context["t"].get(f"read_{text}", text)) if text else NOTHING


@pass_context
def told(context: Context, value: Any, name: str) -> str:  # noqa: ANN401 - of a line of the custody log
    """Return a fact of the custody log as people read it; what is long is cut short, and there to be copied."""
    if isinstance(value, Mapping):  # of a clip
        ends = (value.get("from"), value.get("to"))
        return NOTHING.join(
            _position(round(end * 1000)) if isinstance(end, int | float) else str(plainly(str(end))) for end in ends
        )
    if name in {"size", "bytes"} and isinstance(value, int):
        return size(value)
    if name == "request":
        return Markup('<a href="/requests/{0}">{0}</a>').format(value)
    if isinstance(value, str) and len(value) > _LONG and " " not in value:
        return Markup('<code class="cid" title="{0}">{0}</code>').format(plainly(value))
    return str(context["t"].get(f"said_{value}") or (way(context, value) if name == "by" else value))


def some(words: str, count: int, **params: object) -> str:
    """Return words about so many: English has one form for one, and another, behind `|`, for the others."""
    one, _, many = words.partition("|")
    return (one if count == 1 or not many else many).format(counted(count), **params)


@pass_context
def clip(context: Context, row: Row) -> str:
    """Return which clip a request is for: as positions in the video, or times of day; nothing, if it is for a file."""
    span = Span.of(row)
    if span is None:
        return ""
    if span.on_clock:
        ends = [datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None) for at in (span.begin, span.end)]
        return Markup("{}{}{}").format(second(context, ends[0]), NOTHING, second(context, ends[1]))
    return NOTHING.join(_position(at) for at in (span.begin, span.end))


def _position(at: int) -> str:
    minutes, milliseconds = divmod(at, 60_000)
    return f"{minutes}:{milliseconds / 1000:06.3f}".removesuffix(".000")


def length_of(seconds: float) -> str:
    """Return how long a video is, as players show it."""
    return _position(int(seconds) * 1000)


def code(text: str) -> Markup:
    """Return a text in which code stands between backticks."""
    pieces = text.split("`")
    return Markup().join(Markup("<code>{}</code>").format(one) if at % 2 else one for at, one in enumerate(pieces))


@pass_context
def prose(context: Context, text: Any) -> Markup:  # noqa: ANN401 - a text, if there is one
    """Return a text of the API's description, which is in English on every page."""
    if _unknown(text):
        return Markup()
    return code(text) if context["language"] == "en" else Markup('<span lang="en">{}</span>').format(code(text))


FILTERS = {
    "code": code,
    "prose": prose,
    "as": lambda value, form: _FORMS[form](value),
    "plotted": plotted,
    "epoch": epoch,
    "point": point,
    "told": told,
    "way": way,
    "clip": clip,
    "length_of": length_of,
    "some": some,
    "reason": reason,
    "raw": raw,
    "size": size,
    "number": number,
    "counted": counted,
    "cru": cru,
    "moment": moment,
    "time": time,
    "second": second,
    "span": span,
    "since": since,
    "until": until,
}
