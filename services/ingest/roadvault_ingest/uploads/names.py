"""What an upload is called, by a field or by the header of the file's own part, which clients write in many ways."""

import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from urllib.parse import unquote_to_bytes

from roadvault_ingest.problems import Problem

_NAME_BYTES = 255
_SEMICOLONS = 300
"""In a part's header: more than the longest name has. The time to read it grows with their number times its length."""
_SHOWN = 40
"""Characters of a client's word that a message repeats."""
_CODECS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1"), "latin-1"),
    **dict.fromkeys(("gbk", "gb2312", "gb18030", "x-gbk", "cp936", "windows-936"), "gb18030"),
    **dict.fromkeys(("big5", "big5-hkscs", "cp950"), "big5hkscs"),
    **dict.fromkeys(("shift-jis", "sjis", "windows-31j", "cp932"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks-c-5601-1987", "cp949"), "cp949"),
    **dict.fromkeys(("windows-1252", "cp1252"), "cp1252"),
    "euc-jp": "euc-jp",
}
"""Charsets that are read. Python keeps each name that it was ever asked for, known or not: strangers' are not asked."""
_WORD = r"=\?[^?]+\?[bBqQ]\?[^?]*\?="
_WORDS = re.compile(rf"{_WORD}(?:\s+{_WORD})*")
"""RFC 2047: .NET and Spring write names beyond ASCII so."""
_PERCENT_ENCODED = re.compile(r'(?:%[0-9A-Fa-f]{2}|[^%\s"\\])+', re.ASCII)
"""What an encoder leaves; a browser encodes only quotes and line breaks, and leaves blanks, backslashes and %."""


def decoded(what: str, text: bytes, charset: str | None) -> str:
    """Return text in the charset that was declared for it, in UTF-8 if none was; `what` it is goes into errors.

    ISO-8859-1 and ASCII are what libraries declare by themselves, so they count only for what is no UTF-8.

    Raises:
        Problem: It can't be read.
    """
    codec = _CODECS.get((charset or "utf-8").lower().replace("_", "-"))
    if codec is None:
        raise Problem(f"{what} is in the charset {shown(charset or '')}, which is not known here; send it in UTF-8")
    for one in ("utf-8", codec) if codec == "latin-1" else (codec,):
        try:
            return text.decode(one)
        except UnicodeDecodeError:
            continue
    raise Problem(f"{what} is not {shown(charset) if charset else 'UTF-8, and no other charset is declared'}")


def name_in_header(disposition: str, charset: str | None) -> str:
    """Return the name that a part's Content-Disposition gives, or "" if it gives none.

    `disposition` is the header with a character for each byte, `charset` what the whole form declares. What counts is
    the first of these that can be read: `filename*` (RFC 8187), an RFC 2047 word, a name that is percent-encoded as a
    whole, the name as it stands. Of a path its last part counts.

    Raises:
        Problem: The name is neither UTF-8 nor in the declared charset.
    """
    if disposition.count(";") > _SEMICOLONS:
        raise Problem("the header of the file's own part has too many parameters")
    name = _extended_name(disposition)
    if name is None:
        text = decoded("the filename in the file's own part", disposition.encode("latin-1"), charset)
        name = next((value for value in _filenames(text) if isinstance(value, str)), "")
        name = _from_words(name) or _from_percent(name)
    return re.split(r"[/\\]", name)[-1]


def _filenames(disposition: str) -> list[str | tuple[str | None, str | None, str]]:
    """Return the values of `filename`, and of `filename*` as (charset, language, a character for each byte)."""
    message = Message()
    message["Content-Disposition"] = disposition
    try:
        parameters = message.get_params([], "Content-Disposition")
    except (TypeError, ValueError):  # what it does with `filename*` beside `filename*0`
        raise Problem("the header of the file's own part can't be read") from None
    return [value for name, value in parameters if name.lower() == "filename"]


def _extended_name(disposition: str) -> str | None:
    for value in _filenames(disposition):
        if isinstance(value, tuple) and value[0]:
            try:
                return decoded("filename*", value[2].encode("latin-1"), value[0])
            except Problem:  # `filename` may do
                continue
    return None


def _from_words(name: str) -> str | None:
    if not _WORDS.fullmatch(name):
        return None
    try:
        words = decode_header(name)
        if any(isinstance(word, str) for word, _ in words):  # it has its own idea of what a word is
            return None
        return "".join(decoded("filename", word, charset) for word, charset in words)
    except (HeaderParseError, ValueError, Problem):
        return None


def _from_percent(name: str) -> str:
    """Decode a name that was encoded as a whole: one that an encoder would leave as it is and that goes beyond ASCII.

    Of `100%25.mp4` nobody can tell whether it is a browser's file of that name or another client's `100%.mp4`: kept.
    """
    if "%" in name and name.isascii() and _PERCENT_ENCODED.fullmatch(name):
        try:
            plain = unquote_to_bytes(name).decode()
        except UnicodeDecodeError:
            plain = ""
        if not plain.isascii():
            return plain
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def name_in_path(target: str) -> str:
    """Return the name that a request's target says behind /api/open/upload/, percent-decoded.

    Raises:
        Problem: It is no plain name, or not in UTF-8.
    """
    path = target.partition("?")[0]
    name = unquote_to_bytes(path.partition("/api/open/upload/")[2].encode("utf-8", "surrogateescape"))
    if not name.strip():
        raise Problem("the name is missing: send the file to /api/open/upload/ and its name, percent-encoded")
    return checked_name(decoded("the name", name, None))


def checked_name(name: str) -> str:
    """Return a file name that is a plain name: no path, no control characters, at most 255 bytes.

    Raises:
        Problem: It is not.
    """
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise Problem("filename must be a plain name, without a path")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in name):
        raise Problem("filename must not contain control characters")
    if len(name.encode()) > _NAME_BYTES:
        raise Problem(f"filename must not be longer than {_NAME_BYTES} bytes")
    return name


def shown(word: object) -> str:
    """Return what a client sent so that a message can repeat it: short, in quotes, nothing that a terminal obeys."""
    text = "".join(character if character.isprintable() else "?" for character in str(word)[: _SHOWN + 1])
    return f"'{text}'" if len(text) <= _SHOWN else f"'{text[:_SHOWN]}…'"
