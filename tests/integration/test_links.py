"""Links as HTTP has them: ranges, conditions, names, and pages of other origins."""

import asyncio
import base64
import hashlib
import os
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

from servers_door import Answer, LinkDoor, OpenLinks, token
from yarl import URL

BYTES = bytes(range(256)) * 40
CJK = "2025年1月 路口.mp4"


async def test_a_range_gets_its_bytes(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    for asked, start, end in (
        ("bytes=0-", 0, None),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=0-0", 0, 1),
        ("bytes=-500", -500, None),
        ("bytes=-99999999", 0, None),
        ("bytes=0-99999999", 0, None),
        ("Bytes=5-9", 5, 10),
        ("bytes = 5-9", 5, 10),
        ("bytes=5-9,", 5, 10),
        ("bytes=5-" + "9" * 30, 5, None),
    ):
        answer = await link_door.ask(url, Range=asked, Accept_Encoding="gzip, br")
        wanted, first = BYTES[start:end], start % len(BYTES)
        assert (asked, answer.status, answer.body) == (asked, 206, wanted)
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(BYTES)}"
        assert answer.headers["Content-Length"] == str(len(wanted))
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Type"] == "video/mp4"
        assert "Content-Encoding" not in answer.headers


async def test_a_range_that_is_not_to_be_served_gets_the_whole(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    several = ["bytes=0-50, 100-150", "bytes=0-0,-1"]
    strange = [
        "items=0-5",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "bytes=x-y",
        "bytes=٣-٤",
        "bytes=1-" + "9" * 5000,
    ]
    for asked in several + strange:
        answer = await link_door.ask(url, Range=asked)
        assert (asked, answer.status, answer.body) == (asked, 200, BYTES)
        assert "Content-Range" not in answer.headers


async def test_a_range_past_the_end_gets_416(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    for asked in (f"bytes={len(BYTES)}-", "bytes=-0", "bytes=99999999-"):
        answer = await link_door.ask(url, Range=asked)
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(BYTES)}")
        assert answer.body == b"the file has no such bytes\n"


async def test_a_range_is_served_if_it_is_of_the_same_file(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    head = (await link_door.ask(url, "HEAD")).headers
    later = format_datetime(parsedate_to_datetime(head["Last-Modified"]).replace(year=2099), usegmt=True)
    for validator, status in (
        (head["ETag"], 206),
        (head["Last-Modified"], 206),
        ('"other"', 200),
        (f"W/{head['ETag']}", 200),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 200),
        (later, 200),
        ("nonsense", 200),
    ):
        answer = await link_door.ask(url, Range="bytes=5-9", If_Range=validator)
        assert (answer.status, validator) == (status, validator)
        assert answer.body == (BYTES[5:10] if status == 206 else BYTES)


async def test_conditions(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    head = (await link_door.ask(url, "HEAD")).headers
    etag, modified = head["ETag"], head["Last-Modified"]
    before, after = "Mon, 01 Jan 2024 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00 GMT"
    assert etag == f'"{hashlib.sha256(BYTES).hexdigest()}"'  # the same over several doors, and requests
    for headers, status in (
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": f'W/{etag}, "other"'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": '"other"', "If_Modified_Since": after}, 200),
        ({"If_Modified_Since": modified}, 304),
        ({"If_Modified_Since": before}, 200),
        ({"If_Modified_Since": "nonsense"}, 200),
        ({"If_Match": etag}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": f"W/{etag}"}, 412),
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": etag, "If_Unmodified_Since": before}, 200),
        ({"If_Unmodified_Since": before}, 412),
        ({"If_Unmodified_Since": modified}, 200),
    ):
        for method in ("GET", "HEAD"):
            answer = await link_door.ask(url, method, **headers)
            assert (answer.status, headers) == (status, headers)
            assert answer.body == (BYTES if method == "GET" else b"") or status != 200
            assert answer.headers["ETag"] == etag


async def test_the_digest_is_of_the_whole_file_whichever_part_is_sent(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(BYTES).digest()).decode()}:"
    for method, asked, status in (("GET", "", 200), ("GET", "bytes=5-9", 206), ("HEAD", "", 200)):
        answer = await link_door.ask(url, method, Range=asked)
        assert (answer.status, answer.headers["Repr-Digest"]) == (status, digest)
    for headers in ({"Range": "bytes=99999999-"}, {"If_Match": '"other"'}):  # a line of text, not the file
        assert "Repr-Digest" not in (await link_door.ask(url, **headers)).headers


async def test_head_tells_what_get_would_bring(link_door: LinkDoor) -> None:
    answer = await link_door.ask(await link_door.link(BYTES), "HEAD", Range="bytes=0-9")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, str(len(BYTES)), b"")
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_eight_sockets_bring_the_parts_of_one_file(link_door: LinkDoor) -> None:
    content = os.urandom(3_000_000)
    url, step = await link_door.link(content), 375_000
    host, port = link_door.url.removeprefix("http://").split(":")
    sockets = [await asyncio.open_connection(host, int(port)) for _ in range(8)]  # all are open before the first asks
    for number, (_, writer) in enumerate(sockets):
        asked = f"bytes={number * step}-{(number + 1) * step - 1}"
        writer.write(f"GET {URL(url).path} HTTP/1.1\r\nHost: {host}\r\nRange: {asked}\r\n\r\n".encode())

    async def part(reader: asyncio.StreamReader) -> bytes:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 206 ")
        return await reader.readexactly(step)

    assert b"".join(await asyncio.gather(*(part(reader) for reader, _ in sockets))) == content
    for _, writer in sockets:
        writer.close()


