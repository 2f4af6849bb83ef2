"""Keys and ciphers: AES-256-CTR for archives; their keys are wrapped by the master keys.

In the rows that is Fernet (AES-128-CBC with HMAC-SHA-256); on labels, which lie in public for decades, AES key wrap
with 256 bits (RFC 3394) under a key that is derived from the master key (HKDF-SHA256, RFC 5869).
"""

import binascii
import hashlib
import os
from base64 import urlsafe_b64decode
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

from roadvault_common.errors import IntegrityError, MasterKeyMissing, SettingsError

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


class Use(StrEnum):
    """What a key is derived from a master key for: the `info` of HKDF."""

    ARCHIVE_KEY = "roadvault archive key"
    CATALOGUE = "roadvault catalogue"
    IPNS = "roadvault ipns"


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

    def unwrap(self, wrapped: str, iv: str, master_key: str | None = None) -> ArchiveKey:
        """Return the archive's key from the row's `key`, `iv` and `master_key` columns.

        Raises:
            MasterKeyMissing: The master key that wrapped it is not among ours: once it is added, all is well.
            IntegrityError: The column is damaged.
        """
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

    def seal(self, key: bytes) -> bytes:
        """Return an archive's key as it stands on a label, wrapped under the first master key: 40 bytes."""
        return aes_key_wrap(self.derive(Use.ARCHIVE_KEY), key)

    def unseal(self, sealed: bytes, master_key: str) -> bytes:
        """Return an archive's key from its label, which names the master key by its id.

        Raises:
            MasterKeyMissing: That one is not among ours.
            IntegrityError: It did not wrap this, or what it wrapped is damaged.
        """
        try:
            return aes_key_unwrap(self.derive(Use.ARCHIVE_KEY, master_key), sealed)
        except (InvalidUnwrap, ValueError) as error:
            raise IntegrityError(f"the key on the label is damaged: {master_key} does not unwrap it") from error

    def wrapped_by(self, wrapped: str) -> str | None:
        """Return the id of the master key that wrapped a key; None if it is none of ours."""
        for name, fernet in self._named.items():
            try:
                fernet.decrypt(wrapped)
            except (InvalidToken, ValueError):
                continue
            return name
        return None


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
