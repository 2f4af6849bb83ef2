"""A collector of traces: takes OTLP over HTTP, as OpenTelemetry's own does, and decodes it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span as it came; ids are hexadecimal, `parent` is empty where a trace begins, `links` are traces."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    links: frozenset[str]
    facts: dict[str, str]
    failed: bool


@dataclass
class Collector:
    """What came so far."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        """Decode what a process sent."""
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.seen.append(
                        Seen(
                            names["service.name"],
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            frozenset(link.trace_id.hex() for link in span.links),
                            {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes},
                            span.status.code == span.status.STATUS_CODE_ERROR,
                        )
                    )

    def of(self, trace: str) -> dict[str, Seen]:
        """Return the spans of a trace, by their names; of several the one that ended last."""
        return {one.name: one for one in self.seen if one.trace == trace}

    def above(self, span: Seen) -> list[str]:
        """Return the names of what is above a span, the nearest first."""
        by_id = {one.span: one for one in self.seen}
        names = []
        while (up := by_id.get(span.parent)) is not None:
            span = up
            names.append(span.name)
        return names


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run one on loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
