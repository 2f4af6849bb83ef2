"""Digests of what is sent and taken (RFC 9530)."""

from base64 import b64encode


def repr_digest(sha256: str) -> str:
    """Return the Repr-Digest of a file by its SHA-256, which is in hex."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"
