"""What ingest answers when it can't do what it was asked: one shape, a code, a message, a fitting HTTP status."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web

from roadvault_common.errors import PermanentError


class Problem(PermanentError):
    """A request that is refused; `status` is the HTTP status, `retry_after` seconds if a later try may succeed."""

    status: int = HTTPStatus.BAD_REQUEST
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotFound(Problem):
    """It names something that does not exist."""

    status = HTTPStatus.NOT_FOUND


class Gone(Problem):
    """It names something that was here until its time was over."""

    status = HTTPStatus.GONE


class Conflict(Problem):
    """It does not fit how things stand."""

    status = HTTPStatus.CONFLICT


class Locked(Problem):
    """Another process has it in hand."""

    status = HTTPStatus.LOCKED


class Forbidden(Problem):
    """That is never done."""

    status = HTTPStatus.FORBIDDEN


class NoReceipt(Problem):
    """The file has no receipt as things stand."""

    status = HTTPStatus.CONFLICT


class TooLarge(Problem):
    """The upload is longer than what is taken."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class WrongType(Problem):
    """The body has the wrong type."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NoLength(Problem):
    """Where the body ends is not said; what follows on the connection may be a body or a request."""

    status = HTTPStatus.LENGTH_REQUIRED


class WrongHash(Problem):
    """The bytes that arrived are not those the client meant."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class WrongChecksum(Problem):
    """The bytes of a request are not those that the client meant; tus has a status of its own for that."""

    status = 460


class WrongVersion(Problem):
    """The client speaks a version of tus that is not known."""

    status = HTTPStatus.PRECONDITION_FAILED


class TooSlow(Problem):
    """The client sent nothing for too long, or too little."""

    status = HTTPStatus.REQUEST_TIMEOUT


class TooMany(Problem):
    """More of it is under way than may be."""

    status = HTTPStatus.TOO_MANY_REQUESTS


class NoRoom(Problem):
    """The disk has no room for it now."""

    status = HTTPStatus.INSUFFICIENT_STORAGE


class Unavailable(Problem):
    """The database is away, or others are to have their turn."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def answer(result: object) -> web.Response:
    """Return a success in the API's shape; users' documents name both `code` and `status`."""
    return web.json_response({"code": 0, "status": 0, "result": result})
