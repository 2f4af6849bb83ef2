"""What this chain is: the numbers of its runtime, and those that can be turned while it runs.

Blocks, bytes and planck, as everywhere on the chain; 1 CRU = 10^12 planck.
"""

from dataclasses import dataclass
from enum import StrEnum

GIB = 1 << 30
MIB = 1 << 20

SS58_FORMAT = 66
TOKEN_DECIMALS = 12
TOKEN_SYMBOL = "CRU"  # noqa: S105 - the coin's name, not a secret

TRANSACTION_VERSION = 1
BLOCK_HASH_COUNT = 2400
"""So many block hashes an extrinsic's era can refer to; Substrate's usual value."""

STATE_BLOCKS = 256
"""A node that keeps no archive forgets the state of blocks that lie further than this behind the finalized one."""

FILE_REPLICA = 4
"""The market pays so many replicas of a file (market pallet, FileReplica)."""
STORED_REPLICAS = 200
"""The market keeps no more than this many replicas of a file by name; the count goes on."""

STAKING_PERCENT, STORAGE_PERCENT = 72, 18
"""How the market divides the price of an order; the rest is its reserve (StakingRatio, StorageRatio)."""

FEE_BASE = 1_000_000_000
FEE_PER_BYTE = 1_000_000
"""Transaction fee in planck: of the order of Crust's own, a few milli-CRU for an order."""

EXISTENTIAL_DEPOSIT = 100_000_000
"""Planck that an account has to keep: Crust's own value (Balances.ExistentialDeposit)."""

GENESIS_FILE_BASE_FEE = 1_200_000_000
GENESIS_FILE_BYTE_FEE = 60_000
GENESIS_FILE_KEYS_COUNT_FEE = 240_000
"""Planck for an order, for each MiB of it, and for there being files at all. They move with every order."""


class Generation(StrEnum):
    """Which of Crust's runtimes this is like."""

    V1 = "v1"
    """Files in `Market.Files`, replicas a list: the Rocky test network, spec 4."""
    V2 = "v2"
    """Files in `Market.FilesV2`, replicas a map: the current runtime, spec 25."""

    @property
    def spec_version(self) -> int:
        """The runtime's version, part of what is signed."""
        return 4 if self is Generation.V1 else 25

    @property
    def files_item(self) -> str:
        """Name of the map of files."""
        return "Files" if self is Generation.V1 else "FilesV2"

    @property
    def files_type(self) -> str:
        """Type of its values."""
        return "FileInfo" if self is Generation.V1 else "FileInfoV2"

    @property
    def maximum_file_size(self) -> int:
        """Bytes; an order must stay strictly below."""
        return 32 * GIB if self is Generation.V1 else 8 * GIB


@dataclass
class Rules:
    """What one chain goes by. The control door turns them until a restart; an upgrade stays."""

    generation: Generation
    memo: bool
    file_duration_blocks: int
    block_seconds: float
    finality_lag: int
    replicas_per_block: int
    max_replicas: int
    hold_blocks: bool = False
    hold_finality: bool = False
    syncing: bool = False
    lose_answer: int = 0
    refusal: tuple[int, str] | None = None
    peerless: bool = False
    """The node says that it should have peers and has none."""
    bodies: int | None = None
    """The node has forgotten the bodies of blocks that lie further than this behind the finalized one."""
    spoil_events: str = ""
    """`unknown`: each block has an event that no metadata describes; `none`: it has none at all."""
    dispatch_error: str = ""
    """With this encoded error, in hexadecimal, every extrinsic fails in its block."""
    answer_seconds: float = 0
    """How long each answer takes on its way."""
    most_keys: int | None = None
    """For more storage keys than that in one call the node refuses; with 0 it does not know the method at all."""
    lacks: str = ""
    """An item that the market's storage does not have."""
