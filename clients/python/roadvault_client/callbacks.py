"""Callbacks, whoever received them: headers and body in, what they say out."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from roadvault_client.errors import BadCallback

TOLERANCE_SECONDS = 300.0


@dataclass(frozen=True)
class Callback:
    """A file is there: it can be downloaded from `url`. `message_id` is the same whenever this is said again.

    Of a clip, `clip` has `from` and `to`, as RoadVault writes what was asked for.
    """

    file_id: int
    url: str
    message_id: str
    clip: Mapping[str, float | str] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class BatchEnded:
    """All files of a batch have been called back, have failed, or were cancelled; these numbers say how many."""

    batch_id: int
    files: int
    done: int
    failed: int
    cancelled: int
    message_id: str


def read_callback(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Iterable[str] | None,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Callback | BatchEnded:
    """Return what a callback says, once its signature (Standard Webhooks) and its time were checked.

    Args:
        headers: Of the request, whatever the case of their names.
        body: As it came, byte for byte.
        secret: As RoadVault has it (`whsec_…`), or several while it is being changed. None takes what isn't signed:
            then anybody can make one up.
        tolerance_seconds: How old, or ahead, it may be.

    Raises:
        BadCallback: It is not one of RoadVault's, or too old.
        ValueError: The secret is none.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id = given.get("webhook-id", "")
    if secret is not None:
        keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
        _check(keys, message_id, given.get("webhook-timestamp", ""), given.get("webhook-signature", ""), body)
        if abs(time.time() - int(given["webhook-timestamp"])) > tolerance_seconds:
            raise BadCallback("the callback is too old, or one of the clocks is wrong")
    try:
        told = json.loads(body)
        if "batchID" in told:
            counts = {name: int(told[name]) for name in ("files", "done", "failed", "cancelled")}
            return BatchEnded(batch_id=int(told["batchID"]), message_id=message_id, **counts)
        clip = {name: told["clip"][name] for name in ("from", "to")} if "clip" in told else None
        return Callback(int(told["fileID"]), str(told["fileUrl"]), message_id, clip)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise BadCallback("the body names neither a file and its link nor a batch") from None


def _check(keys: list[bytes], message_id: str, timestamp: str, signatures: str, body: bytes) -> None:
    if not (message_id and signatures and timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 15):  # noqa: PLR2004
        raise BadCallback("the callback is not signed")
    # Servers hand bytes that are no text on as surrogates.
    text = f"{message_id}.{timestamp}.".encode(errors="surrogatepass") + body
    expected = [b"v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)) for key in keys]
    given = [one.encode(errors="surrogatepass") for one in signatures.split(" ")]
    # Each with each, and none left out: how long it takes tells nothing.
    if not any([hmac.compare_digest(one, other) for one in given for other in expected]):  # noqa: C419
        raise BadCallback("the callback's signature is not RoadVault's")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("a callback's secret is whsec_ and base64")
    return key
