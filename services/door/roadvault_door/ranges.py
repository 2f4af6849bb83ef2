"""Which part of a file a request is answered with: conditions and ranges, as in RFC 9110, sections 13 and 14."""

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import ETag, web

_ONE_RANGE = re.compile(r"(\d{0,40})-(\d{0,40})", re.ASCII)
_ANY = "*"


class File(NamedTuple):
    """What is known of a file: its size in bytes, its ETag without quotes, and when it was written (whole seconds)."""

    size: int
    etag: str
    modified: datetime

    @property
    def last_modified(self) -> str:
        """The same as HTTP writes it."""
        return self.modified.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


class Part(NamedTuple):
    """An answer's status, and the bytes that it is about."""

    status: HTTPStatus
    start: int
    length: int


def part_of(request: web.BaseRequest, file: File) -> Part:
    """Return what a GET or HEAD is answered with: 200, 206, 304, 412 or 416."""
    whole = Part(HTTPStatus.OK, 0, file.size)
    if not _holds(request, file):
        return Part(HTTPStatus.PRECONDITION_FAILED, 0, 0)
    if _is_known(request, file):
        return Part(HTTPStatus.NOT_MODIFIED, 0, 0)
    if request.method != "GET" or not _same(request, file):
        return whole
    asked = _asked(request.headers.get("Range", ""), file.size)
    if asked is None:
        return whole
    start, end = asked
    if start >= end:
        return Part(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0)
    return Part(HTTPStatus.PARTIAL_CONTENT, start, end - start)


def _holds(request: web.BaseRequest, file: File) -> bool:
    """Tell whether the file is still the one that the client wants, if it wants a certain one."""
    if request.if_match is not None:
        return _listed(tuple(tag for tag in request.if_match if not tag.is_weak), file)
    since = request.if_unmodified_since
    return since is None or file.modified <= since


def _is_known(request: web.BaseRequest, file: File) -> bool:
    """Tell whether the client has it already."""
    if request.if_none_match is not None:
        return _listed(request.if_none_match, file)
    since = request.if_modified_since
    return since is not None and file.modified <= since


def _listed(tags: tuple[ETag, ...], file: File) -> bool:
    return any(tag.value in {file.etag, _ANY} for tag in tags)


def _same(request: web.BaseRequest, file: File) -> bool:
    """Tell whether a range is of the file that the client has a part of; another's must not be put together with it."""
    validator = request.headers.get("If-Range")
    return validator is None or validator.strip() == f'"{file.etag}"' or request.if_range == file.modified


def _asked(header: str, size: int) -> tuple[int, int] | None:
    """Return start and end of the one range that is asked for; None where that is to be ignored.

    Ignored are units other than bytes, what can't be read, and several ranges at once: a server may answer these with
    the whole, as long as each client that can ask for several can do with it.
    """
    unit, _, ranges = header.partition("=")
    several = [one.strip() for one in ranges.split(",") if one.strip()]
    found = _ONE_RANGE.fullmatch(several[0]) if len(several) == 1 else None
    if unit.strip().lower() != "bytes" or found is None or found[0] == "-":
        return None
    first, last = (int(number) if number else None for number in found.groups())
    if first is None:
        return max(0, size - (last or 0)), size
    if last is None:
        return first, size
    return None if last < first else (first, min(last + 1, size))
