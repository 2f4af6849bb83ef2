"""Spans: begun here, everywhere. While traces are off nothing is imported for them, and a span is a look at a variable.

Where a trace goes on is said by a `traceparent` (https://www.w3.org/TR/trace-context/): a text of 55 characters.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Literal, Protocol

from structlog.typing import EventDict, WrappedLogger

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
MOST_LINKS = 32
"""Traces that a span links to, at most."""

Kind = Literal["internal", "server"]


class Span(Protocol):
    """What is being done. Neither names of files nor secrets, nor words of others, are among what is noted of it."""

    def note(self, facts: Mapping[str, str | int]) -> None:
        """Add attributes by their names: those with a dot are OpenTelemetry's own, the others get a prefix of ours."""

    def fail(self, code: str) -> None:
        """Say that it went wrong, by a word of ours."""


class Tracer(Protocol):
    """What begins spans and sends them away: `sdk.py` has the one there is."""

    def span(
        self, name: str, kind: Kind, parent: str | None, links: Iterable[str], facts: Mapping[str, str | int]
    ) -> AbstractContextManager[Span]:
        """Begin a span below `parent`, below what is being done if that is None, or by itself if it is empty."""

    def under(self, parent: str) -> AbstractContextManager[None]:
        """Have what is done in the block be done below a span of elsewhere."""

    def current(self) -> str | None:
        """Return the `traceparent` of what is being done."""

    def end(self) -> None:
        """Send what is left, within a short time."""


class _Nothing:
    def note(self, facts: Mapping[str, str | int]) -> None:
        pass

    def fail(self, code: str) -> None:
        pass


ROOT = ""
"""In place of a parent: a trace begins here, whatever is being done."""
_NOTHING = _Nothing()
_tracer: Tracer | None = None


def begin(service: str, version: str, url: str | None) -> None:
    """Turn traces on for this process, if there is a collector at `url`."""
    global _tracer  # noqa: PLW0603 - of the process, as its logs
    if url is not None:
        from roadvault_common.tracing.sdk import Sdk  # noqa: PLC0415 - its libraries are not imported otherwise

        _tracer = Sdk(service, version, url)


def end() -> None:
    """Send what is left, as the process ends."""
    global _tracer  # noqa: PLW0603 - likewise
    if _tracer is not None:
        _tracer.end()
        _tracer = None


def on() -> bool:
    """Tell whether traces are on."""
    return _tracer is not None


@contextmanager
def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Iterable[str] = (),
    facts: Mapping[str, str | int] = MappingProxyType({}),
) -> Iterator[Span]:
    """Do what is in the block as a span: below `parent`, or, if that is None, below what is being done."""
    if _tracer is None:
        yield _NOTHING
    else:
        with _tracer.span(name, kind, parent, links, facts) as begun:
            yield begun


@contextmanager
def under(parent: str | None) -> Iterator[None]:
    """Do what is in the block below a span of another process, where one is named."""
    if _tracer is None or parent is None:
        yield
    else:
        with _tracer.under(parent):
            yield


def read(came: Iterable[str | bytes]) -> str | None:
    """Return the `traceparent` that somebody sent: one, well-formed, or none. What else it says is passed over."""
    values = [value.decode("latin-1") if isinstance(value, bytes) else value for value in came]
    return values[0] if len(values) == 1 and _PARENT.fullmatch(values[0]) else None


def current() -> str | None:
    """Return the `traceparent` of what is being done; None while traces are off."""
    return None if _tracer is None else _tracer.current()


def trace_id() -> str | None:
    """Return the trace of what is being done, as answers and logs name it; None while traces are off."""
    parent = current()
    return None if parent is None else parent.split("-")[1]


def same_trace(one: str, other: str) -> bool:
    """Tell whether two belong to one trace."""
    return one.split("-")[1] == other.split("-")[1]


def mark(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Name the trace in a line of the log."""
    if (found := trace_id()) is not None:
        event["trace_id"] = found
    return event
