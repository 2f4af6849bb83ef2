"""Requests for files as clients write them on the wire: JSON under any type, forms, fields in the query."""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import quote

from clients_wire import TYPE, field, form
from servers_ingest import Door, answer_of

URL = "http://client/cb?a=1&b=%2F"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


async def ask(door: Door, body: bytes, content_type: str | None = JSON, query: str = "") -> tuple[int, dict[str, Any]]:
    """Send a request for a file as it is; return the status and the answer's body."""
    lines = [f"POST /api/open/downFile{query} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [] if content_type is None else [f"Content-Type: {content_type}"]
    async with door.connection() as (reader, writer), asyncio.timeout(20):
        writer.write("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)
        head, answer = await answer_of(reader)
    return int(head.split(b" ")[1]), answer


def as_json(file_id: object = 1, url: object = URL, **more: object) -> bytes:
    return json.dumps({"fileID": file_id, "cbUrl": url, **more}, ensure_ascii=False).encode()


def as_form(file_id: str = "1", url: str = URL) -> bytes:
    return f"fileID={quote(file_id)}&cbUrl={quote(url, safe='')}".encode()


class Asked(NamedTuple):
    """Who writes so, the body, its type, the query, and the URL that is called."""

    who: str
    body: bytes
    content_type: str | None = JSON
    query: str = ""
    url: str = URL


WHOLE = ("fileID must be a positive whole number, not ",)
CHINESE = "http://client/回调?名=值"
TAKEN = [
    *(
        Asked(f"JSON called {kind}", as_json(), kind)
        for kind in (
            "application/json;charset=utf-8",
            "application/json; charset=ISO-8859-1",
            "text/json",
            "application/vnd.api+json",
            "text/plain;charset=UTF-8",
            FORM,
            "application/octet-stream",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "nonsense",
            "; charset=",
            "",
            None,
        )
    ),
    Asked("a byte order mark", b"\xef\xbb\xbf" + as_json()),
    Asked("the mark, of no type", b"\xef\xbb\xbf \r\n" + as_json(), None),
    Asked("blanks around it", b"\r\n\t " + as_json() + b"\n", "text/plain"),
    Asked("PHP, Python: UTF-8 escaped", json.dumps({"fileID": 1, "cbUrl": CHINESE}).encode(), url=CHINESE),
    Asked("UTF-8 as it is", as_json(url=CHINESE), url=CHINESE),
    Asked("JSON in GBK", as_json(url=CHINESE).decode().encode("gbk"), "application/json; charset=GBK", url=CHINESE),
    Asked("more than was asked for", as_json(token="x", nested={"fileID": 2}, list=[1])),
    Asked("Gson, Lua, MATLAB: 17.0", as_json(1.0)),
    Asked("an exponent", b'{"fileID": 1e0, "cbUrl": "%s"}' % URL.encode()),
    Asked("a text", as_json("1")),
    Asked("a text with a point", as_json("1.0")),
    Asked("blanks around a number", as_json(" 1\n")),
    Asked("zeros in front", as_json("0001")),
    Asked("blanks around the URL", as_json(url=f" \t{URL}\r\n")),
    Asked("curl --data-urlencode", as_form(), FORM),
    Asked("a form of no type", as_form(), None),
    Asked("a form called text/plain", as_form(), "text/plain"),
    Asked("a form with blanks", as_form(" 1 ", f" {URL} ") + b"\r\n", FORM),
    Asked("a form with plus signs", b"fileID=+1+&cbUrl=http://client/%2B+", FORM, url="http://client/+"),
    Asked(
        "a form in GBK", "fileID=1&cbUrl=http://client/回调?名=值".encode("gbk"), f"{FORM}; charset=gbk", url=CHINESE
    ),
    Asked(
        "a form in GBK, encoded",
        f"fileID=1&cbUrl={quote(CHINESE.encode('gbk'), safe='')}".encode(),
        f"{FORM}; charset=GB2312",
        url=CHINESE,
    ),
    Asked("the same field twice, alike", as_form() + b"&fileID=1", FORM),
    Asked(
        "axios with FormData", form(field("1", name="fileID"), field(URL, name="cbUrl"), field("x", name="file")), TYPE
    ),
    Asked("blanks in a multipart form", form(field(" 1\r\n", name="fileID"), field(f" {URL}\r\n", name="cbUrl")), TYPE),
    Asked("Spring, axios params: fields in the query", b"", None, "?" + as_form().decode()),
    Asked("UTF-8 in the query", b"", None, f"?fileID=1&cbUrl={quote(CHINESE, safe='')}", CHINESE),
    Asked("the same with a type", b"", JSON, "?" + as_form(" 1 ").decode()),
]


async def test_requests_as_clients_write_them_are_taken(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    assert uploaded["result"]["fileID"] == 1
    for case in TAKEN:
        status, answer = await ask(door, case.body, case.content_type, case.query)
        assert (case.who, status, answer.get("result")) == (case.who, 200, "ok"), answer
        row = await door.db.fetch_one("SELECT file_id, cb_url FROM download_info")
        assert (case.who, row) == (case.who, {"file_id": 1, "cb_url": case.url})
        await door.db.execute("DELETE FROM download_info")


class Refused(NamedTuple):
    """What is wrong, the body, words of the message, its type, and the query."""

    what: str
    body: bytes
    says: tuple[str, ...]
    content_type: str | None = JSON
    query: str = ""


REFUSED = [
    Refused("fileId", b'{"fileId": 1, "cbUrl": "http://c/"}', ("fileID is missing", "as JSON", "'fileId', 'cbUrl'")),
    Refused(
        "fileid in a form", b"fileid=1&cbUrl=http://c/", ("fileID is missing", "as a form", "'fileid', 'cbUrl'"), FORM
    ),
    Refused("no URL", b'{"fileID": 1}', ("cbUrl is missing", "'fileID'")),
    Refused("null", b'{"fileID": null, "cbUrl": null}', ("fileID is missing",)),
    Refused("a URL that is a number", as_json(url=7), ("cbUrl must be a text, not '7'",)),
    Refused("a URL of blanks", as_json(url="  "), ("http",)),
    *(
        Refused(f"a number that is none: {value!r}", as_json(value), WHOLE)
        for value in (
            0,
            -1,
            1.5,
            True,
            False,
            "",
            " ",
            "x",
            "1.5",
            "-1",
            "+1",
            "1e1",
            "1_0",
            "0x1",
            "\uff11",
            ".0",
            "NaN",
            [1],
            {"a": 1},
            2.0**63,
            9007199254740992.0,
            1 << 63,
            "9" * 20,
            "9" * 5000,
            1e300,
            "1.0.0",
        )
    ),
    Refused("NaN", b'{"fileID": NaN, "cbUrl": "http://c/"}', ("not JSON", "'application/json'", "column 12")),
    Refused("Python's repr", b"{'fileID': 1}", ("not JSON", "'text/plain'", "column 2"), "text/plain"),
    Refused("JSON that is cut off", as_json()[:-3], ("not JSON",)),
    Refused("JSON in GBK that says nothing of it", as_json(url=CHINESE).decode().encode("gbk"), ("not UTF-8",)),
    Refused("JSON in UTF-16", as_json().decode().encode("utf-16"), ("not UTF-8",)),
    Refused("JSON in an unknown charset", as_json(), ("'x-none'", "UTF-8"), "application/json; charset=x-none"),
    Refused("a deep number", b'{"fileID": ' + b"[" * 1000 + b"]" * 1000 + b"}", WHOLE),
    Refused("a deep URL", b'{"fileID": 1, "cbUrl": ' + b"[" * 1000 + b"]" * 1000 + b"}", ("cbUrl must be a text",)),
    Refused("deep JSON", b'{"a":' * 3000, ("not JSON",)),
    Refused("a list", b"[1, 2]", ("JSON object",), None),
    Refused("JSON in JSON", json.dumps(as_json().decode()).encode(), ("JSON object",)),
    Refused("a form called JSON", as_form(), ("not JSON", "'application/json'")),
    Refused("a number alone", b"17", ("neither JSON nor a form", "'text/plain'"), "text/plain"),
    Refused("a number alone of no type", b"17", ("neither JSON nor a form", "no Content-Type"), None),
    Refused("a type that a terminal would obey", b"17", ("'text/?x'",), "text/\u202ex"),
    Refused("XML", b"<fileID v='1'/>", ("fileID is missing", "'text/xml'"), "text/xml"),
    Refused("GBK that says nothing of it", "fileID=1&cbUrl=http://c/回".encode("gbk"), ("not UTF-8",), FORM),
    Refused("a charset that is not known", as_form(), ("'x-none'", "UTF-8"), f"{FORM}; charset=x-none"),
    Refused("two numbers", as_form() + b"&fileID=2", ("'fileID' came twice",), FORM),
    Refused("two in the query", b"", ("'fileID' came twice",), None, "?fileID=1&fileID=2&cbUrl=http://c/"),
    Refused("half a character in JSON", b'{"fileID": 1, "cbUrl": "http://c/\\ud800"}', ("not JSON",)),
    Refused("bytes in the query", b"", ("not UTF-8",), None, "?fileID=1&cbUrl=http://c/%FF"),
    Refused("GBK in the query", b"", ("not UTF-8",), None, "?fileID=1&cbUrl=http://c/%BB%D8"),
    Refused("many fields", as_form() + b"&a=b" * 50, ("more than 32 fields",), FORM),
    Refused("nothing", b"", ("fileID is missing", "query", "none"), None),
    Refused("blanks", b" \r\n", ("fileID is missing", "query", "none")),
    Refused("a query beside a body", as_form()[:8], ("cbUrl is missing", "'fileID'"), FORM, "?cbUrl=http://c/"),
    Refused(
        "a multipart form without its boundary",
        form(field("1", name="fileID")),
        ("no boundary",),
        "multipart/form-data",
    ),
    Refused("a multipart form that is cut off", form(field("1", name="fileID"), end=b""), ("ends early",), TYPE),
    Refused(
        "a multipart form with another name", form(field("1", name="file_id")), ("fileID is missing", "'file_id'"), TYPE
    ),
]


async def test_requests_that_can_not_be_taken_are_refused_in_words(door: Door) -> None:
    for case in REFUSED:
        status, answer = await ask(door, case.body, case.content_type, case.query)
        assert (case.what, status, answer["code"]) == (case.what, 400, 400), answer
        for words in case.says:
            assert words in answer["message"], (case.what, answer)
        assert len(answer["message"]) <= 400
    assert await door.count("download_info") == 0
