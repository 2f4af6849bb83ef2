"""Keys and ciphers. AES-256-CTR for archives, Fernet (AES-128-CBC with HMAC-SHA-256) to wrap their keys."""

import os
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pydantic import SecretStr

from roadvault_common.errors import IntegrityError, SettingsError

KEY_BYTES = 32
IV_BYTES = 16
_BLOCK = 16
"""AES's block in bytes (FIPS 197): CTR counts one up for each."""


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
    """Wraps archive keys for the database. The first master key wraps; each of them unwraps."""

    def __init__(self, keys: SecretStr) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.get_secret_value().split(",")])
        except ValueError as error:
            raise SettingsError("ROADVAULT_MASTER_KEYS: each must be 32 bytes in URL-safe base64") from error

    def wrap(self, key: bytes) -> str:
        """Return `key` encrypted, as ASCII text of about 140 characters."""
        return self._fernet.encrypt(key).decode()

    def unwrap(self, wrapped: str, iv: str) -> ArchiveKey:
        """Return the archive's key from the row's `key` and `iv` columns.

        Raises:
            IntegrityError: None of the master keys wrapped it.
        """
        try:
            return ArchiveKey(self._fernet.decrypt(wrapped), bytes.fromhex(iv))
        except InvalidToken as error:
            raise IntegrityError(
                "none of the ROADVAULT_MASTER_KEYS unwraps this archive's key; add the key it was packed with"
            ) from error
