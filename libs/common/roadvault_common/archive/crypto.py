"""Keys and ciphers: AES-256-CTR for archives; their keys are wrapped by the master keys.

In the rows that is Fernet (AES-128-CBC with HMAC-SHA-256); on labels, which lie in public for decades, AES key wrap
with 256 bits (RFC 3394) under a key that is derived from the master key (HKDF-SHA256, RFC 5869).
"""

import binascii
import hashlib
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from pydantic import SecretStr

from roadvault_common.errors import Ended, IntegrityError, MasterKeyMissing, SettingsError

KEY_BYTES = 32
IV_BYTES = 16
_BLOCK = 16
"""AES's block in bytes (FIPS 197): CTR counts one up for each."""
KEY_ID_LENGTH = 16
"""Characters of a master key's id."""
_TOKEN_BYTES = 57
"""Of a Fernet token, besides its ciphertext: version 1, time 8, IV 16, HMAC 32."""
CIPHER: Final = "AES-256-CTR"
"""How labels call the cipher of archives."""
WRAP: Final = "AES-256-KW, HKDF-SHA256"
"""How labels call the wrapping of archives' keys."""
PERIOD_WRAP: Final = "AES-256-KW, HKDF-SHA256, period key"
"""The same, of archives that have an end."""
SHREDDED: Final = "shredded"
"""`master_key` of an archive that has ended: its key was destroyed."""


class Use(StrEnum):
    """What a key is derived from a master key for: the `info` of HKDF."""

    ARCHIVE_KEY = "roadvault archive key"
    CATALOGUE = "roadvault catalogue"
    IPNS = "roadvault ipns"
    KEYRING = "roadvault keyring"


