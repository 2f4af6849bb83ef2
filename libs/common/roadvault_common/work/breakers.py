"""Breakers: what is away for everybody is looked for by one, and rows wait for it untouched.

There is one for each fault domain in each process that needs it. *Closed*, work goes on. An outage *opens* it, if its
probe finds the same: then nothing that needs the domain is begun, so that no lease is taken and no attempt counted.
After a rest, which grows, the probe is asked again. Once that finds all well the breaker is *half-open*: one piece of
work is let through, and when that has not met the outage again, all of it.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from functools import partial

import structlog
from prometheus_client import Gauge

from roadvault_common.errors import DiskFull, Domain, Outage, RoadVaultError, TransientError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.metrics import Sample
from roadvault_common.sql.db import Database
from roadvault_common.web.health import Check
from roadvault_common.work.outage_store import Away, note

log = structlog.get_logger()

OPEN = Gauge("roadvault_breaker_open", "1 while a fault domain is away and work that needs it rests", ["domain"])
OPEN_SECONDS = Gauge("roadvault_breaker_open_seconds", "How long it has been away, 0 while it is not", ["domain"])
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 1.0, 15.0
_PROBE_SECONDS = 30.0
"""A probe that takes longer has found the domain away."""
_MISSES = 2
"""So many looks in a row that find a domain away open its breaker, though no work has met an outage."""
_MISSED = 2
"""What is away is believed for so many turns of writing it down, each with a probe that hangs to its end."""
_LEAST_BYTES = 1 << 20
"""With less room than this on the disk nothing of ours can be written."""


class Breaker:
    """Whether one fault domain can be worked with, as far as this process knows.

    `probe` raises an Outage while it can't. Without one the next piece of work after the rest finds out. The rest is
    `first` seconds long, and doubled as often as the domain is found away, up to `longest`. Where the probe costs or
    leaves something, `glance` is asked in its place while nothing is known to be wrong.
    """

    def __init__(
        self,
        domain: Domain,
        probe: Check | None = None,
        *,
        glance: Check | None = None,
        first: float = _FIRST_REST_SECONDS,
        longest: float = _LONGEST_REST_SECONDS,
    ) -> None:
        self.domain = domain
        self._probe, self._glance = probe, glance or probe
        self._misses = 0
        """So many looks in a row found the domain away, while it is closed."""
        self._first, self._longest = first, longest
        self._found: TransientError | None = None
        """What is wrong, or was before it became half-open; None while it is closed."""
        self._half_open = self._trying = False
        self._since = self.look_at = 0.0
        """By the monotonic clock: when it opened, and when its rest ends."""
        self._rests = 0
        """How often it was found away since it opened."""
        self._asking: asyncio.Task[Outage | None] | None = None

    @property
    def reason(self) -> str | None:
        """What is wrong, while the breaker is open."""
        return None if self._found is None or self._half_open else brief(self._found)

    @property
    def open_seconds(self) -> float:
        """How long the domain has been away; 0 unless the breaker is open."""
        return 0.0 if self.reason is None else time.monotonic() - self._since

    @property
    def rest_seconds(self) -> float:
        """How long there is no need to look again; 0 unless the breaker is open."""
        return 0.0 if self.reason is None else max(self.look_at - time.monotonic(), 0.0)

    @property
    def idle_seconds(self) -> float:
        """How long ago its last rest ended, in which time nothing has looked."""
        return max(time.monotonic() - self.look_at, 0.0)

    async def admits(self) -> bool:
        """Tell whether work that needs the domain may begin; once a rest is over, ask the probe first."""
        if self.reason is not None:
            if self.rest_seconds > 0 or self._is_asked():
                return False
            found = await self._ask()
            self._half_open = found is None or not self._concerns(found)
        return self.reason is None and not self._trying

    def begin(self) -> bool:
        """Note that work begins; True if it is the one that is let through to find out, which then has to `end`."""
        self._trying = self._half_open
        return self._half_open

    def end(self, *, found_out: bool = True) -> None:
        """Note that the work that was let through has ended: all may go on, unless it met the outage again."""
        self._trying = False
        if self._half_open and found_out:
            self.close()

    async def require(self) -> None:
        """For work that finds on its way that it needs the domain: go on only if that is there.

        Raises:
            Outage: It isn't, as far as is known.
        """
        if self.reason is not None and not await self.admits() and self._found is not None:
            raise type(self._found)(str(self._found), code=self._found.code, **self._found.params)

    async def met(self, outage: Outage) -> None:
        """Open for an outage that was met, unless the probe finds all well: then it was a moment's, or one row's."""
        if self._probe is None:
            self.open(outage)
        else:
            await self.suspect()

    async def suspect(self) -> TransientError | None:
        """Have the probe look, after something went wrong; return what it finds, which opens the breaker."""
        return self._found if self.rest_seconds > 0 else await self._ask()

    def open(self, error: TransientError) -> None:
        """Note that the domain is away."""
        if self._found is None:
            self._since, self._rests = time.monotonic(), 0
            log.warning("away: what needs it rests", domain=str(self.domain), reason=brief(error))
        self._found, self._half_open = error, False
        self.look_at = time.monotonic() + min(self._first * 2 ** min(self._rests, 30), self._longest)
        self._rests += 1

    def close(self) -> None:
        """Note that the domain is there."""
        if self._found is not None:
            log.info("there again", domain=str(self.domain), seconds=round(time.monotonic() - self._since, 1))
        self._found, self._half_open = None, False

    async def look(self) -> None:
        """Look whether the domain is there, or there again, if nothing that needs it is due and would find out.

        What one look finds away may have been so for a moment; what the next one finds, too, is.
        """
        if self._half_open and not self._trying:
            self.close()
        if self._found is not None:
            await self.admits()
            return
        found = await _outage(self._glance)
        self._misses = self._misses + 1 if found is not None and self._concerns(found) else 0
        if found is not None and self._misses >= _MISSES and self._found is None:
            self.open(found)

    def _is_asked(self) -> bool:
        return self._asking is not None and not self._asking.done()

    async def _ask(self) -> Outage | None:
        """Ask the probe, once for all who want to know at the same time; what it finds opens the breaker."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_probe())
        return await asyncio.shield(self._asking)

    async def _ask_probe(self) -> Outage | None:
        found = await _outage(self._probe)
        if found is not None and self._concerns(found):
            self.open(found)
        return found

    def _concerns(self, found: Outage) -> bool:
        """Tell whether an outage is this domain's; another's own breaker is to open."""
        return found.domain in (None, self.domain)


