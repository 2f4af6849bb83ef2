"""Reads a multipart form piece by piece, in constant memory, whatever the order of its parts."""

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable, Iterable
from contextlib import suppress

import orjson
from multipart import _BODY, _COMPLETE, MultipartError, MultipartSegment, PushMultipartParser

from roadvault_common.files.new_file import BLOCK_BYTES
from roadvault_ingest.problems import Problem, TooLarge
from roadvault_ingest.uploads import facts
from roadvault_ingest.uploads.names import decoded, name_in_header, shown

_CHARSET = "_charset_"
"""RFC 7578: a field that names the charset of those behind it."""
_READ = ("filename", "sha256", *facts.FIELDS)
"""Text fields of an upload."""
_FIELD_BYTES = 4096
"""Longest text field that is read."""
_PARTS = 16
"""Parts of a form; eight have a meaning, and a page's own button or token may be among the rest."""
_PART_HEADERS = 32
"""Headers of a part; some clients repeat those of the file's source there."""
_REST_BYTES = 1 << 16
"""What all that has no meaning may have together, headers and other parts; it is read and forgotten."""
_PADDING_BYTES = 64
"""Blanks behind a boundary."""
_AS_IT_IS = ("", "binary", "8bit", "7bit")
"""Content-Transfer-Encodings that change nothing; the file comes in one of them."""
_ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    **dict.fromkeys(_AS_IT_IS, bytes),
    "base64": a2b_base64,
    "quoted-printable": a2b_qp,
}
"""How text fields may come: Delphi's Indy and libraries for mail encode them."""
_NO_BOUNDARY = "the body has no line that is -- and the boundary that the Content-Type names"
_PARAMETER = re.compile(r';\s*(boundary|charset)\s*=\s*("[^"]*"|[^;]*)', re.IGNORECASE)


def content_type(header: str) -> tuple[str, dict[str, str]]:
    """Return the type that a Content-Type names, and its `boundary` and `charset`, which many clients don't quote."""
    kind = header.partition(";")[0].strip().lower()
    return kind, {name.lower(): value.strip().strip('"') for name, value in _PARAMETER.findall(header)}


