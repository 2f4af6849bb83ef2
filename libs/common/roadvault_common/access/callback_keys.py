"""Keys that callbacks are signed with, one for each token, as Standard Webhooks describe.

In the database they are wrapped, by keys that are for nothing else: the notifier calls whom strangers name, and is not
to have the master keys of archives.
"""

import os
from base64 import b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import Field, SecretStr

from roadvault_common.errors import SettingsError, Waiting
from roadvault_common.settings.config import EnvironmentSettings
from roadvault_common.sql.db import Database, Transaction

KEY_PREFIX = "whsec_"
_KEY_BYTES = 32


class CallbackKeySettings(EnvironmentSettings):
    """For who signs callbacks, and who makes the keys for that."""

    callback_master_keys: SecretStr | None = Field(
        None,
        title="Callback master keys",
        description="Fernet keys separated by commas, other ones than the archives'; the first wraps tokens' callback"
        " keys, all unwrap them",
    )


class CallbackKeyMissing(Waiting):
    """The settings lack what wrapped a token's callback key."""

    code = "callback_key_missing"


class CallbackKeys:
    """Wraps and unwraps callback keys."""

    def __init__(self, keys: SecretStr | None) -> None:
        """Take the keys of the setting, if there are any.

        Raises:
            SettingsError: They are none.
        """
        texts = [] if keys is None else [key.strip() for key in keys.get_secret_value().split(",")]
        try:
            self._fernet = MultiFernet([Fernet(text) for text in texts]) if texts else None
        except ValueError:
            raise SettingsError("ROADVAULT_CALLBACK_MASTER_KEYS: each must be 32 bytes in URL-safe base64") from None

    @property
    def there(self) -> bool:
        """Whether there are any: without them no token gets a callback key."""
        return self._fernet is not None

    def wrap(self, key: str) -> str:
        """Return a callback key as its row has it.

        Raises:
            SettingsError: There is nothing to wrap it.
        """
        if self._fernet is None:
            raise SettingsError("ROADVAULT_CALLBACK_MASTER_KEYS is not set: nothing wraps callback keys")
        return self._fernet.encrypt(key.encode()).decode()

    def unwrap(self, wrapped: str) -> SecretStr:
        """Return a callback key from its row.

        Raises:
            CallbackKeyMissing: Nothing of ours wrapped it: once the settings have that, all is well.
        """
        try:
            if self._fernet is not None:
                return SecretStr(self._fernet.decrypt(wrapped).decode())
        except (InvalidToken, ValueError):
            pass
        raise CallbackKeyMissing("ROADVAULT_CALLBACK_MASTER_KEYS lacks the key that wrapped this token's callback key")


def new_key() -> str:
    """Make a callback key."""
    return KEY_PREFIX + b64encode(os.urandom(_KEY_BYTES)).decode()


async def add(tx: Transaction, token_id: int, wrapped: str) -> None:
    """Give a token its key."""
    await tx.execute("INSERT INTO callback_key_info (token_id, `key`) VALUES (%s, %s)", (token_id, wrapped))


async def rotate(tx: Transaction, token_id: int, wrapped: str, overlap_seconds: float) -> None:
    """Give a token another key; those that it had sign for a while longer, then they are removed."""
    await tx.execute(
        "DELETE FROM callback_key_info WHERE token_id = %s AND until <= UTC_TIMESTAMP(6)",
        (token_id,),
    )
    await tx.execute(
        "UPDATE callback_key_info SET until = UTC_TIMESTAMP(6) + INTERVAL %s SECOND"
        " WHERE token_id = %s AND (until IS NULL OR until > UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
        (overlap_seconds, token_id, overlap_seconds),
    )
    await add(tx, token_id, wrapped)


async def of_token(db: Database, token_id: int) -> list[str]:
    """Return the keys that sign for a token now, wrapped, the newest first."""
    rows = await db.fetch_all(
        "SELECT `key` FROM callback_key_info WHERE token_id = %s AND (until IS NULL OR until > UTC_TIMESTAMP(6))"
        " ORDER BY key_id DESC",
        (token_id,),
    )
    return [row["key"] for row in rows]
