"""The pallets of this network's runtime: System, Timestamp, Balances, TransactionPayment and Market."""

from roadvault_devnet import rules, scale
from roadvault_devnet.pallets import BLAKE2_128, TWOX_64, Call, Constant, Event, Item, Pallet, Pallets
from roadvault_devnet.rules import Rules

_ZERO_U32 = scale.u32(0)
_ZERO_U64 = scale.u64(0)
_ZERO_U128 = scale.u128(0)
_ACCOUNT_SIZE = 76
_ADDRESS = "<T::Lookup as StaticLookup>::Source"
_FILE_TYPE = "{}<T::AccountId, BalanceOf<T>>"


def describe(chain_rules: Rules) -> Pallets:
    """Return the runtime that goes by these rules."""
    return Pallets((_system(), _timestamp(), _balances(), _transaction_payment(), _market(chain_rules)))


def _system() -> Pallet:
    return Pallet(
        "System",
        0,
        storage=(
            Item(
                "Account", "AccountInfo<T::Index, T::AccountData>", bytes(_ACCOUNT_SIZE), BLAKE2_128, key="T::AccountId"
            ),
            Item("BlockHash", "T::Hash", bytes(32), TWOX_64, key="T::BlockNumber"),
            Item("Number", "T::BlockNumber", _ZERO_U32),
            Item("ParentHash", "T::Hash", bytes(32)),
            Item("Events", "Vec<EventRecord<T::Event, T::Hash>>", b"\0"),
            Item("EventCount", "EventIndex", _ZERO_U32),
        ),
        calls=(Call("remark", (("_remark", "Vec<u8>"),)),),
        events=(
            Event("ExtrinsicSuccess", ("DispatchInfo",)),
            Event("ExtrinsicFailed", ("DispatchError", "DispatchInfo")),
        ),
        constants=(Constant("BlockHashCount", "T::BlockNumber", scale.u32(rules.BLOCK_HASH_COUNT)),),
        errors=(
            "InvalidSpecName",
            "SpecVersionNeedsToIncrease",
            "FailedToExtractRuntimeVersion",
            "NonDefaultComposite",
        ),
    )


def _timestamp() -> Pallet:
    return Pallet(
        "Timestamp",
        3,
        storage=(Item("Now", "T::Moment", _ZERO_U64),),
        calls=(Call("set", (("now", "Compact<T::Moment>"),)),),
    )


def _balances() -> Pallet:
    return Pallet(
        "Balances",
        6,
        storage=(Item("TotalIssuance", "T::Balance", _ZERO_U128),),
        calls=(Call("transfer", (("dest", _ADDRESS), ("value", "Compact<T::Balance>"))),),
        events=(
            Event("Endowed", ("AccountId", "Balance")),
            Event("DustLost", ("AccountId", "Balance")),
            Event("Transfer", ("AccountId", "AccountId", "Balance")),
            Event("BalanceSet", ("AccountId", "Balance", "Balance")),
            Event("Deposit", ("AccountId", "Balance")),
        ),
        constants=(Constant("ExistentialDeposit", "T::Balance", scale.u128(rules.EXISTENTIAL_DEPOSIT)),),
        errors=("VestingBalance", "LiquidityRestrictions", "Overflow", "InsufficientBalance"),
    )


def _transaction_payment() -> Pallet:
    fee = Constant("TransactionByteFee", "BalanceOf<T>", scale.u128(rules.FEE_PER_BYTE))
    return Pallet("TransactionPayment", 7, constants=(fee,))


def _without(name: str, *items: Item) -> tuple[Item, ...]:
    return tuple(item for item in items if item.name != name)


def _market(chain_rules: Rules) -> Pallet:
    generation = chain_rules.generation
    files_type = _FILE_TYPE.format(generation.files_type)
    order: tuple[tuple[str, str], ...] = (
        ("cid", "MerkleRoot"),
        ("reported_file_size", "u64"),
        ("tips", "Compact<BalanceOf<T>>"),
    )
    if chain_rules.memo:
        order += (("_memo", "Vec<u8>"),)
    return Pallet(
        "Market",
        32,
        storage=_without(
            chain_rules.lacks,
            Item(generation.files_item, files_type, default=None, hasher=TWOX_64, key="MerkleRoot"),
            Item("FileBaseFee", "BalanceOf<T>", _ZERO_U128),
            Item("FileByteFee", "BalanceOf<T>", _ZERO_U128),
            Item("FileKeysCountFee", "BalanceOf<T>", _ZERO_U128),
            Item("FileKeysCount", "u32", _ZERO_U32),
            Item("OrdersCount", "u32", _ZERO_U32),
            Item("EnableMarket", "bool", b"\0"),
        ),
        calls=(Call("place_storage_order", order),),
        events=(Event("FileSuccess", ("AccountId", "MerkleRoot")), Event("FileClosed", ("MerkleRoot",))),
        constants=(
            Constant("FileDuration", "BlockNumber", scale.u32(chain_rules.file_duration_blocks)),
            Constant("FileReplica", "u32", scale.u32(rules.FILE_REPLICA)),
            Constant("MaximumFileSize", "u64", scale.u64(generation.maximum_file_size)),
        ),
        errors=(
            "InsufficientCurrency",
            "InsufficientValue",
            "FileSizeNotCorrect",
            "FileNotExist",
            "FileTooLarge",
            "PlaceOrderNotAvailable",
        ),
    )
