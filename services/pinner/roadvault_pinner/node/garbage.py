"""Garbage collections of our IPFS node, and what keeps it from them.

Kubo removes nothing while it can't follow what is pinned: one inner node that has rotted, or is gone, keeps all garbage
where it is, and with it every archive that is to be dropped.
"""

import time
from collections.abc import Callable

import structlog
from prometheus_client import Gauge

from roadvault_common.errors import IpfsUnavailable, Outage, PinBroken
from roadvault_common.ipfs import pins
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_pinner.store import PinnerStore

log = structlog.get_logger()

STAYS = Gauge("roadvault_garbage_stays_seconds", "How long our Kubo has failed to collect garbage, 0 if it did last")
BROKEN = Gauge(
    "roadvault_pins_broken", "Pins of our Kubo with nodes that it can't read, as it said when it collected no garbage"
)
_MUCH_BYTES = 1 << 30
"""Garbage that is collected though nothing is dropped: no more than the margin that the disk has by default."""
_REST_SECONDS, _REST_SHARE = 300, 9
"""Then nothing is collected for so long, and for so many times as long as the last collection took."""
_AT_ONCE = 1000
"""Broken pins that one statement names: after a disk was lost there may be very many."""
_CANT_FOLLOW = "garbage collection aborted", "pin check failed"
"""What Kubo's repo/gc and block/rm say where they can't follow a pin."""


class Garbage:
    """Has garbage collected."""

    def __init__(self, ipfs: Ipfs, store: PinnerStore) -> None:
        self._ipfs = ipfs
        self._store = store
        self.on_broken: Callable[[], None] = lambda: None
        """Called when archives are due to be restored before garbage can be collected."""
        self._failed_at: float | None = None
        self._left: int | None = 0
        """Bytes of the repository after the last collection, which the next look tells; before the first all counts."""
        self.pinned = 0
        """Bytes that were copied there since, and are no garbage."""
        self._rests_until = time.monotonic() + _REST_SECONDS
        STAYS.set_function(lambda: 0.0 if self._failed_at is None else time.monotonic() - self._failed_at)

    async def collect(self) -> None:
        """Have garbage collected.

        Raises:
            PinBroken: Pins are broken; archives that are kept here and are among them are due to be restored.
            IpfsUnavailable: The node is away, or refuses for another reason.
        """
        began = time.monotonic()
        try:
            await self._ipfs.collect_garbage()
        except Outage:
            raise
        except IpfsUnavailable as error:
            self._failed_at = self._failed_at or time.monotonic()
            await self.see_pins(error)
            raise
        finally:
            now = time.monotonic()
            self._rests_until = now + max(_REST_SECONDS, _REST_SHARE * (now - began))
        self._failed_at, self._left, self.pinned = None, None, 0
        BROKEN.set(0)

    async def is_much(self) -> bool:
        """Tell whether reads, and adds that were cut, have left so much that it is to be collected now.

        Raises:
            IpfsUnavailable: The node does not tell.
        """
        size = await self._ipfs.repository_bytes()
        if self._left is None:
            self._left = size
        return size - self._left - self.pinned > _MUCH_BYTES and time.monotonic() >= self._rests_until

    async def see_pins(self, error: IpfsUnavailable) -> None:
        """See whether an error is due to broken pins.

        Raises:
            PinBroken: It is. Archives that are kept here and are among them are due to be restored.
        """
        if not any(words in str(error) for words in _CANT_FOLLOW):
            return
        broken = await pins.broken(self._ipfs)
        BROKEN.set(len(broken))
        if not broken:
            return
        log.warning("pins of our IPFS node are broken", pins=broken[:10], count=len(broken))
        some = [broken[begin : begin + _AT_ONCE] for begin in range(0, len(broken), _AT_ONCE)]
        if any([await self._store.restore_kept(cids) for cids in some]):
            self.on_broken()
        words = f"{len(broken)} pins are broken, the first is {broken[0]}: {error}"
        raise PinBroken(words, pins=len(broken)) from error
