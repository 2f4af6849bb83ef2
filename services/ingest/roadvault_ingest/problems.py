"""What ingest answers when it can't do what it was asked: one shape, a code, a message, a fitting HTTP status."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web

from roadvault_common.errors import PermanentError


class Problem(PermanentError):
    """It can't be understood, or names what can't be."""

    status: int = HTTPStatus.BAD_REQUEST
    """Of HTTP."""
    error = "bad_request"
    """A word that programs go by, and that never changes; each kind of problem has its own."""
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        """Say what is wrong; after `retry_after` seconds, if they are told, a later try may succeed."""
        super().__init__(message)
        self.retry_after = retry_after


class NotFound(Problem):
    """It names something that does not exist."""

    status = HTTPStatus.NOT_FOUND
    error = "not_found"


class Gone(Problem):
    """It names something that was here until its time was over."""

    status = HTTPStatus.GONE
    error = "ended"


class BadClip(Problem):
    """The file has no such clip, or it would be too long."""

    error = "bad_clip"


class Conflict(Problem):
    """It does not fit how things stand."""

    status = HTTPStatus.CONFLICT
    error = "conflict"


class Locked(Problem):
    """Another process has it in hand, or how it stands can't be told now."""

    status = HTTPStatus.LOCKED
    error = "locked"


class Forbidden(Problem):
    """That is never done."""

    status = HTTPStatus.FORBIDDEN
    error = "forbidden"


class NoReceipt(Problem):
    """The file has no receipt as things stand."""

    status = HTTPStatus.CONFLICT
    error = "no_receipt"


class TooLarge(Problem):
    """The upload is longer than what is taken."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    error = "too_large"


class WrongType(Problem):
    """The body has the wrong type."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    error = "wrong_type"


class NoLength(Problem):
    """Where the body ends is not said; what follows on the connection may be a body or a request."""

    status = HTTPStatus.LENGTH_REQUIRED
    error = "no_length"


class WrongHash(Problem):
    """The bytes that arrived are not those the client meant."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error = "wrong_hash"


class WrongChecksum(Problem):
    """The bytes of a request are not those that the client meant; tus has a status of its own for that."""

    status = 460
    error = "wrong_checksum"


class WrongVersion(Problem):
    """The client speaks a version of tus that is not known."""

    status = HTTPStatus.PRECONDITION_FAILED
    error = "wrong_version"


class TooSlow(Problem):
    """The client sent nothing for too long, or too little."""

    status = HTTPStatus.REQUEST_TIMEOUT
    error = "slow"


class TooMany(Problem):
    """More of it is under way than may be."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    error = "too_many"


class NoRoom(Problem):
    """The disk has no room for it now."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    error = "no_room"


class Unavailable(Problem):
    """The database is away, or others are to have their turn, or a resumable upload came too slowly."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    error = "unavailable"


class Draining(Unavailable):
    """The store takes no new uploads, since it is to be switched off, or was written off: another one takes them."""

    error = "draining"


OTHERS: Mapping[str, tuple[int, str]] = {
    "no_such_path": (HTTPStatus.NOT_FOUND, "Nothing is served there."),
    "wrong_method": (HTTPStatus.METHOD_NOT_ALLOWED, "Another method is taken there: `Allow` says which."),
    "compressed": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is compressed."),
    "other_site": (HTTPStatus.FORBIDDEN, "A page of another site had a browser send it."),
    "unknown_host": (HTTPStatus.MISDIRECTED_REQUEST, "The server was called by a name that is not its own."),
    "internal": (HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of the server; it has been logged."),
}
"""Words for what is refused without a Problem, each with its status and what it means."""


def errors() -> dict[str, tuple[int, str]]:
    """Return all words that an error can have, each with its status and what it means."""
    kinds = [Problem]
    for kind in kinds:
        kinds += kind.__subclasses__()
    told = {kind.error: (int(kind.status), (kind.__doc__ or "").partition("\n")[0]) for kind in kinds}
    return told | {word: (int(status), text) for word, (status, text) in OTHERS.items()}


def answer(result: object) -> web.Response:
    """Return a success in the API's shape; users' documents name both `code` and `status`."""
    return web.json_response({"code": 0, "status": 0, "result": result})
