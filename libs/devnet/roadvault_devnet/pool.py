"""Extrinsics that wait for a block. They are in memory only, as a node's are: a restart forgets them."""

from collections.abc import Callable, Iterator

from roadvault_devnet import accounts, validity
from roadvault_devnet.errors import ALREADY_IMPORTED, IMMEDIATELY_DROPPED, TOO_LOW_PRIORITY, RpcError
from roadvault_devnet.execution import Execution
from roadvault_devnet.extrinsic import Extrinsic
from roadvault_devnet.state import Read
from roadvault_devnet.validity import Moment

_LIMIT = 8192
"""Extrinsics; a node's pool takes as many."""

Status = str | dict[str, object]
Watcher = Callable[[Status], None]


class Watches:
    """Who wants to hear what becomes of an extrinsic (author_submitAndWatchExtrinsic)."""

    def __init__(self) -> None:
        self._watchers: dict[bytes, list[Watcher]] = {}

    def add(self, extrinsic_hash: bytes, watcher: Watcher) -> None:
        """Tell someone from now on."""
        self._watchers.setdefault(extrinsic_hash, []).append(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Tell someone no more."""
        for extrinsic_hash, watchers in list(self._watchers.items()):
            left = [other for other in watchers if other is not watcher]
            if left:
                self._watchers[extrinsic_hash] = left
            else:
                del self._watchers[extrinsic_hash]

    def tell(self, extrinsic_hash: bytes, status: Status, *, last: bool = False) -> None:
        """Pass a status on; after the last one nobody watches any more."""
        watchers = self._watchers.get(extrinsic_hash, [])
        if last:
            self._watchers.pop(extrinsic_hash, None)
        for watcher in list(watchers):
            watcher(status)


class Pool:
    """The waiting extrinsics, oldest first."""

    def __init__(self, watches: Watches) -> None:
        self._waiting: dict[bytes, Extrinsic] = {}
        self._watches = watches

    def __iter__(self) -> Iterator[Extrinsic]:
        return iter(list(self._waiting.values()))

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, sent: Extrinsic, moment: Moment) -> None:
        """Take an extrinsic in.

        Raises:
            RpcError: It waits already, no block could take it, or another one has its place.
        """
        if sent.hash in self._waiting:
            raise RpcError(ALREADY_IMPORTED, "Transaction Already Imported", f"[0x{sent.hash.hex()}]")
        validity.check(sent, moment)
        if len(self._waiting) >= _LIMIT:
            raise RpcError(IMMEDIATELY_DROPPED, "Immediately Dropped")
        rival = self._rival(sent)
        if rival is not None:
            if rival.tip >= sent.tip:
                raise RpcError(TOO_LOW_PRIORITY, f"Priority is too low: ({rival.tip} vs {sent.tip})")
            self._drop(rival, {"usurped": f"0x{sent.hash.hex()}"})
        self._waiting[sent.hash] = sent

    def _rival(self, sent: Extrinsic) -> Extrinsic | None:
        same = (other for other in self if (other.signer, other.nonce) == (sent.signer, sent.nonce))
        return next(same, None)

    def candidates(self, block: Execution) -> Iterator[Extrinsic]:
        """Yield what the block can take, each against the state that the one before left."""
        left = list(self)
        while True:
            taken = next((sent for sent in left if _fits(sent, block.state.get)), None)
            if taken is None:
                return
            left.remove(taken)
            yield taken

    def settle(self, included: list[bytes], moment: Moment) -> None:
        """Forget what is in a block now, by its hash, and what no later block could take."""
        for extrinsic_hash in included:
            self._waiting.pop(extrinsic_hash, None)
        for sent in self:
            try:
                validity.check(sent, moment)
            except RpcError:
                self._drop(sent, "invalid")

    def put_back(self, returned: list[Extrinsic], moment: Moment) -> None:
        """Take extrinsics in again whose block is gone: they come first, as far as they are still valid."""
        self._waiting = {**{sent.hash: sent for sent in returned}, **self._waiting}
        self.settle([], moment)

    def next_nonce(self, public_key: bytes, read: Read) -> int:
        """Return the nonce after those that are used and those that wait in line."""
        nonce = accounts.read(read, public_key).nonce
        waiting = {sent.nonce for sent in self if sent.signer == public_key}
        while nonce in waiting:
            nonce += 1
        return nonce

    def _drop(self, sent: Extrinsic, status: Status) -> None:
        del self._waiting[sent.hash]
        self._watches.tell(sent.hash, status, last=True)


def _fits(sent: Extrinsic, read: Read) -> bool:
    account = accounts.read(read, sent.signer)
    return sent.nonce == account.nonce and validity.is_payable(sent, account)
