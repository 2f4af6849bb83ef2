"""The keyring: all period keys that live, as a small text that only a master key opens; likewise on recovery sheets.

A line for each key: its month, its id, the id of the master key that seals it, and the key, sealed (AES key wrap under
HKDF-SHA256, info `roadvault keyring`) in base64. The same keys give the same text.
"""

import base64
import binascii
import re
from collections.abc import Container, Iterable

from roadvault_common.archive.crypto import MasterKeys, PeriodKey, Use
from roadvault_common.errors import IntegrityError, MasterKeyMissing

HEAD = "roadvault keyring 1"
"""Its first line."""
_LINE = re.compile(r"([0-9]{4}-[0-9]{2}) ([0-9a-f]{16}) ([0-9a-f]{16}) ([A-Za-z0-9+/]{54}==)")
_BEGINS = re.compile(r"[0-9]{4}-[0-9]{2} ")


def lines(keys: MasterKeys, periods: Iterable[PeriodKey]) -> list[str]:
    """Return the line of each period key, sealed by the first master key, in order."""
    return sorted(
        f"{one.period} {one.id} {keys.ids[0]} {base64.b64encode(keys.seal(one.secret, Use.KEYRING)).decode()}"
        for one in periods
    )


def encode(keys: MasterKeys, periods: Iterable[PeriodKey], others: Iterable[str] = ()) -> bytes:
    """Return the keyring of these keys, and of `others`, which are lines already."""
    return "".join(f"{line}\n" for line in [HEAD, *sorted([*lines(keys, periods), *others])]).encode()


def unknown(text: str, keys: MasterKeys, known: Container[str]) -> list[str]:
    """Return the lines of a keyring whose keys' ids are not among those that are known, one of each key.

    They are sealed by the first master key, or, if none of ours opens them, as they were. What is damaged is left out.
    """
    found: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in known:
            continue
        try:
            (found[match[2]],) = lines(keys, period_keys(line, keys).values())
        except MasterKeyMissing:
            found.setdefault(match[2], line)
        except IntegrityError:
            continue  # another place may have it whole
    return list(found.values())


def period_keys(text: str, keys: MasterKeys) -> dict[str, PeriodKey]:
    """Return the period keys in a keyring, or in what was typed off a recovery sheet, by their ids.

    Lines that are something else, as on a sheet, are passed over.

    Raises:
        IntegrityError: A line is damaged, or was mistyped.
        MasterKeyMissing: The master key that seals one is not among ours.
    """
    found: dict[str, PeriodKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = " ".join(line.split())
        match = _LINE.fullmatch(words)
        if match is None:
            if _BEGINS.match(words):
                raise IntegrityError(f"line {number} of the keyring, of {words[:7]}, is damaged or was mistyped")
            continue
        period, name, master_key, sealed = match.groups()
        try:
            one = PeriodKey.of(period, keys.unseal(base64.b64decode(sealed), master_key, Use.KEYRING))
        except (IntegrityError, binascii.Error):
            raise IntegrityError(f"line {number} of the keyring, of {period}, is damaged or was mistyped") from None
        if one.id != name:
            raise IntegrityError(f"line {number} of the keyring, of {period}, has another key than it says")
        found[one.id] = one
    return found