async def test_every_answer_is_harmless_to_a_browser(link_door: LinkDoor) -> None:
    page = await link_door.link(b"<script>alert(1)</script>", "a.html")
    answers = [
        await link_door.ask(page),
        await link_door.ask(page, Range="bytes=0-1"),
        await link_door.ask(page, Range="bytes=999-"),
        await link_door.ask(page, "POST"),
        await link_door.ask(f"{link_door.url}/d/nonsense"),
        await link_door.ask(f"{link_door.url}/nowhere"),
    ]
    assert [answer.status for answer in answers] == [200, 206, 416, 405, 403, 404]
    for answer in answers:
        assert answer.headers["Content-Security-Policy"] == "sandbox"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "private, no-store"
    assert answers[0].headers["Content-Type"] == "application/octet-stream"
    assert answers[0].headers["Content-Disposition"].startswith("attachment; ")
    for refused in answers[2:]:
        assert refused.headers["Content-Type"].startswith("text/plain")
        assert refused.body.count(b"\n") == 1


async def test_only_get_and_head_are_taken(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = await link_door.ask(url, method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


async def test_links_that_were_spoilt_on_the_way_are_refused(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    spoilt = [f"{url}{more}" for more in (".", "%20", ")", ",", "%00", "%FF", "/", "/x")]
    spoilt += [url[:-1], url.replace("/d/", "/D/"), url.replace("/d/", "//d/"), f"{link_door.url}/d/"]
    spoilt += [f"{link_door.url}/d/..%2F..%2Fetc%2Fpasswd", f"{link_door.url}/d/{'A' * 3000}"]
    for each in spoilt:
        answer = await link_door.ask(str(URL(each, encoded=each.isascii())))
        assert (each, answer.status) in {(each, 403), (each, 404)}
    for more in ("?utm_source=mail", "路", "%0d%0a"):  # what base64 passes over takes nothing away from the signature
        assert (await link_door.ask(f"{url}{more}")).status == 200


async def test_a_link_ends_with_its_time_and_its_file(link_door: LinkDoor) -> None:
    url = await link_door.link(BYTES)
    rows = await link_door.db.fetch_all("SELECT download_id, path FROM download_info")
    download_id = rows[0]["download_id"]
    for bad in (
        token(download_id, seconds=-1),
        token(download_id, secret="another secret, as long"),
        "nonsense",
    ):
        assert (await link_door.ask(f"{link_door.url}/d/{bad}")).status == 403
    assert (await link_door.ask(f"{link_door.url}/d/{token(99)}")).status == 404
    for path in ("/", "/file", "/api/open/file/1", "/metrics", "/healthz", "/readyz"):
        assert (await link_door.ask(link_door.url + path)).status == 404
    (link_door.vault.root / rows[0]["path"]).unlink()
    answer = await link_door.ask(url)
    assert (answer.status, answer.body) == (404, b"this file is no longer here; ask for it again\n")


async def test_nothing_but_extractions_is_served_whatever_a_row_says(link_door: LinkDoor) -> None:
    url, root = await link_door.link(BYTES), link_door.vault.root
    (root / "received/upload").write_bytes(b"not for the outside")
    (root / "downloads/link").symlink_to("../received/upload")
    os.mkfifo(root / "downloads/pipe")
    for path in ("received/upload", "downloads/link", "downloads/pipe", "downloads", "downloads/../received/upload"):
        await link_door.db.execute("UPDATE download_info SET path = %s", (path,))
        assert (path, (await link_door.ask(url)).status) == (path, 404)


async def test_scripts_of_no_origin_may_read_links_unless_a_setting_says_so(
    link_door: LinkDoor, open_link_door: OpenLinks
) -> None:
    answer = await link_door.ask(await link_door.link(BYTES), Origin="https://portal.example")
    assert "Access-Control-Allow-Origin" not in answer.headers
    async with open_link_door(link_origins="https://portal.example, http://localhost:3000") as door:
        url = await door.link(BYTES)
        for origin in ("https://portal.example", "http://localhost:3000"):
            answer = await door.ask(url, Origin=origin, Range="bytes=0-9")
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (206, origin)
            assert {"Content-Range", "ETag", "Repr-Digest"} <= _exposed(answer)
            assert (await door.ask(f"{url}x", Origin=origin)).headers["Access-Control-Allow-Origin"] == origin
            asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}
            preflight = await door.ask(url, "OPTIONS", Origin=origin, **asked)
            assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, origin)
            assert "Range" in preflight.headers["Access-Control-Allow-Headers"]
        for origin in ("https://evil.example", "https://portal.example.evil.example", "null"):
            answer = await door.ask(url, Origin=origin)
            assert (answer.status, answer.headers["Vary"]) == (200, "Origin")
            assert "Access-Control-Allow-Origin" not in answer.headers
    async with open_link_door(link_origins="*") as door:
        url = await door.link(BYTES)
        answer = await door.ask(url, Origin="https://any.example")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        answer = await door.ask(url, "OPTIONS")  # nobody's preflight
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


def _exposed(answer: Answer) -> set[str]:
    return set(answer.headers["Access-Control-Expose-Headers"].split(", "))


async def test_the_name_arrives_whole(link_door: LinkDoor) -> None:
    answer = await link_door.ask(await link_door.link(BYTES, CJK), "HEAD")
    assert f"filename*=UTF-8''{quote(CJK, safe='')}" in answer.headers["Content-Disposition"]
