"""What can go wrong, as one tree.

    RoadVaultError
    ├── TransientError            worth another try later; an attempt that ends so counts
    │   ├── Outage                a server or the disk fails everybody: its domain's breaker opens, nothing is counted
    │   │   ├── DatabaseUnavailable   database
    │   │   │   └── CommitUnknown     COMMIT was sent, its answer was lost: read the row again
    │   │   ├── RedisUnavailable      redis
    │   │   ├── ChainUnavailable      market: the node is away, not synced, or dropped the connection
    │   │   ├── DiskFull              disk
    │   │   ├── IpfsDiskFull          ipfs disk: a Kubo can store nothing more; also an IpfsUnavailable
    │   │   ├── IpfsAway              ipfs: Kubo can't be reached, or works for nobody; also an IpfsUnavailable
    │   │   └── NetworkAway           network: our Kubo is well and has no peer; also an IpfsUnavailable
    │   ├── Waiting               this row has to wait for something outside it, others don't: nothing is counted
    │   │   ├── MasterKeyMissing      the settings lack the master key that wrapped an archive's key
    │   │   ├── NoProvider            nobody on the network gives what was asked for; also an IpfsUnavailable
    │   │   └── PinBroken             Kubo collects no garbage, as other archives have rotted; also an IpfsUnavailable
    │   └── IpfsUnavailable       Kubo answers 5xx, or what it gives is wrong: perhaps because of this one archive
    │       └── IpfsRotten            what the gateway's node holds of a block is not that block any more
    ├── PermanentError            another try changes nothing; a person has to look
    │   ├── IntegrityError        bytes are not what their hash says
    │   ├── SettingsError         the operator has to change a setting
    │   ├── Ended                 the archive's time was over, and its key was destroyed: there is nothing left to do
    │   └── IdentityMismatch      database and data directory don't belong together: nothing may be served or removed
    └── LeaseLost                 somebody else works on the row now; write nothing

Adapters raise them where the fault arises; `roadvault_common.work.worker` turns them into outcomes.
"""

from enum import StrEnum
from typing import ClassVar

from aiohttp import ClientPayloadError, ClientResponseError, InvalidURL

from roadvault_common.plain import plain
from roadvault_common.urls import shortened

_BRIEF = 400


class Domain(StrEnum):
    """What can be away for everybody at once; each has a breaker in each process that needs it."""

    DATABASE = "database"
    REDIS = "redis"
    IPFS = "ipfs"
    IPFS_DISK = "ipfs disk"
    NETWORK = "network"
    MARKET = "market"
    DISK = "disk"
    CALLBACK_HOST = "callback host"


Value = str | int | float
"""What a parameter of a reason may be."""


class RoadVaultError(Exception):
    """Root of the tree.

    `code` and `params` are what a row's reason says besides the words (`roadvault_common.work.reasons`): a kind of
    error has its code, and who raises one may give another.
    """

    code: str = "trouble"

    def __init__(self, *args: object, code: str | None = None, **params: Value) -> None:
        super().__init__(*args)
        self.params = params
        if code is not None:
            self.code = code


class TransientError(RoadVaultError):
    """Worth another try later."""


class PermanentError(RoadVaultError):
    """Another try changes nothing; a person has to look."""

    code = "refused"


class Outage(TransientError):
    """A server or the disk fails everybody; waiting for it counts against no row."""

    code = "outage"
    domain: ClassVar[Domain | None] = None
    """What is away, where the kind of the error tells."""


class Waiting(TransientError):
    """This row has to wait for something outside it, which need not concern others; it counts against no row."""


class DatabaseUnavailable(Outage):
    """The database is away, or dropped the connection."""

    code = "database_away"
    domain = Domain.DATABASE


class CommitUnknown(DatabaseUnavailable):
    """COMMIT was sent and its answer was lost: whether it took place is for the rows to tell."""


class RedisUnavailable(Outage):
    """Redis is away; rows are still worked on by the sweeps."""

    code = "redis_away"
    domain = Domain.REDIS


class IpfsUnavailable(TransientError):
    """Kubo is away, answers with a server error, or what it gives is wrong."""

    code = "ipfs_trouble"


class IpfsRotten(IpfsUnavailable):
    """What the gateway's node holds of a block has rotted or is gone; believing to have it, it asks nobody for it."""

    code = "ipfs_rotten"


class IpfsAway(IpfsUnavailable, Outage):
    """Kubo can't be reached at all, or a check has shown that it works for nobody."""

    code = "ipfs_away"
    domain = Domain.IPFS


class IpfsDiskFull(IpfsUnavailable, Outage):
    """A Kubo's disk has no room for what is to be stored; it still gives what it has, unpins, and collects garbage."""

    code = "ipfs_disk_full"
    domain = Domain.IPFS_DISK


class NetworkAway(IpfsUnavailable, Outage):
    """Our Kubo is well and has no peer: nothing can be brought from the network."""

    code = "no_peers"
    domain = Domain.NETWORK


class NoProvider(IpfsUnavailable, Waiting):
    """Nobody on the network gives what was asked for, or nothing of it comes: perhaps only of this archive."""

    code = "no_provider"


class PinBroken(IpfsUnavailable, Waiting):
    """Kubo collects no garbage while it can't read all that is pinned: perhaps another archive than this one."""

    code = "pin_broken"


class ChainUnavailable(Outage):
    """The chain's node is away, not synced, or dropped the connection."""

    code = "market_away"
    domain = Domain.MARKET


class DiskFull(Outage):
    """The data directory has no room for what is to be written."""

    code = "disk_full"
    domain = Domain.DISK


class MasterKeyMissing(Waiting):
    """The settings lack the master key that wrapped an archive's key: nothing is wrong with the archive."""

    code = "master_key_missing"


class IntegrityError(PermanentError):
    """Bytes are not what their hash says."""

    code = "damaged"


class SettingsError(PermanentError):
    """The operator has to change a setting."""

    code = "setting"


class Ended(PermanentError):
    """The archive's time was over, and its key was destroyed: nothing brings it back, and nothing is left to do."""

    code = "ended"


class IdentityMismatch(PermanentError):
    """Database and data directory don't belong together, or no longer: nothing may be served or removed."""

    code = "identity_mismatch"


class LeaseLost(RoadVaultError):
    """The row's lease is no longer ours; nothing may be written."""

    code = "lease_lost"


def brief(error: BaseException) -> str:
    """Return the error in one plain line of at most `_BRIEF` characters, for a row's reason or a log line.

    Libraries quote URLs, in which keys may be: only their hosts are left of them. Nor is an answer quoted that was no
    HTTP.
    """
    text = plain(" ".join(str(error).split())) or "no further detail"
    line = text if isinstance(error, RoadVaultError) else f"{type(error).__name__}: {_words(error, text)}"
    return line if len(line) <= _BRIEF else line[: _BRIEF - 1] + "…"


def _words(error: BaseException, text: str) -> str:
    if isinstance(error, ClientResponseError):
        return f"HTTP {error.status}"
    if isinstance(error, InvalidURL):
        return "there is no host in it"
    if isinstance(error, ClientPayloadError):
        return "the answer broke off, or is no HTTP"
    return shortened(text)
