"""Keeps one dead host from holding up everybody's callbacks: it has a share of the slots, and a rest after silence."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Gauge

from roadvault_notifier.webhook import CallbackNotTaken, ClientAway

RESTING = Gauge("roadvault_callback_hosts_resting", "Hosts that gave no answer and are not called for now")
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 2.0, 60.0
_TURN_SECONDS = (0.5, 1.5)
"""Between these, a callback waits while its host has its share of the slots."""
_MOST = 1000
"""Silent hosts that are remembered."""


@dataclass
class _Host:
    calls: int = 0
    """Under way now."""
    silences: int = 0
    """Calls in a row that got no answer."""
    rests_until: float = 0.0
    """By the monotonic clock."""


class Hosts:
    """What this process knows of the hosts it calls; a place is `host:port`. A place rests, a host has a share."""

    def __init__(self, concurrency: int) -> None:
        self._share = min(concurrency, max(2, concurrency // 4))
        self._hosts: dict[str, _Host] = {}
        RESTING.set_function(self.resting)

    def resting(self) -> int:
        """Return how many hosts rest."""
        now = time.monotonic()
        return sum(host.rests_until > now for host in self._hosts.values())

    def silent(self, place: str) -> bool:
        """Tell whether the host gave no answer when it was last called."""
        return place in self._hosts and self._hosts[place].silences > 0

    def wait(self, place: str) -> float | None:
        """Return the seconds to wait before the host is to be called, or None if it may be called now."""
        host = self._hosts.get(place, _Host())
        left = host.rests_until - time.monotonic()
        if left > 0:
            return left * random.uniform(1, 2)  # noqa: S311 - jitter
        # One call finds out whether a silent one is back. All ports of a host have one share: a stranger may name many.
        if (host.silences and host.calls) or self._calls(_name(place)) >= self._share:
            return random.uniform(*_TURN_SECONDS)  # noqa: S311 - likewise
        return None

    def _calls(self, name: str) -> int:
        """Return how many calls are under way to a host, whatever the port."""
        return sum(host.calls for place, host in self._hosts.items() if host.calls and _name(place) == name)

    @contextmanager
    def calling(self, place: str) -> Iterator[None]:
        """Note a call for as long as it lasts, and how it ended."""
        host = self._hosts.setdefault(place, _Host())
        host.calls += 1
        try:
            yield
        except ClientAway:
            host.silences += 1
            rest = min(_FIRST_REST_SECONDS * 2 ** min(host.silences - 1, 10), _LONGEST_REST_SECONDS)
            host.rests_until = time.monotonic() + rest
            raise
        except CallbackNotTaken:
            host.silences = 0
            raise
        else:
            host.silences = 0
        finally:
            host.calls -= 1
            self._forget()

    def _forget(self) -> None:
        """Forget hosts that answer, and of too many silent ones those that rested longest ago."""
        silent = {place: host for place, host in self._hosts.items() if host.calls or host.silences}
        if len(silent) > _MOST:
            for place in sorted(silent, key=lambda place: silent[place].rests_until)[: len(silent) - _MOST]:
                if not silent[place].calls:
                    del silent[place]
        self._hosts = silent


def _name(place: str) -> str:
    return place.rpartition(":")[0]