@dataclass(frozen=True)
class ArchiveKey:
    """What one archive is encrypted with. New for each attempt at packing: a counter is never used twice."""

    key: bytes = field(repr=False)
    iv: bytes

    @classmethod
    def new(cls) -> "ArchiveKey":
        """Make a random key and initial counter block."""
        return cls(os.urandom(KEY_BYTES), os.urandom(IV_BYTES))

    def stream(self, offset: int = 0) -> CipherContext:
        """Return a cipher that stands at byte `offset`; in CTR encrypting and decrypting are the same."""
        counter = (int.from_bytes(self.iv) + offset // _BLOCK) % (1 << 128)
        context = Cipher(AES256(self.key), CTR(counter.to_bytes(IV_BYTES))).encryptor()
        context.update(bytes(offset % _BLOCK))
        return context


class MasterKeys:
    """Wraps archive keys for the database. The first master key wraps; each of them unwraps.

    `ids` names them, in the order of the setting, without telling anything of them.
    """

    def __init__(self, keys: SecretStr) -> None:
        texts = [key.strip() for key in keys.get_secret_value().split(",")]
        try:
            named = {_name(text): Fernet(text) for text in texts}
        except ValueError as error:
            raise SettingsError("ROADVAULT_MASTER_KEYS: each must be 32 bytes in URL-safe base64") from error
        self.ids = tuple(named)
        self._fernet = MultiFernet(list(named.values()))
        self._named = named
        self._secrets = {_name(text): urlsafe_b64decode(text) for text in texts}

    def wrap(self, key: bytes) -> str:
        """Return `key` encrypted under the first master key, as ASCII text of about 140 characters."""
        return self._fernet.encrypt(key).decode()

    def unwrap(self, wrapped: str, iv: str, master_key: str | None = None, period_key: str | None = None) -> ArchiveKey:
        """Return the archive's key from the row's `key`, `iv` and `master_key` columns.

        `period_key` is the period key that wraps it, itself wrapped by one of ours, of an archive that has an end.

        Raises:
            MasterKeyMissing: The master key that wrapped it is not among ours: once it is added, all is well.
            IntegrityError: The column is damaged.
            Ended: Its key was destroyed.
        """
        if master_key == SHREDDED:
            raise Ended("the archive has ended, and its key was destroyed: nothing brings it back")
        if period_key is not None:
            return self.unwrap_period(period_key).unwrap(wrapped, iv, master_key)
        try:
            return ArchiveKey(self._fernet.decrypt(wrapped), bytes.fromhex(iv))
        except (InvalidToken, ValueError) as error:  # ValueError: it is not even ASCII
            if master_key in self.ids or not _is_token(wrapped):
                raise IntegrityError("the archive's key, as its row has it, is damaged; restore the row") from error
            raise MasterKeyMissing(
                f"the archive's key is wrapped by the master key {master_key or '(not noted which)'}, and"
                f" ROADVAULT_MASTER_KEYS has {', '.join(self.ids)}: add that key to it; `roadvault master-keys` tells"
                " which archives need which"
            ) from error

    def unwrap_period(self, wrapped: str, period: str = "") -> "PeriodKey":
        """Return a period key from its row's columns.

        Raises:
            MasterKeyMissing: None of ours wrapped it.
        """
        try:
            return PeriodKey(period, SecretStr(self._fernet.decrypt(wrapped).decode()))
        except (InvalidToken, ValueError) as error:
            raise MasterKeyMissing(
                f"none of ROADVAULT_MASTER_KEYS ({', '.join(self.ids)}) wrapped the period key {period}; `roadvault"
                " master-keys` tells which one did"
            ) from error

    def rewrap(self, wrapped: str) -> str:
        """Return a key that one of ours wraps, wrapped by the first."""
        return self._fernet.rotate(wrapped).decode()

    def derive(self, use: Use, master_key: str | None = None) -> bytes:
        """Return 32 bytes for a use, derived from the first master key, or from the one with the id `master_key`.

        Raises:
            MasterKeyMissing: There is none with that id.
        """
        name = self.ids[0] if master_key is None else master_key
        if name not in self._secrets:
            raise MasterKeyMissing(
                f"the master key {name} is needed, and ROADVAULT_MASTER_KEYS has {', '.join(self.ids)}: add it"
            )
        return HKDF(SHA256(), KEY_BYTES, None, use.encode()).derive(self._secrets[name])

    def seal(self, key: bytes, use: Use = Use.ARCHIVE_KEY) -> bytes:
        """Return an archive's key as it stands on a label, wrapped under the first master key: 40 bytes."""
        return aes_key_wrap(self.derive(use), key)

    def unseal(self, sealed: bytes, master_key: str, use: Use = Use.ARCHIVE_KEY) -> bytes:
        """Return what was sealed, such as an archive's key from its label, which names the master key by its id.

        Raises:
            MasterKeyMissing: That one is not among ours.
            IntegrityError: It did not wrap this, or what it wrapped is damaged.
        """
        try:
            return aes_key_unwrap(self.derive(use, master_key), sealed)
        except (InvalidUnwrap, ValueError) as error:
            where = "in the keyring" if use is Use.KEYRING else "on the label"
            raise IntegrityError(f"the key {where} is damaged: {master_key} does not unwrap it") from error

    def wrapped_by(self, wrapped: str) -> str | None:
        """Return the id of the master key that wrapped a key; None if it is none of ours."""
        for name, fernet in self._named.items():
            try:
                fernet.decrypt(wrapped)
            except (InvalidToken, ValueError):
                continue
            return name
        return None


class PeriodKey(MasterKeys):
    """The key of one month: it wraps, as a master key does, the keys of archives that end in that month.

    It is on no network. Who destroys it shreds what is there of those archives.
    """

    def __init__(self, period: str, key: SecretStr) -> None:
        super().__init__(key)
        self.period = period
        """The month, as 2027-03."""
        self.text = key
        self.secret = urlsafe_b64decode(key.get_secret_value())

    @classmethod
    def new(cls, period: str) -> "PeriodKey":
        """Make a random one."""
        return cls.of(period, os.urandom(KEY_BYTES))

    @classmethod
    def of(cls, period: str, key: bytes) -> "PeriodKey":
        """Return the one that has these 32 bytes."""
        return cls(period, SecretStr(urlsafe_b64encode(key).decode()))

    @property
    def id(self) -> str:
        """What names it, without telling anything of it."""
        return self.ids[0]


def _name(key: str) -> str:
    """Return a master key's id: 64 bits of its SHA-256, which tell nothing of 256 random bits."""
    return hashlib.sha256(b"roadvault master key " + key.encode()).hexdigest()[:KEY_ID_LENGTH]


def _is_token(wrapped: str) -> bool:
    """Tell whether a text has the form of a Fernet token: version, time, IV, whole blocks, HMAC (its specification)."""
    try:
        token = urlsafe_b64decode(wrapped)
    except (binascii.Error, ValueError):
        return False
    return token[:1] == b"\x80" and len(token) > _TOKEN_BYTES and (len(token) - _TOKEN_BYTES) % _BLOCK == 0
