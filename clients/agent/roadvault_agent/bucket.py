"""Bounds how fast is sent, by all uploads together."""

import threading
import time
from collections.abc import Callable

_LEAST, _MOST = 1 << 10, 1 << 18


class Bucket:
    """Lets `rate` bytes a second through, in pieces of which each takes an eighth of a second; 0 is no bound."""

    def __init__(self, rate: float, sleep: Callable[[float], object] = time.sleep) -> None:
        self._rate = rate
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.piece = int(min(max(rate / 8, _LEAST), _MOST)) if rate else _MOST
        """Bytes to take at a time: a server gives up whoever is silent for long."""

    def take(self, count: int) -> None:
        """Wait until so many bytes may be sent."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            wait = self._free_at - now
            self._free_at = max(self._free_at, now) + count / self._rate
        if wait > 0:
            self._sleep(wait)
