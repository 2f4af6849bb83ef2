"""Both programs that check receipts, and what is done to receipts to see that they find it."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from roadvault_common.errors import IntegrityError
from roadvault_common.receipts.check import check
from roadvault_common.receipts.receipt import Receipt

SCRIPT = Path(__file__).parents[1] / "tools" / "check_receipt.py"
_spec = importlib.util.spec_from_file_location("check_receipt", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)

Json = dict[str, Any]


def ours(receipt: bytes, content: bytes) -> str | None:
    """Return what `roadvault check-receipt` finds wrong, or None."""
    try:
        list(check(Receipt.read(receipt), hashlib.sha256(content).hexdigest(), len(content)))
    except IntegrityError as error:
        return str(error)
    return None


def other(receipt: bytes, content: bytes) -> str | None:
    """Return what the script finds wrong, or None."""
    try:
        script.check(receipt, hashlib.sha256(content).digest(), len(content))
    except script.Wrong as error:
        return str(error)
    return None


def both_find(receipt: bytes, content: bytes) -> bool:
    """Tell whether both find something wrong; they have to agree."""
    found = [ours(receipt, content), other(receipt, content)]
    assert found.count(None) != 1, (found, receipt)
    return found[0] is not None


def flipped(data: bytes) -> Iterator[bytes]:
    """Yield the data with each of its bits flipped, one at a time."""
    for at in range(len(data) * 8):
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        yield bytes(changed)


def dumped(receipt: Json) -> bytes:
    """Return a receipt as somebody would write it who forges one: the digest fits."""

    def dump(digest: str) -> bytes:
        told = {**receipt, "digest": digest}
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
            errors="surrogatepass"
        )

    return dump(hashlib.sha256(dump("0" * 64)).hexdigest())


def leaves(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401 - JSON
    """Yield where in some JSON its texts, numbers and nulls are."""
    if not isinstance(value, dict | list):
        yield where
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(below, (*where, key))


def altered(receipt: bytes, where: tuple[str | int, ...], change: Callable[[Any], object]) -> bytes:
    """Return a receipt in which one thing is another, forged."""
    told = json.loads(receipt)
    below = told
    for key in where[:-1]:
        below = below[key]
    below[where[-1]] = change(below[where[-1]])
    return dumped(told)


def another(value: Any) -> object:  # noqa: ANN401 - JSON
    """Return something else of the same kind."""
    match value:
        case None:
            return "1" * 64
        case int():
            return value + 1
        case str() if value:
            middle = len(value) // 2
            return value[:middle] + ("1" if value[middle] != "1" else "2") + value[middle + 1 :]
        case _:
            return "1"