class Form:
    """A form's `file` and some text fields; feed it the body, take the file's pieces.

    `length` is what the request says of the body's length, `largest` the longest file that is taken.
    """

    def __init__(self, boundary: str, largest: int, length: int | None, fields: Iterable[str] = _READ) -> None:
        if not boundary:
            raise Problem(
                "the Content-Type names no boundary; an HTTP library that is given a form writes this header by itself"
            )
        self._mark = b"--" + boundary.encode("utf-8", "surrogateescape")
        try:
            # A character for each byte: what a header's bytes mean is asked only if nothing else names the file.
            self._parser = PushMultipartParser(self._mark[2:], max_header_count=_PART_HEADERS, header_charset="latin-1")
        except MultipartError as error:
            raise Problem(f"the multipart body can't be read: {error}") from None
        self._largest = largest
        self._length = length
        self._fields = {_CHARSET, *fields}
        self._opening: bytes | None = b""
        """The body up to its first boundary, until that has come."""
        self._padded: Unpadded | None = None
        self._parts: list[str] = []
        """Names of the parts so far, a character for each byte."""
        self._part = ""
        self._segment: MultipartSegment | None = None
        self._text = b""
        self._disposition = ""
        self._rest = 0
        self.fields: dict[str, str] = {}
        """Text fields by name."""
        self.size = 0
        """Bytes of the file so far."""

    @property
    def over(self) -> bool:
        """Whether the closing boundary has come, and what the request's length promises behind it can be let go."""
        if self._length is None or self._parser._state is not _COMPLETE:  # noqa: SLF001 - it knows, and does not say
            return False
        return self._length - self._rest - self.size <= _REST_BYTES

    @property
    def lends(self) -> bool:
        """Whether the file's bytes are coming just now, up to `mark`, and need not come by here."""
        coming = self._part == "file" and self._parser._state is _BODY  # noqa: SLF001 - likewise
        return coming and self._padded is None and len(self.mark) <= BLOCK_BYTES

    @property
    def mark(self) -> bytes:
        """What ends the file: a line's end, and the boundary."""
        return b"\r\n" + self._mark

    def lend(self) -> bytes:
        """Give up what is held since the mark may begin in it; what is fed next goes on with the file, or ends it."""
        held: bytes = self._parser._buffer  # noqa: SLF001 - nothing else gives it out
        self._parser._buffer = b""  # noqa: SLF001
        self._rest -= len(held)
        return held

    def pass_by(self, length: int) -> None:
        """Count bytes of the file that did not come by here.

        Raises:
            TooLarge: It is too long with them.
        """
        self._rest += length
        self._count(length)

    @property
    def filename(self) -> str:
        """What the file is called: by the field, else by its own part.

        Raises:
            Problem: By neither, or the name can't be read.
        """
        name = self.fields.get("filename") or name_in_header(self._disposition, self.fields.get(_CHARSET))
        if not name.strip():
            raise Problem(
                f"filename is missing: neither a field filename nor the file's own part names it; the parts that came"
                f" are {self.came()}"
            )
        return name

    def feed(self, data: bytes) -> list[bytes]:
        """Read on; return the pieces of the file that `data` has. No data means that the body is over.

        Raises:
            Problem: The form is not what it should be, or ends early.
        """
        self._rest += len(data)
        over = not data
        if self._opening is not None:
            data = self._open(data)
        if self._padded is not None:
            data = self._padded.feed(data, over=over)
        try:
            pieces = self._file_pieces(self._parser.parse(data)) if data else []
            if over:
                self._parser.close()
        except MultipartError as error:
            raise Problem(
                f"the multipart body is malformed, perhaps in its line breaks, or ends early: {error}"
            ) from None
        if self._rest > _REST_BYTES:
            raise self._too_long()
        return pieces

    def missing_file(self) -> Problem:
        """Return what to tell of a form without a file, or with an empty one."""
        if "file" in self._parts:
            return Problem("the file is empty")
        return Problem(f"the form has no file: send it in a part named file; the parts that came are {self.came()}")

    def came(self) -> str:
        """Return the names of the parts that came, for a message."""
        return ", ".join(shown(name.encode("latin-1").decode("utf-8", "replace")) for name in self._parts) or "none"

    def _too_long(self) -> Problem:
        if "file" in self._parts:
            return Problem(f"the form has more than {_REST_BYTES} bytes besides the file")
        if self._opening is not None:
            return Problem(f"{_NO_BOUNDARY}, after {self._rest} bytes")
        return Problem(
            f"more than {_REST_BYTES} bytes came, and no file: send it in a part named file; the parts that came are "
            + self.came()
        )

    def _open(self, data: bytes) -> bytes:
        """Hold the body's beginning until it is known how the client ends the line of a boundary."""
        body = (self._opening or b"") + data
        behind = body.find(self._mark) + len(self._mark)
        found = behind >= len(self._mark)
        if not data and not found:
            raise Problem(_NO_BOUNDARY if body else "the body is empty")
        self._opening = None if found and behind < len(body) else body
        if self._opening is not None:
            return b""
        if body[behind] == ord("\n"):
            raise Problem("the lines of the form end with LF alone; the line breaks of multipart are CRLF")
        if body[behind] in b" \t":
            self._padded = Unpadded(self._mark)
        return body

    def _file_pieces(self, events: Iterable[MultipartSegment | bytes | None]) -> list[bytes]:
        pieces: list[bytes] = []
        for event in events:
            if isinstance(event, MultipartSegment):
                self._begin(event)
            elif event is None:
                self._end()
            elif self._part == "file":
                self._count(len(event))
                pieces.append(event)
            elif self._part in self._fields:
                self._text += event
                if len(self._text) > _FIELD_BYTES:
                    raise Problem(f"the field {self._part!r} is longer than {_FIELD_BYTES} bytes")
        return pieces

    def _begin(self, part: MultipartSegment) -> None:
        self._part, self._text = part.name or "", b""
        if self._part == "file":
            if "file" in self._parts:
                raise Problem("the form has more than one file; send one in each request")
            if _encoding(part) not in _AS_IT_IS:
                raise Problem(f"the file is sent in {shown(_encoding(part))}; send its bytes as they are")
            self._disposition = part.header("Content-Disposition", "")
        self._segment = part
        self._parts.append(self._part)
        if len(self._parts) > _PARTS:
            raise Problem(f"the form has more than {_PARTS} parts; send file, filename and, if you like, sha256")
        if (part.content_type or "").startswith("multipart/"):
            raise Problem("a part of the form is itself multipart")

    def _end(self) -> None:
        if self._segment is None or self._part not in self._fields:
            return
        text = _text(self._segment, self._text, self.fields.get(_CHARSET))
        if self.fields.setdefault(self._part, text) != text:
            raise Problem(f"the form has the field {self._part!r} twice, and not with the same value")

    def _count(self, length: int) -> None:
        self.size += length
        self._rest -= length
        if self.size > self._largest:
            raise TooLarge(f"the file is longer than {self._largest} bytes, the largest that is taken")


def _encoding(part: MultipartSegment) -> str:
    return str(part.header("Content-Transfer-Encoding", "")).strip().lower()


def _text(part: MultipartSegment, content: bytes, charset: str | None) -> str:
    """Return a text field's value; `charset` is the one that the form declares."""
    what = f"the field {part.name!r}"
    try:
        content = _ENCODINGS[_encoding(part)](content)
    except (KeyError, ValueError):
        raise Problem(f"{what} can't be read in {shown(_encoding(part))}; send it as it is") from None
    # Text editors and shells leave a byte order mark and a line break.
    text = decoded(what, content, part.charset or charset).removeprefix("\ufeff").rstrip("\r\n")
    if part.content_type == "application/json":  # Retrofit with a converter quotes a text so
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(text)
            return value if isinstance(value, str) else text
    return text


class Unpadded:
    """Takes away the blanks that may stand behind a boundary (RFC 2046), of which the parser does not know."""

    def __init__(self, mark: bytes) -> None:
        self._padded = re.compile(b"(\r\n" + re.escape(mark) + b")[ \t]+(?=\r\n)")
        self._kept = len(mark) + _PADDING_BYTES
        self._held = b"\r\n"  # a first line that is a boundary is one, too

    def feed(self, data: bytes, *, over: bool) -> bytes:
        """Return what no boundary can begin in any more, and all that is left when the body is over."""
        text = self._padded.sub(rb"\1", self._held + data)
        cut = len(text) if over else max(0, len(text) - self._kept)
        self._held = text[cut:]
        return text[:cut]
