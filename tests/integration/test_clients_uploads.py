"""Uploads as clients write them on the wire: HTTP libraries, browsers, cameras, boards that build a form by hand."""

import asyncio
import hashlib
import os

from clients_wire import CJK, DATA, FILE, TYPE, B, Taken, contents, field, form, part, request
from servers_ingest import Door, Open, answer_of

FORMS = [
    Taken(
        "OkHttp: Content-Length in each part",
        form(
            field(CJK, f"Content-Length: {len(CJK.encode())}"),
            part(
                'form-data; name="file"; filename="x"', DATA, "Content-Type: video/mp4", f"Content-Length: {len(DATA)}"
            ),
        ),
        CJK,
    ),
    Taken(
        "Go, Rust: parts' headers in lower case, no blanks",
        form(part('form-data;name="file";filename="a.mp4"', DATA, "content-type:video/mp4")).replace(
            b"Content-D", b"content-d"
        ),
    ),
    Taken(
        "Apache HttpClient 4, strict",
        form(
            part(
                'form-data; name="file"; filename="a.mp4"',
                DATA,
                "Content-Type: application/octet-stream",
                "Content-Transfer-Encoding: binary",
            )
        ),
    ),
    Taken("a part's header on two lines", form(part('form-data;\r\n name="file";\r\n\tfilename="a.mp4"'))),
    Taken(
        "thirty headers in a part",
        form(part('form-data; name="file"; filename="a.mp4"', DATA, *(f"X-Header-{n}: x" for n in range(29)))),
    ),
    Taken(
        "a header in bytes of no charset",
        form(part('form-data; name="file"; filename="a.mp4"', DATA, b"X-Camera: \xc7\xb0\xb7\xbd\xff")),
    ),
    Taken("no line break behind the last boundary", form(FILE, end=b"--X-b0undary--")),
    Taken("a preamble", b"This is a multi-part message.\r\n" + form(FILE)),
    Taken("cameras and modems: a line break first", b"\r\n" + form(FILE)),
    Taken("something behind the form", form(FILE) + b"\r\nbye\r\n"),
    Taken(
        "Hikvision: a part of XML with a filename beside",
        form(
            part(
                'form-data; name="Move.xml"; filename="Move.xml"',
                b"<Alert/>",
                "Content-Type: application/xml",
                "Content-Length: 8",
            ),
            FILE,
        ),
    ),
    Taken(
        "blanks behind each boundary",
        b"--b \r\n" + FILE + b"\r\n--b\t \r\n" + field("b.mp4") + b"\r\n--b-- \r\n",
        "b.mp4",
        "multipart/form-data; boundary=b",
    ),
    Taken(
        "and in front of the file",
        b"\r\n--b \r\n" + field("b.mp4") + b"\r\n--b  \r\n" + FILE + b"\r\n--b--",
        "b.mp4",
        "multipart/form-data; boundary=b",
    ),
    Taken(
        "the type in capitals, charset first", form(FILE), "a.mp4", f"Multipart/Form-Data; charset=UTF-8; Boundary={B}"
    ),
    Taken("charset last", form(FILE), "a.mp4", f"multipart/form-data; boundary={B}; charset=UTF-8"),
    Taken("no blanks in the type", form(FILE), "a.mp4", f"multipart/form-data;boundary={B}"),
    Taken(
        "only boundaries and the file",
        form(FILE, boundary=b"----WebKitFormBoundaryAbC"),
        "a.mp4",
        "multipart/form-data; boundary=----WebKitFormBoundaryAbC",
    ),
    *(
        Taken(
            "Java's and .NET's boundaries without quotes",
            form(FILE, boundary=odd),
            "a.mp4",
            f"multipart/form-data; boundary={odd.decode()}",
        )
        for odd in (b"----=_Part_0_12345.6789", b"=_a/b", b"'quoted'", b"(a)?:b", b"a b,c", "边界".encode(), b"x" * 200)
    ),
    *(
        Taken(
            "and with quotes",
            form(FILE, boundary=odd),
            "a.mp4",
            f'multipart/form-data; charset=x; boundary="{odd.decode()}"; x=y',
        )
        for odd in (b"----=_Part_0_12345.6789", b"a;b", b"boundary=1")
    ),
]


async def test_forms_as_clients_write_them_are_taken(door: Door) -> None:
    for case in FORMS:
        assert (case.who, *await contents(door, case)) == (case.who, 200, case.name, DATA)


async def test_data_that_nearly_holds_the_boundary_is_kept(door: Door) -> None:
    data = b"\r\n--X-b0undar\r\n--X-b0undar \r\n-\r--\r\n--b0undary\r\n" + os.urandom(200_000) + b"\r"
    for mark in (b"--X-b0undary\r\n", b"--X-b0undary \r\n"):
        body = mark + part("form-data; name=file; filename=a.mp4", data) + b"\r\n" + mark + field("n") + form()
        body = body.replace(field("n") + b"--", field("n") + b"\r\n--")
        assert await contents(door, Taken("", body)) == (200, "n", data)


async def test_a_file_under_another_name_is_refused_before_all_of_it_is_sent(door: Door) -> None:
    begun = form(field("a.mp4"), part("form-data; name=video; filename=a", b"x" * 200_000), end=b"")
    status, head, answer = await request(door, begun, TYPE, "Content-Length: 900000")
    assert (status, "'filename', 'video'" in answer["message"]) == (400, True)
    assert b"\r\nconnection: close\r\n" in head.lower()


