"""What can go wrong, one class for each kind that a program may want to tell apart."""

import json
import re
from typing import ClassVar

import httpx

_SCOPE = re.compile(r'scope="([a-z]+)"')


class RoadVaultError(Exception):
    """Any of the errors below."""


class ConnectionFailed(RoadVaultError):
    """No answer came: refused, timed out, broken off. `sent` tells whether the request may have arrived."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class NotRoadVault(RoadVaultError):
    """What answered is something else: a proxy, a network that wants a login first."""


class WrongBytes(RoadVaultError):
    """What was downloaded is not the file; it was thrown away."""


class NeverReached(RoadVaultError):
    """A file won't get to where it was waited for; the message has the reason."""


class TookTooLong(RoadVaultError):
    """What was waited for did not come in the time that was given."""


class BadCallback(RoadVaultError):
    """A callback that is not RoadVault's, not for this receiver, or too old: answer it with 400."""


class Refused(RoadVaultError):
    """The server answered with an error; what other classes don't name is just this."""

    statuses: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self, status: int, code: int | str, message: str, retry_after: float | None = None, word: str = ""
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.code = code
        """As the body says it; without one, the HTTP status."""
        self.message = message
        self.retry_after = retry_after
        """Seconds after which a new try may succeed, if the server said so."""
        self.word = word
        """What programs go by, as `not_allowed`: the body's `error`. Empty if it has none."""


class Unauthorized(Refused):
    """No token, or one that does not count."""

    statuses = (401,)


class Forbidden(Refused):
    """The token may not do this."""

    statuses = (403,)
    scope: str | None = None
    """The scope that it lacks; None if it is for something else, as another camera than its own."""


class NotFound(Refused):
    """There is no such file, upload or link."""

    statuses = (404,)


class Conflict(Refused):
    """Not as things stand: a receipt before the archive is bought."""

    statuses = (409,)


class Gone(Refused):
    """It was there until its time was over."""

    statuses = (410,)


class TooLarge(Refused):
    """The file is larger than what is taken."""

    statuses = (413,)


class WrongHash(Refused):
    """The bytes that arrived are not the ones announced, or others were sent under the same key before."""

    statuses = (422, 460)


class TooMany(Refused):
    """More requests are open than may be."""

    statuses = (429,)


class Unavailable(Refused):
    """Not now: the database is away, or too many uploads are under way."""

    statuses = (502, 503, 504)


class NoRoom(Refused):
    """The server's disk has no room now."""

    statuses = (507,)


def refused(status: int, headers: httpx.Headers, body: bytes) -> Refused:
    """Return the error that an answer is."""
    code: int | str = status
    word = ""
    message = body[:500].decode(errors="replace").strip() or httpx.codes.get_reason_phrase(status)
    try:
        told = json.loads(body)
        code, message, word = told["code"], str(told["message"]), str(told.get("error", ""))
    except (ValueError, KeyError, TypeError):
        pass  # a proxy's answer, or the door's line of text
    after = headers.get("Retry-After", "")
    kinds = (kind for kind in Refused.__subclasses__() if status in kind.statuses)
    error = next(kinds, Refused)(status, code, message, float(after) if after.isdecimal() else None, word)
    if isinstance(error, Forbidden) and (lacks := _SCOPE.search(headers.get("WWW-Authenticate", ""))):
        error.scope = lacks[1]
    return error
