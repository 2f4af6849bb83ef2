"""Reads an upload's form piece by piece, in constant memory, whatever the order of its parts."""

from collections.abc import Iterable

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from roadvault_ingest.problems import Problem, TooLarge

_FIELDS = ("filename", "sha256")
_FIELD_BYTES = 4096
"""Longest text field that is read."""
_PARTS = 16
"""Parts of a form; three have a meaning, and a page's own button or token may be among the rest."""
_REST_BYTES = 1 << 16
"""What all that has no meaning may have together, headers and other parts; it is read and forgotten."""


class Form:
    """The parts `file`, `filename` and `sha256` of a form; feed it the body, take the file's pieces."""

    def __init__(self, boundary: str, largest: int) -> None:
        try:
            self._parser = PushMultipartParser(boundary)
        except MultipartError as error:
            raise Problem(f"the multipart body can't be read: {error}") from None
        self._largest = largest
        self._parts = 0
        self._part = ""
        self._text = b""
        self._rest = 0
        self.fields: dict[str, str] = {}
        """Text fields, and as `file` the name that the file's own part gives."""
        self.size = 0
        """Bytes of the file so far."""

    def feed(self, data: bytes) -> list[bytes]:
        """Read on; return the pieces of the file that `data` has. No data means that the body is over.

        Raises:
            Problem: The form is not what it should be, or ends early.
        """
        self._rest += len(data)
        try:
            pieces = self._file_pieces(self._parser.parse(data))
        except MultipartError as error:
            raise Problem(f"the multipart body is malformed or ends early: {error}") from None
        if self._rest > _REST_BYTES:
            raise Problem(f"the form has more than {_REST_BYTES} bytes besides the file")
        return pieces

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
            elif self._part in _FIELDS:
                self._text += event
                if len(self._text) > _FIELD_BYTES:
                    raise Problem(f"the field {self._part!r} is longer than {_FIELD_BYTES} bytes")
        return pieces

    def _begin(self, part: MultipartSegment) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise Problem(f"the form has more than {_PARTS} parts; send file, filename and, if you like, sha256")
        if (part.content_type or "").startswith("multipart/"):
            raise Problem("a part of the form is itself multipart")
        self._part, self._text = part.name or "", b""
        if self._part == "file":
            if "file" in self.fields:
                raise Problem("the form has more than one file; send one in each request")
            self.fields["file"] = part.filename or ""

    def _end(self) -> None:
        if self._part not in _FIELDS:
            return
        try:
            self.fields[self._part] = self._text.decode()
        except UnicodeDecodeError:
            raise Problem(f"the field {self._part!r} is not UTF-8") from None

    def _count(self, length: int) -> None:
        self.size += length
        self._rest -= length
        if self.size > self._largest:
            raise TooLarge(f"the file is longer than {self._largest} bytes, the largest that is taken")