async def test_a_form_that_is_over_is_answered_at_once_whatever_its_length_promises(door: Door) -> None:
    long = form(part("form-data; name=file; filename=a", b"x" * 400_000))
    for body, more in ((form(FILE), 1), (form(FILE), 2), (form(FILE, end=b"--X-b0undary--"), 2), (long, 60_000)):
        status, head, answer = await request(door, body, TYPE, f"Content-Length: {len(body) + more}")
        assert (status, answer["code"]) == (200, 0)
        assert b"\r\nconnection: close\r\n" in head.lower()  # the next request would begin in this one's body


async def test_such_a_client_may_read_until_the_connection_ends_or_send_the_rest(door: Door) -> None:
    body = form(FILE)
    async with door.connection() as (reader, writer), asyncio.timeout(9):  # aiohttp waits 10 s for the rest
        writer.write(
            b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (TYPE.encode(), len(body) + 2, body)
        )
        answer = await reader.read()
        writer.write(b"\r\n")
        await writer.drain()
    assert b'"code": 0' in answer


async def test_a_form_that_is_over_long_before_its_length_is_not_taken(open_door: Open) -> None:
    async with open_door(upload_stall_seconds=0.3) as door:
        body = form(FILE)
        status, _, _ = await request(door, body, TYPE, f"Content-Length: {len(body) + 100_000}")
        assert status == 408
        status, _, answer = await request(door, body + b"x" * 100_000, TYPE)
        assert (status, "more than 65536 bytes" in answer["message"]) == (400, True)
        assert await door.nothing_is_left()


async def test_a_connection_is_kept_for_the_next_upload(door: Door) -> None:
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        for late in (b"", b"\r\n"):
            body = form(FILE, end=b"--X-b0undary--")
            writer.write(
                b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b%b"
                % (TYPE.encode(), len(body + late), body, late)
            )
            head, _ = await answer_of(reader)
            assert (head.split(b" ")[1], b"connection: close" in head.lower()) == (b"200", False)
        pieces = [form(FILE, end=b""), b"--X-b0undary--\r\n"]
        writer.write(b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n")
        writer.write(b"Content-Type: %b\r\n\r\n" % TYPE.encode())
        writer.writelines(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        writer.write(b"0\r\nX-Trailer: 1\r\n\r\n")
        head, _ = await answer_of(reader)
        assert (head.split(b" ")[1], b"connection: close" in head.lower()) == (b"200", False)


async def test_an_old_client_is_answered_and_one_that_gives_no_length(door: Door) -> None:
    status, _, _ = await request(door, form(FILE), version="1.0")
    assert status == 200
    status, head, answer = await request(door, b"", TYPE, "X-No-Length: 1")
    assert (status, "Content-Length" in answer["message"]) == (411, True)
    assert b"\r\nconnection: close\r\n" in head.lower()


async def test_another_method_is_told_which_one_is_right(door: Door) -> None:
    status, head, answer = await request(door, DATA, "video/mp4", method="PUT")
    assert (status, answer["code"]) == (405, 405)
    assert "use POST" in answer["message"]
    assert b"\r\nAllow: POST\r\n" in head
    status, _, answer = await request(door, DATA, "video/mp4", "Content-Length: 900000", method="PUT")
    assert status == 405


async def test_a_raw_body_in_chunks_is_refused_at_once(door: Door) -> None:
    """ffmpeg -method POST: what it sends has no end of its own."""
    status, head, answer = await request(door, b"5\r\nhello\r\n", "video/mp2t", "Transfer-Encoding: chunked")
    assert (status, answer["code"], "multipart/form-data" in answer["message"]) == (415, 415, True)
    assert b"\r\nconnection: close\r\n" in head.lower()


async def test_an_empty_clip_between_good_ones_is_refused_alone(door: Door) -> None:
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        for content, status in ((DATA, b"200"), (b"", b"400"), (DATA, b"200")):
            body = form(field("clip.mp4"), part("form-data; name=file", content))
            writer.write(
                b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (TYPE.encode(), len(body), body)
            )
            head, _ = await answer_of(reader)
            assert (head.split(b" ")[1], b"connection: close" in head.lower()) == (status, False)
    assert (await door.count("file_upload_info"), len(door.files_on_disk())) == (2, 2)


async def test_what_broke_off_at_a_fifth_is_sent_again_and_taken(door: Door) -> None:
    data = os.urandom(500_000)
    digest = field(hashlib.sha256(data).hexdigest(), name="sha256")
    body = form(digest, field("a.mp4"), part("form-data; name=file", data))
    async with door.connection() as (_, writer), asyncio.timeout(10):
        writer.write(
            b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (TYPE.encode(), len(body), body[: len(body) // 5])
        )
        await writer.drain()
        writer.transport.abort()
    assert await contents(door, Taken("", body)) == (200, "a.mp4", data)
    assert await door.count("file_upload_info") == 1
    async with asyncio.timeout(10):
        while len(door.files_on_disk()) > 1:  # of the one that broke off nothing stays
            await asyncio.sleep(0.01)
