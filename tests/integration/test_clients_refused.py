"""Uploads that can't be taken: what their clients are told, in words that help."""

from typing import NamedTuple

from clients_wire import CJK, DATA, FILE, TYPE, field, form, named, part, request
from servers_ingest import Door


class Refused(NamedTuple):
    """What is wrong, the body, words of the message, and the Content-Type."""

    what: str
    body: bytes
    says: tuple[str, ...]
    content_type: str | None = TYPE
    status: int = 400


VIDEO = part('form-data; name="video"; filename="a.mp4"', b"x" * 200_000)
REFUSED = [
    Refused(
        "curl on a Chinese Windows: GBK",
        form(part(b'form-data; name="file"; filename="\xbe\xa9A.mp4"')),
        ("filename", "not UTF-8"),
    ),
    Refused("a field in GBK", form(field(CJK.encode("gbk")), FILE), ("'filename'", "not UTF-8")),
    Refused(
        "GBK that is none",
        form(field(b"\xff\xff", "Content-Type: text/plain; charset=GBK"), FILE),
        ("'filename'", "not 'GBK'"),
    ),
    Refused(
        "a charset that is not known",
        form(field("a", "Content-Type: text/plain; charset=x-none"), FILE),
        ("'x-none'", "send it in UTF-8"),
    ),
    Refused(
        "a codec of Python's that is no charset",
        form(field("a", "Content-Type: text/plain; charset=rot13"), FILE),
        ("'rot13'",),
    ),
    Refused(
        "a charset of control characters",
        form(field("a", 'Content-Type: text/plain; charset="\x1b]0;x"'), FILE),
        ("'?]0;x'",),
    ),
    Refused("two names", form(field("a.mp4"), field("b.mp4"), FILE), ("'filename' twice",)),
    Refused(
        "fileName instead",
        form(part('form-data; name="fileName"', b"x.mp4"), part('form-data; name="file"')),
        ("filename is missing", "'fileName', 'file'"),
    ),
    Refused("a path in the field", form(field("D:\\a.mp4"), FILE), ("without a path",)),
    Refused("a name that is a path's end", named('filename="D:\\"'), ("filename is missing",)),
    Refused("a line break by percent", named('filename="a%0Ab.mp4"'), ("control characters",)),
    Refused("a control character in a word", named('filename="=?utf-8?Q?a=00b?="'), ("control characters",)),
    Refused("a header of semicolons", named('filename="' + ";" * 3000 + '"'), ("too many parameters",)),
    Refused("a name in pieces and whole", named("filename*=utf-8''a; filename*0*=utf-8''b"), ("can't be read",)),
    Refused("a word over two lines", named('filename="=?utf-8?Q?a\nb?="'), ("control characters",)),
    Refused("256 bytes", form(field("中" * 84 + ".mp4"), FILE), ("255",)),
    Refused(
        "PHP, axios: file[]",
        form(part('form-data; name="file[]"; filename="a.mp4"')),
        ("no file", "named file", "'file[]'"),
    ),
    Refused(
        "another name, short",
        form(field("a.mp4"), part('form-data; name="upload"; filename="a"')),
        ("no file", "'filename', 'upload'"),
    ),
    Refused("another name, long", form(field("a.mp4"), VIDEO), ("no file", "named file", "'filename', 'video'")),
    Refused(
        "names that a terminal would obey",
        form(part(b'form-data; name="\xe8\xa7\x86\x1b[31m\xff' + b"y" * 90 + b'"')),
        ("'视?[31m�" + "y" * 33 + "…'",),
    ),
    Refused("a part without a name", form(part("form-data", b"x")), ("parts that came are ''",)),
    Refused("no parts", form(), ("no file", "none")),
    Refused(
        "a snapshot of a camera that restarts",
        form(field("0.mp4"), part("form-data; name=file; filename=a", b"")),
        ("empty",),
    ),
    Refused("two files", form(FILE, FILE), ("one in each request",)),
    Refused(
        "base64",
        form(part('form-data; name="file"; filename="a"', b"AAAA", "Content-Transfer-Encoding: base64")),
        ("the file", "'base64'", "as they are"),
    ),
    Refused(
        "a field in a broken base64",
        form(FILE, field("A", "content-transfer-encoding: Base64")),
        ("'filename'", "'base64'"),
    ),
    Refused(
        "a field in an encoding of no standard",
        form(FILE, field("A", "Content-Transfer-Encoding: x-uuencode")),
        ("'filename'", "'x-uuencode'"),
    ),
    Refused(
        "LF",
        b'--b\nContent-Disposition: form-data; name="file"; filename="a.jpg"\n\n' + DATA + b"\n--b--\n",
        ("line breaks", "CRLF"),
        "multipart/form-data; boundary=b",
    ),
    Refused(
        "LF in a part's headers",
        b'--b\r\nContent-Disposition: form-data; name="file"\n\n' + DATA + b"\r\n--b--\r\n",
        ("line break",),
        "multipart/form-data; boundary=b",
    ),
    Refused("cameras that end without --", form(FILE, end=b""), ("ends early",)),
    Refused("cut off in the file", form(FILE)[:-30], ("ends early",)),
    Refused(
        "a boundary without its two dashes",
        form(FILE),
        ("-- and the boundary",),
        "multipart/form-data; boundary=--X-b0undary",
    ),
    Refused("another boundary", form(FILE), ("-- and the boundary",), "multipart/form-data; boundary=y"),
    Refused(
        "and much behind it", form(field("x" * 99_999)), ("-- and the boundary",), "multipart/form-data; boundary=y"
    ),
    Refused(
        "blanks behind a later boundary alone",
        form(FILE).replace(b"--X-b0undary--", b"--X-b0undary \r\n" + field("x") + b"\r\n--X-b0undary--"),
        ("after boundary",),
    ),
    Refused("a Content-Type set by hand", form(FILE), ("no boundary", "by itself"), "multipart/form-data"),
    Refused("a boundary of strange bytes", form(FILE), ("boundary",), "multipart/form-data; boundary=\udcff"),
    Refused(
        "a part that is shorter than it says",
        form(part("form-data; name=file; filename=a", DATA, "Content-Length: 999")),
        ("Content-Length",),
    ),
    Refused("a part of mail", form(part("attachment; name=file; filename=a")), ("Content-Disposition",)),
    Refused("nothing", b"", ("body is empty",)),
    Refused("the bytes alone", DATA, ("multipart/form-data", "'video/mp4'"), "video/mp4", 415),
    Refused("the bytes alone, of no type", DATA, ("multipart/form-data", "without a Content-Type"), None, 415),
    Refused(
        "parts of another kind",
        form(FILE),
        ("multipart/form-data", "'multipart/mixed'"),
        "multipart/mixed; boundary=X-b0undary",
        415,
    ),
]


async def test_what_can_not_be_taken_is_refused_in_words(door: Door) -> None:
    for case in REFUSED:
        status, _, answer = await request(door, case.body, case.content_type)
        assert (case.what, status, answer["code"]) == (case.what, case.status, case.status), answer
        for words in case.says:
            assert words in answer["message"], (case.what, answer)
        assert "codec" not in answer["message"], answer
    assert await door.nothing_is_left()
