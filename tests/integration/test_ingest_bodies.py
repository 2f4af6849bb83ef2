"""Bodies that are malformed, too large, late or hostile: an answer in the API's shape, and nothing is left."""

import asyncio
import json
from collections.abc import AsyncIterator

from servers_ingest import Door, Open, answer_of, multipart

FILE = ('name=file; filename="a.mp4"', b"frames" * 1000)
NAME = ("name=filename", b"a.mp4")


async def whatever_was_sent_has_come(door: Door) -> None:
    """Ask something else: what was sent on another connection before has been read by then."""
    for _ in range(2):
        async with door.http.get(f"{door.url}/api/open/file/1") as response:
            await response.read()


async def test_a_body_that_is_too_large_is_not_asked_for(door: Door) -> None:
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        writer.write(
            b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1100000\r\n\r\n"
        )
        head, body = await answer_of(reader)
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in head.lower()
    assert (body["code"], body["status"]) == (413, 413)
    assert "1000000 bytes" in body["message"]
    assert await door.nothing_is_left()


async def test_a_body_that_can_be_taken_is_asked_for(door: Door) -> None:
    form = multipart(NAME, FILE)
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        writer.write(
            b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(form)
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(form)
        head, body = await answer_of(reader)
    assert (head.split(b" ")[1], body["code"]) == (b"200", 0)


async def test_a_request_that_comes_in_pieces_is_taken(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    body = json.dumps({"fileID": uploaded["result"]["fileID"], "cbUrl": "http://client/"}).encode()
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        writer.write(
            b"POST /api/open/downFile HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        for piece in (body[:9], body[9:30], body[30:]):
            await whatever_was_sent_has_come(door)
            writer.write(piece)
        head, answer = await answer_of(reader)
    assert (head.split(b" ")[1], answer) == (b"200", {"code": 0, "status": 0, "result": "ok"})
    assert await door.count("download_info") == 1


async def test_a_request_that_is_too_long_or_never_ends_is_refused(open_door: Open) -> None:
    async with open_door(upload_stall_seconds=0.3) as door:
        body = b'{"fileID": 1, "cbUrl": "http://client/", "x": "' + b"x" * 20_000 + b'"}'
        head = b"POST /api/open/downFile HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for sent, length, status in ((body, len(body), 413), (body[:100], len(body), 408)):
            async with door.connection() as (reader, writer), asyncio.timeout(10):
                writer.write(head + b"Content-Length: %d\r\n\r\n" % length + sent)
                got, answer = await answer_of(reader)
                assert (int(got.split(b" ")[1]), answer["code"]) == (status, status)
        assert await door.count("download_info") == 0


async def test_requests_that_can_not_be_read(door: Door) -> None:
    for content_type, body in (
        ("application/json", b"{"),
        ("application/json", b"\xff"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=fileID\r\n\r\n1"),
        ("application/x-www-form-urlencoded; charset=none-such", b"fileID=1"),
        ("application/x-www-form-urlencoded", b"fileID=\xff"),
    ):
        headers = {"Content-Type": content_type}
        async with door.http.post(f"{door.url}/api/open/downFile", data=body, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (400, 400), (content_type, body)


async def test_file_ids_that_are_none(door: Door) -> None:
    for digits in ("0", "1" * 20, "1" * 30, "9" * 5000, "²", "1.5", "-1"):
        async with door.http.get(f"{door.url}/api/open/file/{digits}") as response:
            assert (response.status, (await response.json())["code"]) == (400, 400), digits
        fields = {"fileID": digits, "cbUrl": "http://client/"}
        async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
            assert (response.status, "fileID" in (await response.json())["message"]) == (400, True), digits


async def test_malformed_parts_are_refused_also_behind_a_file(door: Door) -> None:
    for bad in (
        b"--b\r\nthis is no header\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nX-Long: " + b"x" * 10_000 + b"\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n" + b"".join(b"X-%d: x\r\n" % number for number in range(200)) + b"\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n",
        b"--b\r\nContent-Type: multipart/mixed\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=filename\r\n\r\n\xff\xfe.mp4\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=sha256\r\n\r\n" + b"a" * 5000 + b"\r\n--b--\r\n",
        b"--c\r\n",
        b"",
    ):
        for first in (b"", multipart(("name=file; filename=a", b"x" * 300_000), end=b"")):
            status, body = await door.send(first + bad)
            assert (status, body["code"]) == (400, 400), (bad[:100], body)
            assert await door.nothing_is_left()


async def test_two_files_in_one_form_are_refused(door: Door) -> None:
    for files in ([FILE, FILE], [("name=file; filename=a", b""), FILE]):
        status, body = await door.send(multipart(NAME, *files))
        assert (status, "more than one file" in body["message"]) == (400, True)
    assert await door.nothing_is_left()


async def test_what_has_no_meaning_is_bounded(door: Door) -> None:
    for others, message in (
        ([(f"name=field-{number}", b"x") for number in range(20)], "more than 16 parts"),
        ([("name=filename", b"a.mp4")] * 20, "more than 16 parts"),
        ([("x=y", b"x")] * 20, "more than 16 parts"),
        ([("name=other", b"x" * 70_000)], "more than 65536 bytes"),
        ([("x=y", b"x" * 10_000)] * 7, "more than 65536 bytes"),
    ):
        for order in ([FILE, *others], [*others, FILE]):
            status, body = await door.send(multipart(NAME, *order))
            assert (status, message in body["message"]) == (400, True), body
    assert await door.nothing_is_left()
    others = [("name=csrf", b"x" * 1000), ("name=submit", b"Upload"), ("x=y", b"unnamed")]
    status, _ = await door.send(multipart(NAME, others[0], FILE, *others[1:]))
    assert status == 200


async def test_a_body_without_a_length_is_taken_unless_it_is_too_large(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield multipart(NAME, end=b"") + b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
        for _ in range(12):
            yield b"x" * 100_000
        yield b"\r\n--b--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        whole = multipart(NAME, FILE)
        for begin in range(0, len(whole), 777):
            yield whole[begin : begin + 777]

    status, body = await door.send(endless())
    assert (status, body["code"]) == (413, 413)
    assert await door.nothing_is_left()
    assert (await door.send(pieces()))[0] == 200