class Breakers:
    """The breakers of one process; `more` tells what else it finds away, of domains that have many names."""

    def __init__(self, *breakers: Breaker, more: Callable[[], list[Away]] = list) -> None:
        self._all = breakers
        self._more = more
        self._noted = True
        """Whether the database may have rows of this process, or of one before that had its name."""
        for one in breakers:
            OPEN.labels(one.domain).set_function(partial(_is_open, one))
            OPEN_SECONDS.labels(one.domain).set_function(partial(_open_seconds, one))

    def states(self) -> dict[str, dict[str, object]]:
        """Return, by domain and name, what is wrong and for how many seconds, of those that are away: for /readyz."""
        return {
            f"{one.domain} {one.name}".rstrip(): {"reason": one.reason, "seconds": round(one.seconds, 1)}
            for one in self._away()
        }

    def sample(self, db: Database, service: str, seconds: float) -> Sample:
        """Return what looks every `seconds` for what is away, and writes it down."""
        process = f"{socket.gethostname()[:80]}-{os.getpid()}"

        async def take() -> None:
            await asyncio.gather(*(one.look() for one in self._all))
            away = self._away()
            if away or self._noted:
                await note(db, service, process, away, stale_seconds=_MISSED * (seconds + _PROBE_SECONDS))
                self._noted = bool(away)

        return take

    def _away(self) -> list[Away]:
        own = [Away(one.domain, one.reason, one.open_seconds) for one in self._all if one.reason is not None]
        return [*own, *self._more()]


async def _outage(check: Check | None) -> Outage | None:
    """Return what a check finds away."""
    if check is None:
        return None
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await check()
    except TimeoutError:
        return Outage(f"no answer within {_PROBE_SECONDS:.0f} s")
    except Outage as outage:
        return outage
    except RoadVaultError as error:
        return Outage(brief(error))
    return None


def _is_open(breaker: Breaker) -> float:
    return float(breaker.reason is not None)


def _open_seconds(breaker: Breaker) -> float:
    return breaker.open_seconds


def database(db: Database) -> Breaker:
    """Make the breaker of the database."""
    return Breaker(Domain.DATABASE, db.ping)


def redis(bus: Bus) -> Breaker:
    """Make the breaker of Redis. No work needs it: events are doorbells, and sweeps go on."""
    return Breaker(Domain.REDIS, bus.ping)


def disk(vault: Vault) -> Breaker:
    """Make the breaker of the data directory's disk."""

    async def probe() -> None:
        free = await asyncio.to_thread(vault.free_bytes)
        if free < _LEAST_BYTES:
            words = f"{free} bytes are free in the data directory"
            raise DiskFull(words, code="no_room", need_bytes=_LEAST_BYTES, free_bytes=free)

    return Breaker(Domain.DISK, probe)
