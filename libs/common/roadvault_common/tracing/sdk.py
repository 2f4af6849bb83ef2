"""Spans as OpenTelemetry has them, sent over OTLP. Imported only where traces are on."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread

import structlog
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from roadvault_common.tracing.spans import MOST_LINKS, Kind

log = structlog.get_logger()

_TIMEOUT_SECONDS = 2
"""Of one try to send; what a process still has when it ends gets as long."""
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER}
_PREFIX = "roadvault."


class _Span:
    """A span of the library, of which only what we say ourselves is kept."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, facts: Mapping[str, str | int]) -> None:
        """Add attributes."""
        self._span.set_attributes(_named(facts))

    def fail(self, code: str) -> None:
        """Say that it went wrong."""
        self._span.set_status(Status(StatusCode.ERROR, code))


class _Exporter(SpanExporter):
    """Sends spans; says once that they can't be sent, and once that they can again."""

    def __init__(self, url: str) -> None:
        self._to = OTLPSpanExporter(f"{url.rstrip('/')}/v1/traces", timeout=_TIMEOUT_SECONDS)
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._to.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away != self._away:
            self._away = away
            log.warning("traces can't be sent, and are lost; all else goes on" if away else "traces are sent again")
        return result

    def shutdown(self) -> None:
        self._to.shutdown()  # type: ignore[no-untyped-call]


class Sdk:
    """The tracer of a process. Spans wait in memory, bounded, and are sent by a thread; too many are dropped."""

    def __init__(self, service: str, version: str, url: str) -> None:
        names = {"service.namespace": "roadvault", "service.name": service, "service.version": version}
        self._provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(url), schedule_delay_millis=1000))
        logging.getLogger("opentelemetry").setLevel(
            logging.CRITICAL
        )  # it says anew with each batch that it is not sent
        self._tracer = self._provider.get_tracer("roadvault", version)

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str | None, links: Iterable[str], facts: Mapping[str, str | int]
    ) -> Iterator[_Span]:
        """Begin a span, and be it until the block ends; the words of an error stay here, since they name files."""
        with self._tracer.start_as_current_span(
            name,
            context=None if parent is None else _context(parent) if parent else context.Context(),
            kind=_KINDS[kind],
            attributes=_named(facts),
            links=[Link(_parsed(one)) for one in list(dict.fromkeys(links))[:MOST_LINKS]],
            record_exception=False,
            set_status_on_exception=False,
        ) as begun:
            span = _Span(begun)
            try:
                yield span
            except Exception as error:
                span.fail(type(error).__name__)
                raise

    @contextmanager
    def under(self, parent: str) -> Iterator[None]:
        """Have what is done in the block be done below a span of elsewhere."""
        token = context.attach(_context(parent))
        try:
            yield
        finally:
            context.detach(token)

    def current(self) -> str | None:
        """Return the `traceparent` of what is being done."""
        at = trace.get_current_span().get_span_context()
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}" if at.is_valid else None

    def end(self) -> None:
        """Send what is left; a collector that does not answer keeps the process no longer than that."""
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_TIMEOUT_SECONDS)


def _named(facts: Mapping[str, str | int]) -> dict[str, str | int]:
    return {name if "." in name else _PREFIX + name: value for name, value in facts.items()}


def _parsed(parent: str) -> SpanContext:
    _, trace_id, span_id, flags = parent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16) & 1))


def _context(parent: str) -> context.Context:
    return trace.set_span_in_context(NonRecordingSpan(_parsed(parent)), context.Context())
