"""What an archive needs, by its rows and by what the market says: decided alike by who looks and by who buys."""

from roadvault_common.work.reasons import Reason
from roadvault_crust_orderer.buying.planner import Need, renewal_block
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import FileInfo, Head
from roadvault_crust_orderer.store import Archive

SOON_DAYS, _SOON_PART = 30, 4
"""A file that vanishes so soon after its order, or within so large a part of its term, was closed by the market, which
does that when the size is not the declared one: bought again once, then a person is asked."""
_UNKNOWN_END_SECONDS = 86_400.0
"""Until when an archive whose end nobody knows is due for buying, should nobody have looked at it by then."""


class Needs:
    """The operator's wishes, and which CIDs the market did not know when it was last asked."""

    def __init__(self, settings: OrdererSettings) -> None:
        self._settings = settings
        self._policy = settings.policy()
        self._missing: dict[int, int] = {}
        """By archive, the finalized height at which the market first did not know its CID."""

    def doubt(self, archive: Archive, info: FileInfo | None, head: Head) -> Reason | None:
        """Return why the market's answer is no ground to spend money on, or None."""
        if behind(archive, head):
            words = f"the node's finalized head {head.height} is before the order's block {archive.bought_at}"
            return Reason("head_behind", words, head=head.height, block=archive.bought_at or 0)
        if info is not None:
            self._missing.pop(archive.zip_id, None)
        elif archive.terms and not self._missing_again(archive.zip_id, head):
            return Reason("looking_again", "the market does not know the CID any more; looking once more")
        return None

    def _missing_again(self, zip_id: int, head: Head) -> bool:
        """Tell whether a CID was missing at an earlier head already: one odd answer does not cost an order."""
        return head.height > self._missing.setdefault(zip_id, head.height)

    def anew(self, archive: Archive) -> Need:
        """Return the need for a CID that the market does not know: what was bought before is urgent."""
        return Need(archive.dag_size, None if archive.bought_at is None else 0)

    def of(self, archive: Archive, info: FileInfo, head: Head) -> Need | None:
        """Return what an archive that the market knows needs another order for, or None."""
        left = head.term if info.expires is None else max(info.expires - head.height, 0)
        if archive.over or archive.lost:
            return None
        wanted = 0 < archive.terms < archive.terms_wanted or self.under_floor(archive, info)
        if not wanted and self._outlasts(archive, left):
            return None
        if wanted or self.blocks_to_renewal(archive, info, head) <= 0:
            return Need(archive.dag_size, left)
        return Need(archive.dag_size, extra=True) if self._overdue(archive, info, head) else None

    def blocks_to_renewal(self, archive: Archive, info: FileInfo, head: Head) -> int:
        """Return how many blocks there are until the order should be renewed; it does not run before a replica."""
        if info.expires is None:
            return 1
        return renewal_block(archive.zip_id, info.expires, info.expires - head.term, self._policy) - head.height

    def seconds_to_renewal(self, archive: Archive, info: FileInfo, head: Head) -> float:
        """Return in how many seconds an archive that needs nothing now is due for buying, though nobody looks at it."""
        if info.expires is None:
            return _UNKNOWN_END_SECONDS
        left = max(info.expires - head.height, 0)
        if self._outlasts(archive, left):  # should its end be moved, or a hold keep it, that makes it due
            return max(left * self._settings.crust_block_seconds, _UNKNOWN_END_SECONDS)
        return self.blocks_to_renewal(archive, info, head) * self._settings.crust_block_seconds

    def _outlasts(self, archive: Archive, blocks: int) -> bool:
        """Tell whether an order that runs for so many blocks lasts until the archive's own end: nothing is renewed."""
        return archive.ends_in is not None and archive.ends_in <= blocks * self._settings.crust_block_seconds

    def under_floor(self, archive: Archive, info: FileInfo) -> bool:
        """Tell whether the network holds too little of an archive whose local copies went."""
        return archive.dropped and info.replicas < self._settings.replica_floor

    def enough(self, info: FileInfo) -> bool:
        """Tell whether replicas exceed the threshold."""
        return info.replicas > self._settings.replica_threshold

    def closed_twice(self, archive: Archive, head: Head) -> bool:
        """Tell whether a CID vanished soon after an order that had itself followed soon after another."""
        if archive.bought_at is None or archive.bought_before is None:
            return False
        soon = min(self._policy.blocks(SOON_DAYS), head.term // _SOON_PART)
        return max(head.height - archive.bought_at, archive.bought_at - archive.bought_before) <= soon

    def _overdue(self, archive: Archive, info: FileInfo, head: Head) -> bool:
        """Tell whether the re-order policy wants a second order, which is the last, for one under the threshold."""
        days = self._settings.crust_reorder_days
        if days is None or archive.dropped or self.enough(info):
            return False
        if archive.bought_at is None or archive.bought_before is not None:
            return False
        return head.height - archive.bought_at >= self._policy.blocks(days)


def behind(archive: Archive, head: Head) -> bool:
    """Tell whether a node's head is from before the archive's latest order: it tells nothing of the present."""
    return archive.bought_at is not None and head.height < archive.bought_at
