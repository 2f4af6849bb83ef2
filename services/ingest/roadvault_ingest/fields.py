"""Reads the short requests: JSON, a form or a query, whatever type the client's library says that it is."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from roadvault_common.web.connections import giving_way
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.lists.filters import Filters, read_filters
from roadvault_ingest.problems import Problem, TooLarge
from roadvault_ingest.uploads.form import Form, content_type
from roadvault_ingest.uploads.names import decoded, shown
from roadvault_ingest.uploads.receive import Body

_REQUEST_BYTES = 16_384
"""Longest body of a short request."""
NUMBER_BYTES = 24
"""A number of a file in a list of them, with what is around it."""
_FIELDS = 32
"""Fields that such a request may have."""
_NAMED = 6
"""Fields that a message names."""
_ID_DIGITS = 19
"""Of the highest id that the database has; Python itself refuses to read thousands of digits."""
_EXACT = 1 << 53
"""Whole numbers from here on are not exact in JSON's floating point."""
_NAMES = ("fileID", "cbUrl", "from", "to", "stage", "id")
"""Fields that are read from a multipart form."""


class Fields(NamedTuple):
    """The fields of a short request, and what it was `read_as`, for messages."""

    values: Mapping[str, object]
    read_as: str

    def text(self, name: str) -> str:
        """Return a field's text without the blanks around it.

        Raises:
            Problem: It is missing, or no text.
        """
        value = self._value(name)
        if not isinstance(value, str):
            raise Problem(f"{name} must be a text, not {_told(value)}")
        return value.strip()

    def wanted(self) -> list[int] | Filters:
        """Return which files a batch is of: the field fileIDs, or the field filter.

        Raises:
            Problem: There are both, or none, or it is not what it should be.
        """
        ids, given = self.values.get("fileIDs"), self.values.get("filter")
        if (ids is None) == (given is None):
            raise Problem("send fileIDs, a list of numbers, or filter, an object with the names of GET /api/open/files")
        if isinstance(ids, list):
            return [file_id(one) for one in ids]
        if not isinstance(given, dict) or not given:
            raise Problem("fileIDs must be a list of numbers, and filter an object that has at least one name, in JSON")
        return read_filters(given)

    def file_id(self) -> int:
        """Return the field fileID.

        Raises:
            Problem: It is missing, or no file's number.
        """
        return file_id(self._value("fileID"))

    def _value(self, name: str) -> object:
        value = self.values.get(name)
        if value is None:
            came = ", ".join(shown(other) for other in list(self.values)[:_NAMED]) or "none"
            raise Problem(f"{name} is missing; what came, read as {self.read_as}, has: {came}")
        return value


async def request_fields(request: web.Request, settings: IngestSettings, longest: int = _REQUEST_BYTES) -> Fields:
    """Return the fields of a JSON object or a form, or if the body is empty those of the query.

    What the body is its first character tells: libraries call JSON text/plain or a form, or call it nothing.

    Raises:
        Problem: It can't be read.
    """
    with giving_way(request):
        body = await _read_all(Body(request, settings), longest)
    kind, options = content_type(request.headers.get("Content-Type", ""))
    called = f"its Content-Type is {shown(kind)}" if kind else "it has no Content-Type"
    start = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        return Fields(query_fields(request), "a query, since the body is empty")
    if start[:1] in b"{[" or kind.endswith("json"):
        return Fields(_json(start, options.get("charset"), called), "JSON")
    if kind == "multipart/form-data":
        form = Form(options.get("boundary", ""), len(body), len(body), _NAMES)
        form.feed(body)
        form.feed(b"")
        return Fields(form.fields, f"a multipart form with the parts {form.came()}")
    if b"=" not in start:
        raise Problem(f"the body is neither JSON nor a form with fileID and cbUrl; {called}")
    return Fields(_form(start, options.get("charset")), f"a form ({called})")


def query_fields(request: web.Request) -> dict[str, str]:
    """Return the fields of the query.

    Raises:
        Problem: It can't be read.
    """
    return _form(request.rel_url.raw_query_string.encode("utf-8", "surrogateescape"), None)


def file_id(value: object) -> int:
    """Return the number of a file, which may come as 17, 17.0, "17" or " 17.0 ".

    Raises:
        Problem: It is none.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    digits, _, zeros = text.partition(".")
    whole = digits.isascii() and digits.isdigit() and not zeros.strip("0")
    if not whole or len(digits) > _ID_DIGITS or not 0 < int(digits) < 1 << 63:
        raise Problem(f"fileID must be a positive whole number, not {_told(value)}")
    return int(digits)


def batch_id(text: str) -> int:
    """Return the number of a batch.

    Raises:
        Problem: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < _ID_DIGITS):
        raise Problem(f"batchID must be a positive whole number, not {shown(text)}")
    return int(text)


def position(text: str) -> int:
    """Return the number of a line of the custody log.

    Raises:
        Problem: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < _ID_DIGITS):
        raise Problem(f"before must be the number of a line, not {shown(text)}")
    return int(text)


def _told(value: object) -> str:
    # Python can't write out what is nested as deep as JSON may be.
    return shown(value) if isinstance(value, str | int | float) else "a list or an object"


def _json(body: bytes, charset: str | None, called: str) -> dict[str, object]:
    try:
        fields = orjson.loads(decoded("the body", body, charset))
    except orjson.JSONDecodeError as error:
        raise Problem(f"the body is not JSON ({called}): {error}") from None
    if not isinstance(fields, dict):
        raise Problem("the body must be a JSON object with fileID and cbUrl")
    return fields


def _form(body: bytes, charset: str | None) -> dict[str, str]:
    try:
        # A character for each byte: those that stand there and those that are percent-encoded are in one charset.
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_FIELDS)
    except ValueError:
        raise Problem(f"the form has more than {_FIELDS} fields") from None
    fields: dict[str, str] = {}
    for name, value in ((_read(name, charset), _read(value, charset)) for name, value in pairs):
        if fields.setdefault(name, value) != value:  # which of two is meant nobody can tell
            raise Problem(f"the field {shown(name)} came twice, and not with the same value")
    return fields


def _read(text: str, charset: str | None) -> str:
    return decoded("a field", text.encode("latin-1"), charset)


async def _read_all(incoming: Body, longest: int) -> bytes:
    """Return a short body, which may come in several pieces."""
    body = b""
    while piece := await incoming.read():
        body += piece
        if len(body) > longest:
            raise TooLarge(f"the body is longer than {longest} bytes")
    return body
