"""What is to be done, in turn, by several workers; what failed comes back after a while."""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable

from roadvault_agent.rest import Rest

_FIRST_SECONDS, _LONGEST_SECONDS = 5.0, 600.0


class Todo:
    """Rows by their ids, each with one worker at a time."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._queue: deque[int] = deque()
        self._held: set[int] = set()
        """Those in the queue or with a worker."""
        self._later: dict[int, tuple[float, int]] = {}
        """When (monotonic) one is tried again, and how often it has failed."""
        self._news = threading.Condition()
        self._over = False

    def offer(self, rows: Iterable[int]) -> None:
        """Queue those that are not under way, and whose time has come."""
        now = time.monotonic()
        with self._news:
            for row_id in rows:
                if row_id not in self._held and self._later.get(row_id, (0.0, 0))[0] <= now:
                    self._held.add(row_id)
                    self._queue.append(row_id)
            self._news.notify_all()

    def next(self) -> int | None:
        """Return what is to be done next, once the server may be asked; None when all is over."""
        with self._news:
            while not self._over:
                left = self._rest.left
                if self._queue and not left:
                    return self._queue.popleft()
                self._news.wait(left or None)
            return None

    def release(self, row_id: int) -> None:
        """Note that nobody works on it any more."""
        with self._news:
            self._held.discard(row_id)

    def forget(self, row_id: int) -> None:
        """Note that it went well: no failure counts any more."""
        self._later.pop(row_id, None)

    def put_off(self, row_id: int, seconds: float | None = None) -> None:
        """Have it come back after so long, or, the more often it fails, the later."""
        failures = self._later.get(row_id, (0.0, 0))[1]
        if seconds is None:
            seconds = min(_FIRST_SECONDS * 2.0**failures, _LONGEST_SECONDS) * random.uniform(0.75, 1)  # noqa: S311 - jitter
            failures += 1
        self._later[row_id] = (time.monotonic() + seconds, failures)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or in the queue."""
        return not self._held

    def end(self) -> None:
        """Have workers go home."""
        with self._news:
            self._over = True
            self._news.notify_all()
