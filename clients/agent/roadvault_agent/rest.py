"""Lets everything rest while the server is away, and nothing be tried again at once."""

import random
import threading
import time

_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 60.0
_ASKED_SECONDS = 600.0
"""As long as a server may ask us to stay away."""


class Rest:
    """Since when the server gives nothing, and when it is tried again: after twice as long each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._seconds = 0.0
        self.since: float | None = None
        """Monotonic; None while it is there."""
        self.reason = ""

    @property
    def left(self) -> float:
        """Seconds still to rest."""
        return max(0.0, self._until - time.monotonic())

    @property
    def away_seconds(self) -> float:
        """For how long it has been away; 0 if it is there."""
        return 0.0 if self.since is None else time.monotonic() - self.since

    def begin(self, reason: str, asked: float | None) -> bool:
        """Rest, for as long as the server asks at least; tell whether that is news."""
        with self._lock:
            now = time.monotonic()
            news = self.since is None
            if now >= self._until:  # of uploads that fail together one counts
                self._seconds = min(max(self._seconds * 2, _FIRST_SECONDS), _LONGEST_SECONDS)
                own = self._seconds * random.uniform(0.75, 1)  # noqa: S311 - jitter
                self._until = now + max(own, min(asked or 0, _ASKED_SECONDS))
            self.since = now if self.since is None else self.since
            self.reason = reason
            return news

    def end(self) -> bool:
        """Note that it answers; tell whether that is news."""
        with self._lock:
            news, self.since, self._until, self._seconds = self.since is not None, None, 0.0, 0.0
            return news
