"""Passwords of accounts: argon2id, with the parameters that RFC 9106 has for where memory is short."""

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from roadvault_common.errors import PermanentError

SHORTEST, LONGEST = 12, 1000
_HASHER = PasswordHasher()  # 64 MiB, 3 passes, 4 lanes
_NOBODYS = (  # of a password that was thrown away; to make one at each start takes as long as a log-in, and 64 MiB
    "$argon2id$v=19$m=65536,t=3,p=4$vN4WVaZE8j1T524AcNqD2g$xFbh0rZFMLJAQ2klipZHPRm1cpmrFQbP++JTshn2zRU"
)


def hashed(password: str, name: str) -> str:
    """Return what is kept of a password.

    Raises:
        PermanentError: It is too short, too long, or the name.
    """
    if not SHORTEST <= len(password) <= LONGEST or password.casefold() == name.casefold():
        raise PermanentError(f"a password has {SHORTEST} to {LONGEST} characters, and is not the name")
    return _HASHER.hash(_same(password))


def right(kept: str | None, password: str) -> bool:
    """Tell whether a password is the one; where there is none (no such account), it takes as long to say no."""
    try:
        _HASHER.verify(kept or _NOBODYS, _same(password[:LONGEST]))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def _same(password: str) -> str:
    """Return it as all keyboards write it: letters with accents come in two ways."""
    return unicodedata.normalize("NFC", password)
