"""One file's way: to the server, seen there, done with."""

import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from roadvault_agent import files, names
from roadvault_agent.bucket import Bucket
from roadvault_agent.config import Folder
from roadvault_agent.files import Changed
from roadvault_agent.state import Row, State
from roadvault_client import Client, Conflict, Facts, File, Filter, NotFound, Refused, Ticket, Unavailable, WrongHash

_LONG_BYTES = 64 << 20
"""The hash of such a file is noted as soon as it is known."""
_KEY_SECONDS = 12 * 3600.0
"""A server keeps the keys of uploads for two days, or what it is told to."""
_CLOCKS = timedelta(days=1)
"""By so much the server's clock and ours may differ."""
_GIVEN_UP = {"lost", "set aside"}
"""States in which the server has a file no more, or not as it was: we still have it."""


class NotYet(Exception):
    """The server has the file, and what is waited for is still to come; the message says where it stands."""


class Delivery:
    """Hands files over. Several threads may use it."""

    def __init__(self, client: Client, state: State, bucket: Bucket) -> None:
        self._client = client
        self._state = state
        self.bucket = bucket

    def hand_over(self, row: Row, folder: Folder, progress: Callable[[int], object]) -> Row:
        """Upload a file; return its row as it is then.

        Raises:
            Changed: It is being written to; it is another file by now, and will be taken as that.
            Vanished: It is not there.
            RoadVaultError: It did not work.
        """
        with files.opened(row.version, self.bucket) as file:
            sha256 = row.sha256 or file.sha256()
            if row.sha256 is None and row.version.size >= _LONG_BYTES:
                self._state.note_sha256(row.row_id, sha256)
            ticket = Ticket(row.key, row.url, lambda one: self._state.note_url(row.row_id, one.url))
            path = row.version.path
            facts = Facts(
                folder.camera_of(path),
                folder.recorded_at(path, row.version.mtime_ns),
                folder.lat,
                folder.lon,
                folder.tags,
            )
            try:
                file_id = self._sent_before(row, sha256) or self._client.upload(
                    file, names.for_server(path), facts=facts, sha256=sha256, ticket=ticket,
                    progress=lambda sent, _: progress(sent),
                ).file_id  # fmt: skip
            except WrongHash as error:
                with suppress(Changed):
                    file.check()
                    self._state.begin_anew(
                        row.row_id, fresh_key(), f"the server got other bytes than were read: {error}"
                    )
                    raise
                raise Changed("the file was changed while it was read") from error
        self._state.note_sent(row.row_id, file_id, sha256)
        found = self._state.row(row.row_id)
        assert found is not None  # noqa: S101 - nobody else drops it
        return found

    def _sent_before(self, row: Row, sha256: str) -> int | None:
        """Return the number of a file that the server has, if it is so old that its key may be forgotten there."""
        if time.time() - row.seen_at < _KEY_SECONDS:
            return None
        since = datetime.fromtimestamp(row.seen_at, UTC) - _CLOCKS
        of = Filter(name=names.for_server(row.version.path), received_from=since)
        with suppress(Refused):  # by a server that has no lists, or does not show them to us
            found = (
                one["fileID"]
                for one in self._client.files(of)
                if one["sha256"] == sha256 and one["state"] not in _GIVEN_UP
            )
            return next(found, None)
        return None

    def finish(self, row: Row, folder: Folder) -> str | None:
        """See that the server has the file, and do with it as told; return why that was not all, if it was not.

        Raises:
            NotYet: It has not come as far as is to be waited for.
            RoadVaultError: The server can't be asked.
            OSError: The file can't be marked, moved or removed now.
        """
        assert row.file_id is not None  # noqa: S101 - it was sent
        try:
            self._see(row, row.file_id, folder)
        except NotFound as error:
            self._state.begin_anew(row.row_id, fresh_key(), str(error))
            raise
        try:
            match folder.then:
                case "mark":
                    files.mark(row)
                case "move" | "delete":
                    files.remove(row, folder.move_to)
                case "keep":
                    pass
        except files.Vanished:
            return "somebody else removed it"
        except Changed as error:
            return str(error)
        return None

    def _see(self, row: Row, file_id: int, folder: Folder) -> None:
        file = self._client.file(file_id)
        if (file["size"], file["sha256"]) != (row.version.size, row.sha256) or file["state"] in _GIVEN_UP:
            raise NotFound(404, 404, f"file {file_id} is not there as it was sent: {file['state']}")
        if folder.wait_for == "receipt":
            self._see_receipt(row, file_id)
        elif folder.wait_for != "received" and not (file["archive"] and file["archive"][folder.wait_for]):
            raise NotYet(_where(file))

    def _see_receipt(self, row: Row, file_id: int) -> None:
        try:
            told = json.loads(self._client.receipt(file_id))["file"]
        except Conflict as error:
            raise NotYet(error.message) from None
        if (told["id"], told["sha256"]) != (file_id, row.sha256):
            raise Unavailable(503, 503, "the receipt is another file's")


def _where(file: File) -> str:
    reason = f": {file['reason']}" if file["reason"] else ""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} {file['state']}{reason}"


def fresh_key() -> str:
    """Return a key for an upload."""
    return secrets.token_urlsafe(24)
