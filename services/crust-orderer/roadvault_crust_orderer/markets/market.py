"""What the orderer needs of a place that sells storage, whichever it is.

Heights are blocks (of 6 s), amounts planck (1 CRU = 10^12 planck), sizes bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from roadvault_common.errors import TransientError

MIB = 1 << 20
FILE_DURATION = 2_592_000
"""Blocks that an order lasts, 180 days of 6 s, where a market does not tell."""


@dataclass(frozen=True)
class Head:
    """The finalized head: what is below it stays. `term` is how many blocks an order lasts that is placed now."""

    height: int
    block_hash: str
    term: int = FILE_DURATION


class EntryUnreadable(TransientError):
    """What the market says of one CID makes no sense: that CID's trouble, and nobody else's."""

    code = "market_unreadable"


MOST_HEIGHT = (1 << 32) - 1
"""A chain's heights have 32 bits; of blocks of 6 s these are 816 years."""
_MOST_BYTES, _MOST_REPLICAS = (1 << 63) - 1, (1 << 31) - 1


@dataclass(frozen=True)
class FileInfo:
    """What the market knows of a CID. `expires` is None until the first replica.

    `calculated` is the block of the latest order or reward calculation: it moves, and nothing is decided by it. What
    the database has no room for is refused (ValueError).
    """

    size: int
    calculated: int
    expires: int | None
    replicas: int

    def __post_init__(self) -> None:
        most = {
            "size": (self.size, _MOST_BYTES),
            "calculated": (self.calculated, MOST_HEIGHT),
            "expires": (self.expires or 0, MOST_HEIGHT),
            "replicas": (self.replicas, _MOST_REPLICAS),
        }
        for name, (value, limit) in most.items():
            if not 0 <= value <= limit:
                raise ValueError(f"{name} is not from 0 to {limit}")


Found = FileInfo | TransientError | None
"""What comes of a look at a CID among others: None if the market does not know it, or what went wrong with it alone."""


def mebibytes(size: int) -> int:
    """Return a size in MiB, rounded up: so markets charge for it."""
    return -(-size // MIB)


@dataclass(frozen=True)
class Renewals:
    """Orders that have to be renewed: how many, and their sizes together, in MiB that are rounded up for each."""

    archives: int
    mebibytes: int


@dataclass(frozen=True)
class Offer:
    """What an order of some size would cost now, and whether it can be placed.

    `flat` is the part of the price that is the same for any size, with the tip; `per_mebibyte` is asked for each MiB.
    `balance` is what the account can spend, `largest` the size that an archive must stay under.
    """

    flat: int
    per_mebibyte: int
    mebibytes: int
    fee: int
    balance: int
    market_open: bool
    largest: int

    @property
    def price(self) -> int:
        """What the market takes, planck."""
        return self.flat + self.per_mebibyte * self.mebibytes

    @property
    def total(self) -> int:
        """Price and transaction fee together, planck."""
        return self.price + self.fee

    def cost(self, renewals: Renewals) -> int:
        """Return what renewals would cost at these prices, planck."""
        return renewals.archives * (self.flat + self.fee) + renewals.mebibytes * self.per_mebibyte


@dataclass(frozen=True)
class Signed:
    """An order that is signed and not yet sent. It can be included in blocks from `birth` up to below `death`."""

    account: str
    nonce: int
    birth: int
    death: int
    extrinsic_hash: str
    extrinsic: str


@dataclass(frozen=True)
class Included:
    """An extrinsic was found in a finalized block; `error` is the dispatch error's name, None for success.

    Where the market can't tell any more what became of it, or whether it was there at all, `known` is False and `error`
    says why: then the files that the market has must decide. `block` is the first that it can be in. `block_hash` is
    known where the market is a chain, and the extrinsic was seen there.
    """

    block: int
    error: str | None
    known: bool = True
    block_hash: str | None = None


class Market(Protocol):
    """One account at one market. Methods raise ChainUnavailable while the market is away."""

    @property
    def account(self) -> str:
        """Who pays: an address, or the name of an account with a service."""

    async def identity(self) -> str:
        """Return what tells this market from all others; a purchase is settled only where it was made."""

    async def ping(self) -> tuple[str, int]:
        """Return the market's identity and height if it can be reached and is up to date, within a few seconds."""

    async def head(self) -> Head:
        """Return the finalized head."""

    async def head_to_look_at(self) -> Head:
        """Return the finalized head for `files`: who looks at many waits for nobody who pays."""

    async def file(self, cid: str, at: Head) -> FileInfo | None:
        """Return what the market knows of a CID at a finalized block, or None.

        Raises:
            EntryUnreadable: What it says makes no sense.
        """

    async def files(self, cids: Sequence[str], at: Head) -> dict[str, Found]:
        """Return what the market knows of many CIDs at a finalized block."""

    async def offer(self, cid: str, size: int) -> Offer:
        """Return what an order would cost now."""

    async def sign(self, cid: str, size: int) -> Signed:
        """Make an order ready to be sent; nothing is sent. What it returns is recorded before `submit`."""

    async def submit(self, extrinsic: str) -> str | None:
        """Send an order; None if the market took it or has it, else why it refused. May be repeated."""

    async def find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:
        """Look for a sent order in the finalized blocks `first` to `last`."""
