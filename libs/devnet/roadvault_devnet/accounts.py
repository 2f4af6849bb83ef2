"""Accounts: nonce and balance (Substrate's AccountInfo with two reference counts), and their addresses."""

from dataclasses import dataclass, replace
from hashlib import blake2b

from substrateinterface.utils.ss58 import ss58_decode

from roadvault_devnet import keys, scale
from roadvault_devnet.state import Overlay, Read


@dataclass(frozen=True)
class Account:
    """One account. Balances are in planck; `frozen` and `reserved` stay 0 here, nothing locks funds."""

    nonce: int = 0
    free: int = 0

    def encode(self) -> bytes:
        """Return it as the chain stores it: nonce, consumers, providers, then four balances."""
        providers = int(self.free > 0)
        counts = scale.u32(self.nonce) + scale.u32(0) + scale.u32(providers)
        return counts + scale.u128(self.free) + bytes(48)


def read(state: Read, public_key: bytes) -> Account:
    """Return an account; one that was never used has nothing."""
    stored = state(keys.account(public_key))
    if stored is None:
        return Account()
    cursor = scale.Cursor(stored)
    nonce = cursor.unsigned(4)
    cursor.take(8)
    return Account(nonce, cursor.unsigned(16))


def write(state: Overlay, public_key: bytes, account: Account) -> None:
    """Store an account."""
    state.put(keys.account(public_key), account.encode())


def add(state: Overlay, public_key: bytes, planck: int) -> None:
    """Change a free balance by so many planck; the caller knows that it does not fall below 0."""
    account = read(state.get, public_key)
    write(state, public_key, replace(account, free=account.free + planck))


def pot(name: str) -> bytes:
    """Return the account that a pallet keeps funds in: no one has its key."""
    return blake2b(f"modl/market/{name}".encode(), digest_size=32).digest()


def public_key_of(address: str) -> bytes:
    """Return the public key of an SS58 address of any network.

    Raises:
        ValueError: It is no address.
    """
    key = bytes.fromhex(ss58_decode(address))
    if len(key) != 32:  # noqa: PLR2004 - the size of every public key here
        raise ValueError(f"{address} is not the address of an account")
    return key
