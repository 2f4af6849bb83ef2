"""What makes two uploads the same one, and the SQL that gives both the same file.

A client's Idempotency-Key, or, if that is wished, name, SHA-256 and camera within some time: each is a row that is
written in the transaction of the file. Its unique index decides; who comes second waits for the first one's COMMIT.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from roadvault_common.sql.db import Row, Transaction, marks
from roadvault_ingest.access.who import current
from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Key, Received

_KEY_LENGTH = 255
"""Characters of an Idempotency-Key."""


@dataclass(frozen=True)
class Sameness:
    """For how many seconds a client's key counts, and name, hash and camera; 0 if these don't."""

    key_seconds: float
    content_seconds: float

    def keys(self, received: Received, key: str | None) -> tuple[Key, ...]:
        """Return what an upload is known by; `key` is the hash of the client's."""
        keys = [] if key is None else [Key(key, self.key_seconds)]
        if self.content_seconds:
            what = f"{received.name}\n{received.sha256}\n{received.facts.camera or ''}"
            keys.append(Key(_own("content", what), self.content_seconds))
        return tuple(keys)


def hashed(headers: Sequence[str]) -> str | None:
    """Return the hash of a request's Idempotency-Key, given all headers of this name; None if there is none.

    Raises:
        Problem: It is empty or too long, or there is another.
    """
    if not headers:
        return None
    if len({*headers}) > 1:
        raise Problem("the request has several Idempotency-Keys: send one")
    key = headers[0].strip()
    if not 0 < len(key) <= _KEY_LENGTH:
        raise Problem(f"Idempotency-Key must have 1 to {_KEY_LENGTH} characters")
    return _own("key", key)


def _own(kind: str, text: str) -> str:
    """Return the hash of a client's own key: nobody learns, or takes, what another's stands for."""
    owner = current().owner
    whose = text if owner is None else f"{owner}\n{text}"
    return hashlib.sha256(f"{kind}\n{whose}".encode("utf-8", "surrogateescape")).hexdigest()


class Claims:
    """The keys of a batch of uploads, and whose each was when the batch came."""

    def __init__(self, batch: Sequence[Received], rows: Mapping[str, Row]) -> None:
        self._batch = batch
        self._rows = rows
        paths = {received.path for received in batch}
        self._first = {
            received.path: first
            for received in batch
            if (first := next(self._others(received, paths), None)) is not None
        }

    def _others(self, received: Received, paths: set[str]) -> Iterator[Row]:
        for key in received.keys:
            row = self._rows[key.key]
            if row["path"] != received.path and (row["file_id"] is not None or row["path"] in paths):
                yield row

    @property
    def fresh(self) -> list[Received]:
        """Return the uploads that are files of their own."""
        return [received for received in self._batch if received.path not in self._first]

    async def settle(self, tx: Transaction, placed: Sequence[Placed]) -> list[Placed]:
        """Note where the fresh ones went; return what became of each of the batch."""
        at = {received.path: where for received, where in zip(self.fresh, placed, strict=True)}
        sha256 = {received.path: received.sha256 for received in self._batch}
        results: list[Placed] = []
        for received in self._batch:
            result = at.get(received.path) or self._known(received, at, sha256)
            results.append(result)
            for key in () if result.differs else received.keys:
                if self._rows[key.key]["file_id"] is None:
                    await tx.execute(
                        "UPDATE upload_key_info SET file_id = %s WHERE upload_key = %s AND file_id IS NULL",
                        (result.file_id, key.key),
                    )
        return results

    def _known(self, received: Received, at: Mapping[str, Placed], sha256: Mapping[str, str]) -> Placed:
        first = self._first[received.path]
        if first["file_id"] is not None:
            where = Placed(first["file_id"], first["folder_id"], first["create_time"])
        elif first["path"] in at:
            where = at[first["path"]]
        else:  # that one is another's itself; keys go to the least path, so this comes to an end
            where = self._known(next(one for one in self._batch if one.path == first["path"]), at, sha256)
        differs = (first["sha256"] or sha256[first["path"]]) != received.sha256
        return replace(where, closed_folder_id=None, twice=True, differs=differs)


async def claim(tx: Transaction, batch: Sequence[Received]) -> Claims:
    """Claim the keys of some uploads, but for those that are others' already."""
    keys = sorted((key.key, received.path, key.seconds) for received in batch for key in received.keys)
    if not keys:
        return Claims(batch, {})
    rows = ", ".join(["(%s, %s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)"] * len(keys))
    over = "upload_key_info.expires_at <= UTC_TIMESTAMP(6)"
    await tx.execute(
        f"INSERT INTO upload_key_info (upload_key, path, expires_at) VALUES {rows} ON DUPLICATE KEY UPDATE"  # noqa: S608
        f" path = IF({over}, VALUES(path), path), file_id = IF({over}, NULL, file_id),"
        f" expires_at = IF({over}, VALUES(expires_at), upload_key_info.expires_at)",
        [value for row in keys for value in row],
    )
    names = [key for key, _, _ in keys]
    found = await tx.fetch_all(
        "SELECT upload_key, known.path, file.file_id, file.folder_id, file.create_time, file.sha256"  # noqa: S608
        " FROM upload_key_info AS known LEFT JOIN file_upload_info AS file ON file.file_id = known.file_id"
        f" WHERE upload_key IN ({marks(names)})",
        names,
    )
    return Claims(batch, {row["upload_key"]: row for row in found})
