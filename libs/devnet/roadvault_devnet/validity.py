"""Whether a block could take an extrinsic: a node's checks in a node's order, with a node's words.

Codes and texts: sc-rpc-api's author errors and sp-runtime's transaction validity, in Substrate.
"""

from collections.abc import Callable
from dataclasses import dataclass

from roadvault_devnet import accounts, rules
from roadvault_devnet.accounts import Account
from roadvault_devnet.errors import invalid_transaction
from roadvault_devnet.extrinsic import Extrinsic
from roadvault_devnet.state import Read

STALE = "Transaction is outdated"
BAD_PROOF = "Transaction has a bad signature"
ANCIENT_BIRTH_BLOCK = "Transaction has an ancient birth block"
PAYMENT = "Inability to pay some fees (e.g. account balance too low)"

_OLDER_ERAS = 4
"""How many eras back a signature is looked for, to tell an outlived extrinsic from a forged one."""


@dataclass(frozen=True)
class Moment:
    """What the next block would go by: its height, the chain, the hash of a height, and the state before it."""

    number: int
    spec_version: int
    genesis: bytes
    hash_at: Callable[[int], bytes | None]
    read: Read


def check(sent: Extrinsic, moment: Moment) -> None:
    """Insist that an extrinsic is signed, not outlived, not used and paid for.

    A nonce from the future is fine: such an extrinsic waits in the pool.

    Raises:
        RpcError: It is not; code 1010.
    """
    _check_signature(sent, moment)
    account = accounts.read(moment.read, sent.signer)
    if sent.nonce < account.nonce:
        raise invalid_transaction(STALE)
    if not is_payable(sent, account):
        raise invalid_transaction(PAYMENT)


def is_payable(sent: Extrinsic, account: Account) -> bool:
    """Tell whether an account can pay an extrinsic's fee and live on: the deposit has to stay."""
    return account.free - sent.fee >= rules.EXISTENTIAL_DEPOSIT


def _check_signature(sent: Extrinsic, moment: Moment) -> None:
    birth = sent.era.birth(moment.number)
    if _is_signed_at(sent, birth, moment):
        return
    older = (birth - sent.era.period * eras for eras in range(1, _OLDER_ERAS + 1)) if sent.era.period else ()
    outlived = not _is_known(birth, moment) or any(_is_signed_at(sent, height, moment) for height in older)
    # A node takes an outlived signature for a bad one once the next era has begun. This network tells them apart
    # to the end, so that a client's "too late" can be tested at any age.
    raise invalid_transaction(ANCIENT_BIRTH_BLOCK if outlived else BAD_PROOF)


def _is_known(birth: int, moment: Moment) -> bool:
    recent = birth == 0 or moment.number - birth <= rules.BLOCK_HASH_COUNT
    return 0 <= birth < moment.number and recent


def _is_signed_at(sent: Extrinsic, birth: int, moment: Moment) -> bool:
    birth_hash = moment.hash_at(birth) if _is_known(birth, moment) else None
    return birth_hash is not None and sent.is_signed_for(moment.spec_version, moment.genesis, birth_hash)
