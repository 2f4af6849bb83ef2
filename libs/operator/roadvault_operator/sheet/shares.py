"""A master key as shares by SLIP-39 (https://github.com/satoshilabs/slips/blob/master/slip-0039.md).

A share is 33 words with a checksum. Any `threshold` shares of one set give the key; fewer tell nothing of it. With one
group and no passphrase any other tool for SLIP-39 reads them as well. The library is not constant in time: shares are
made and joined where nobody else runs anything.
"""

import re
from base64 import urlsafe_b64encode
from typing import NamedTuple

import shamir_mnemonic as slip39
from shamir_mnemonic import MnemonicError
from shamir_mnemonic.recovery import RecoveryState
from shamir_mnemonic.wordlist import WORDLIST

from roadvault_common.archive.crypto import KEY_BYTES
from roadvault_common.errors import PermanentError, SettingsError

_FEWEST, _MOST = 2, 16
"""Shares of a set: with fewer there is nothing to join, more SLIP-39 does not know."""
_WORDS = 33
"""Of a share of 32 bytes: 4 of numbers, 26 of the share, 3 of the checksum."""
_WORD = re.compile(r"[^\W\d]+")


class Split(NamedTuple):
    """Into how many shares a key is split, and how many give it back."""

    shares: int
    threshold: int

    def check(self) -> None:
        """Raise SettingsError unless that is possible, and of any use."""
        if not _FEWEST <= self.threshold <= self.shares <= _MOST:
            raise SettingsError(
                f"--shares {self.shares} --threshold {self.threshold}: at least {_FEWEST} shares have to be needed, no"
                f" more than there are, and there can't be more than {_MOST}"
            )


class ShareRefused(PermanentError):
    """Words are no share, or none that fits; the message has none of them."""


def split(secret: bytes, how: Split) -> list[str]:
    """Return the shares of a master key (32 bytes), the words of each in a line. Another set each time."""
    (group,) = slip39.generate_mnemonics(1, [(how.threshold, how.shares)], secret)
    for first in range(how.shares - how.threshold + 1):  # on paper it is too late to find out
        if slip39.combine_mnemonics(group[first : first + how.threshold]) != secret:
            raise AssertionError("shares do not give back what was split")
    return list(group)


def set_of(words: str) -> int:
    """Return the number of the set that a share belongs to; it tells nothing of the key."""
    return int(slip39.Share.from_mnemonic(words).identifier)


class Joining:
    """Takes shares one by one until there are enough."""

    def __init__(self) -> None:
        self._state = RecoveryState()
        self.taken = 0
        self.needed: int | None = None
        """How many shares the set takes; None before the first."""

    @property
    def complete(self) -> bool:
        """Whether the shares are enough."""
        return bool(self._state.is_complete())

    def add(self, text: str) -> int:
        """Take a share; return its number.

        Raises:
            ShareRefused: It is none, was taken already, or is of another set.
        """
        share = _parse(text)
        if not self._state.matches(share):
            assert self._state.parameters is not None  # noqa: S101 - there is a first share
            first = self._state.parameters.identifier
            raise ShareRefused(f"this share is of set {share.identifier}, the first was of set {first}: they don't fit")
        if share in self._state:
            raise ShareRefused(f"share {share.index + 1} was given already: another one is needed")
        try:
            self._state.add_share(share)
        except MnemonicError:
            raise ShareRefused("this share does not fit those before it: it is of another set") from None
        self.taken += 1
        self.needed = share.member_threshold
        return int(share.index) + 1

    def master_key(self) -> str:
        """Return the key as the setting takes it.

        Raises:
            ShareRefused: The shares are too few, do not fit together, or are of something else.
        """
        if not self.complete:
            needed = "none" if self.needed is None else f"{self.needed}"
            raise ShareRefused(
                f"{self.taken} shares were given, {needed} are needed" if self.taken else "no share was given"
            )
        try:
            secret = self._state.recover(b"")
        except MnemonicError:
            raise ShareRefused(
                "the shares do not fit together, though each is whole: one of them is not what was printed"
            ) from None
        if len(secret) != KEY_BYTES:
            raise ShareRefused(f"these are shares of {len(secret)} bytes; a master key has {KEY_BYTES}")
        return urlsafe_b64encode(secret).decode()


def _parse(text: str) -> slip39.Share:
    words = _WORD.findall(text.lower())  # not their numbers, with which they are printed
    unknown = [str(number) for number, word in enumerate(words, 1) if word not in WORDLIST]
    if unknown:
        raise ShareRefused(f"this is no share: word {', '.join(unknown[:5])} of {len(words)} is not in SLIP-39's list")
    try:
        share = slip39.Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        count = "" if len(words) == _WORDS else f"; it has {len(words)} words, a share of a master key has {_WORDS}"
        raise ShareRefused(f"this is no share: its checksum is wrong, so a word is wrong or missing{count}") from None
    if share.group_count != 1:
        raise ShareRefused("this share is of a set of several groups: another tool made it, and has to join it")
    return share
