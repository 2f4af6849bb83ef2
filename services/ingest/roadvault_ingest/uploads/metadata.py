"""Reads what a tus client says of an upload: Upload-Metadata, names and base64."""

import re
from base64 import b64decode
from collections.abc import Mapping

from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.names import checked_name, decoded, shown

_BYTES = 8192
"""Longest metadata that is kept."""
_KEY = re.compile(r"[!-+\--~]+", re.ASCII)
_NAMES = ("filename", "name")
"""What clients call the name."""


def read(header: str) -> dict[str, str]:
    """Return the fields that an Upload-Metadata header has; one without a value is empty.

    Raises:
        Problem: It is no such header.
    """
    if len(header) > _BYTES:
        raise Problem(f"Upload-Metadata is longer than {_BYTES} bytes")
    fields: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key):
            raise Problem(f"Upload-Metadata must be names and values in base64, divided by commas, not {shown(pair)}")
        if key in fields:
            raise Problem(f"Upload-Metadata has {shown(key)} twice")
        try:
            content = b64decode(value, validate=True)
        except ValueError:
            raise Problem(f"Upload-Metadata: the value of {shown(key)} is not base64") from None
        # Whatever else clients tell need not be text.
        fields[key] = decoded(f"{key} in Upload-Metadata", content, None) if _text(content) or key in _NAMES else ""
    return fields


def _text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def name(fields: Mapping[str, str]) -> str:
    """Return what the upload is called.

    Raises:
        Problem: It is not said, or is no plain name.
    """
    for key in _NAMES:
        if fields.get(key, "").strip():
            return checked_name(fields[key])
    came = ", ".join(shown(key) for key in fields) or "nothing"
    raise Problem(f"filename is missing: send it in Upload-Metadata, in base64; what came there is {came}")
