"""What stands on a recovery sheet: a page for all master keys, or a page for each share of each of them."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import NamedTuple

from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_operator.sheet import shares
from roadvault_operator.sheet.shares import Split


class Share(NamedTuple):
    """Which share stands on a page."""

    number: int
    shares: int
    threshold: int
    set: int


@dataclass(frozen=True)
class Secret:
    """What of a master key stands on a page: the key, or the words of one share."""

    key_id: str
    ipns_name: str
    text: str = field(repr=False)

    @classmethod
    def of(cls, key: str) -> "Secret":
        """Return a master key, given as the setting has it."""
        keys = MasterKeys(SecretStr(key))
        return cls(keys.ids[0], ipns_name(keys), key)


@dataclass(frozen=True)
class Page:
    """A sheet of paper: secrets of several master keys, or one share."""

    secrets: list[Secret]
    share: Share | None


@dataclass(frozen=True)
class Sheet:
    """All pages, and what stands on each of them."""

    pages: list[Page]
    account: str | None
    """Who pays for the storage; None before anything was bought."""
    catalogue: str | None
    """CID of the newest catalogue; None if none was published."""
    made: date = field(default_factory=lambda: datetime.now(UTC).date())
    keyring: list[str] = field(default_factory=list)
    """The lines of the keyring, which a master key opens; none where no archive has an end."""


def pages(master_keys: SecretStr, split: Split | None) -> list[Page]:
    """Return the pages of all master keys: those for one person, the shares of one number, follow each other.

    Raises:
        SettingsError: A master key is none.
    """
    texts = dict.fromkeys(key.strip() for key in master_keys.get_secret_value().split(","))
    keys = [Secret.of(text) for text in texts]
    if split is None:
        return [Page(keys, None)]
    sets = [(key, shares.split(urlsafe_b64decode(key.text), split)) for key in keys]
    return [
        Page([replace(key, text=words[index])], Share(index + 1, *split, shares.set_of(words[index])))
        for index in range(split.shares)
        for key, words in sets
    ]
