"""What the agent counts: for Prometheus, and for whoever looks at the terminal."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

_STEPS = ("waiting", "sent", "done")


class Tally:
    """The numbers, and the uploads that are under way."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.moving: dict[int, tuple[str, int, int]] = {}
        """Of each upload under way the path, bytes that were sent, bytes that it has."""
        self.counts = dict.fromkeys(_STEPS, 0)
        self.oldest_seconds = 0.0
        self.away: set[str] = set()
        self.bytes = Counter("roadvault_agent_sent_bytes_total", "Bytes of files that were sent", registry=registry)
        self.files = Counter("roadvault_agent_sent_files_total", "Files that the server has taken", registry=registry)
        self.failures = Counter(
            "roadvault_agent_failures_total", "What went wrong, by its kind", ["kind"], registry=registry
        )
        self._steps = Gauge("roadvault_agent_files", "Files that are known, by step", ["step"], registry=registry)
        self._oldest = Gauge(
            "roadvault_agent_oldest_waiting_seconds", "For how long the oldest file has been ready", registry=registry
        )
        self._missing = Gauge(
            "roadvault_agent_missing_files", "Files that were ready, and went before they were sent", registry=registry
        )
        self._server = Gauge(
            "roadvault_agent_server_away_seconds", "For how long the server has taken nothing", registry=registry
        )
        self._folder = Gauge("roadvault_agent_folder_away", "1: the folder is not there", ["folder"], registry=registry)
        self._looked = Gauge(
            "roadvault_agent_looked_timestamp_seconds", "When folders were looked at", registry=registry
        )

    def serve(self, host: str, port: int) -> None:
        """Serve the metrics."""
        start_http_server(port, host, registry=self.registry)

    def folder_away(self, folder: str, *, away: bool) -> bool:
        """Note whether a folder is there; tell whether that is news."""
        self._folder.labels(folder).set(away)
        news = away != (folder in self.away)
        (self.away.add if away else self.away.discard)(folder)
        return news

    def look(self, counts: dict[str, int], waiting: dict[int, float], server_away_seconds: float) -> None:
        """Note how things stand: `counts` of all files, and since when each of those waits that are there."""
        now = time.time()
        self.counts = {step: counts.get(step, 0) for step in _STEPS}
        for step, count in self.counts.items():
            self._steps.labels(step).set(count)
        self.oldest_seconds = max(0.0, now - min(waiting.values(), default=now))
        self._oldest.set(self.oldest_seconds)
        self._missing.set(max(0, self.counts["waiting"] - len(waiting)))
        self._server.set(server_away_seconds)
        self._looked.set(now)
