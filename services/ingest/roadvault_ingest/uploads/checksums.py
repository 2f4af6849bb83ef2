"""Hashes that clients send along: of a request's bytes (tus), and of a file (RFC 9530)."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterable

from roadvault_ingest.problems import Problem, WrongChecksum, WrongHash
from roadvault_ingest.uploads.names import shown

ALGORITHMS = ("sha1", "sha256", "md5")
"""Of tus' checksums."""
_DIGESTS = {"sha-256": "sha256", "sha-512": "sha512"}
"""Of RFC 9530, the two that are fit for what strangers send."""
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)(?:=(?::([A-Za-z0-9+/=]*):|[^,:]*))?(?:\s*;[^,]*)?")


class Checksum:
    """What bytes must hash to; they are to be fed to `hash`."""

    def __init__(self, algorithm: str, digest: bytes, wrong: Problem) -> None:
        self.hash = hashlib.new(algorithm, usedforsecurity=False)
        self._digest = digest
        self._wrong = wrong

    def verify(self) -> None:
        """Compare.

        Raises:
            Problem: They hash to something else.
        """
        if self.hash.digest() != self._digest:
            raise self._wrong


def upload_checksum(header: str) -> Checksum:
    """Read an Upload-Checksum.

    Raises:
        Problem: It can't be read, or names an algorithm that is not known.
    """
    algorithm, _, value = header.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise Problem(f"Upload-Checksum: {shown(algorithm)} is not known here; use {', '.join(ALGORITHMS)}")
    wrong = WrongChecksum("the bytes that arrived are not those of the checksum; send them again")
    return _checked("Upload-Checksum", algorithm, value, wrong)


def digests(name: str, headers: Iterable[str]) -> list[Checksum]:
    """Read the headers Content-Digest or Repr-Digest; algorithms that are not known are passed over.

    Raises:
        Problem: It can't be read.
    """
    found = []
    for member in ",".join(headers).split(","):
        if not member.strip():
            continue
        match = _MEMBER.fullmatch(member.strip())
        if match is None:
            raise Problem(f"{name} can't be read: it looks like sha-256=:…base64…:, and not like {shown(member)}")
        if match[1] not in _DIGESTS:
            continue
        if match[2] is None:
            raise Problem(f"{name}: {match[1]} must be base64 between colons")
        wrong = WrongHash(f"the file that arrived has another {match[1]} than {name} says")
        found.append(_checked(name, _DIGESTS[match[1]], match[2], wrong))
    return found


def _checked(name: str, algorithm: str, value: str, wrong: Problem) -> Checksum:
    try:
        digest = b64decode(value, validate=True)
    except ValueError:
        raise Problem(f"{name}: {shown(value)} is not base64") from None
    checksum = Checksum(algorithm, digest, wrong)
    if len(digest) != checksum.hash.digest_size:
        raise Problem(f"{name}: a hash by {algorithm} has {checksum.hash.digest_size} bytes, not {len(digest)}")
    return checksum
