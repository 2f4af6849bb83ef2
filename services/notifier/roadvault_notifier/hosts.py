"""Keeps one dead host from holding up everybody's callbacks: it has a share of the slots, and a breaker of its own."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from roadvault_common.errors import Domain
from roadvault_common.work.breakers import OPEN, OPEN_SECONDS, Breaker
from roadvault_common.work.outage_store import Away
from roadvault_notifier.webhook import CallbackNotTaken, ClientAway

_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 2.0, 600.0
"""Calls of a silent host count against no callback, so only rests bound them: each may take a slot for long."""
_TURN_SECONDS = (0.5, 1.5)
"""Between these, a callback waits while its host has its share of the slots."""
_MOST = 1000
"""Silent hosts that are remembered."""
_REMEMBERED_SECONDS = 7200
"""A silent host that nobody called for this long after its rest has nothing to wait for any more."""
_SHOWN = 20
"""Of them on the back-office's page: strangers may name any number."""


class _Host:
    """One host and port: its breaker, which no call opens but one that got no answer, and the calls under way."""

    def __init__(self) -> None:
        self.breaker = Breaker(Domain.CALLBACK_HOST, first=_FIRST_REST_SECONDS, longest=_LONGEST_REST_SECONDS)
        self.calls = 0


class Hosts:
    """What this process knows of the hosts it calls; a place is `host:port`. A place rests, a host has a share."""

    def __init__(self, concurrency: int) -> None:
        self._share = min(concurrency, max(2, concurrency // 4))
        self._hosts: dict[str, _Host] = {}
        OPEN.labels(Domain.CALLBACK_HOST).set_function(lambda: len(self._silent()))
        OPEN_SECONDS.labels(Domain.CALLBACK_HOST).set_function(
            lambda: max((one.seconds for one in self._silent()), default=0)
        )

    def away(self) -> list[Away]:
        """Return hosts that give no answer, those that have given none for the longest time, `_SHOWN` at most."""
        return sorted(self._silent(), key=lambda one: one.seconds, reverse=True)[:_SHOWN]

    def _silent(self) -> list[Away]:
        self._forget()
        return [
            Away(Domain.CALLBACK_HOST, host.breaker.reason, host.breaker.open_seconds, place)
            for place, host in self._hosts.items()
            if host.breaker.reason is not None
        ]

    def silent(self, place: str) -> bool:
        """Tell whether the host gave no answer when it was last called."""
        return place in self._hosts and self._hosts[place].breaker.reason is not None

    def wait(self, place: str) -> float | None:
        """Return the seconds to wait before the host is to be called, or None if it may be called now."""
        host = self._hosts.get(place) or _Host()
        left = host.breaker.rest_seconds
        if left > 0:
            return left * random.uniform(1, 2)  # noqa: S311 - jitter
        # One call finds out whether a silent one is back. All ports of a host have one share: a stranger may name many.
        if (host.breaker.reason and host.calls) or self._calls(_name(place)) >= self._share:
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
        except ClientAway as error:
            host.breaker.open(error)
            raise
        except CallbackNotTaken:
            host.breaker.close()
            raise
        else:
            host.breaker.close()
        finally:
            host.calls -= 1
            self._forget()

    def _forget(self) -> None:
        """Forget hosts that answer or that nobody calls, and of too many silent ones those that rested longest ago."""
        silent = {
            place: host
            for place, host in self._hosts.items()
            if host.calls or (host.breaker.reason and host.breaker.idle_seconds < _REMEMBERED_SECONDS)
        }
        if len(silent) > _MOST:
            for place in sorted(silent, key=lambda place: silent[place].breaker.look_at)[: len(silent) - _MOST]:
                if not silent[place].calls:
                    del silent[place]
        self._hosts = silent


def _name(place: str) -> str:
    return place.rpartition(":")[0]
