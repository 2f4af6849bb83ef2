"""The text of tus 1.0.0, sentence by sentence: what a server must and should do, each with its test.

What is not held, and why, is said in architecture/http-api.md: an empty file (Upload-Length: 0) is refused, and a whole
upload is not terminated, since it is a file by then.
"""

import asyncio
import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from servers_ingest import Door, Open
from tus_requests import TYPE, Answered, Client, metadata

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def tus(door: Door) -> Client:
    return Client(door.http, door.url)


def checksum(algorithm: str, content: bytes) -> dict[str, str]:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).digest()
    return {"Upload-Checksum": f"{algorithm} {b64encode(digest).decode()}"}


# --- headers -----------------------------------------------------------------------------------------------------


async def test_upload_offset_must_be_a_non_negative_integer(tus: Client) -> None:
    url = await tus.begun(10)
    for value in ("-1", "1.5", "x", "0x1", "\uff11", "9" * 30):
        answered = await tus.ask("PATCH", url, {"Content-Type": TYPE, "Upload-Offset": value}, b"x")
        assert answered.status == 400, value
    assert (await tus.head(url)).offset == 0


async def test_upload_length_must_be_a_non_negative_integer(tus: Client) -> None:
    for value in ("-1", "1.5", "x", "9" * 30):
        headers = {"Upload-Length": value, "Upload-Metadata": metadata(filename="a")}
        assert (await tus.ask("POST", tus.files, headers)).status == 400, value


async def test_tus_resumable_must_be_in_every_answer_but_options_and_of_a_known_version(tus: Client) -> None:
    url = await tus.begun(10)
    answers = [
        await tus.begin(10),
        await tus.head(url),
        await tus.patch(url, 0, b"x"),
        await tus.patch(url, 0, b"x"),
        await tus.head(url[:-1] + "x"),
        await tus.ask("DELETE", url),
        await tus.ask("PUT", url, {"X-HTTP-Method-Override": "PUT"}),
    ]
    assert [answered.status for answered in answers] == [201, 200, 204, 409, 404, 204, 405]
    assert all(answered.headers["Tus-Resumable"] == "1.0.0" for answered in answers[:-1])


async def test_a_version_that_is_not_supported_must_be_refused_with_412_and_not_processed(
    door: Door, tus: Client
) -> None:
    url = await tus.begun(10)
    for version in ("0.2.2", "1.0", "", "2.0.0"):
        for method, headers in (
            ("POST", {"Upload-Length": "10", "Upload-Metadata": metadata(filename="a")}),
            ("HEAD", {}),
            ("PATCH", {"Content-Type": TYPE, "Upload-Offset": "0"}),
            ("DELETE", {}),
        ):
            at = tus.files if method == "POST" else url
            answered = await tus.ask(method, at, {**headers, "Tus-Resumable": version})
            assert (answered.status, answered.headers["Tus-Version"]) == (412, "1.0.0"), (version, method)
            assert "Upload-Offset" not in answered.headers
    assert ((await tus.head(url)).offset, await door.count("upload_info")) == (0, 1)


async def test_x_http_method_override_must_be_taken_for_the_method(tus: Client) -> None:
    url = await tus.begun(10)
    headers = {"Content-Type": TYPE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await tus.ask("POST", url, headers, b"01234")).offset == 5
    assert (await tus.ask("POST", url, {"X-HTTP-Method-Override": "HEAD"})).offset == 5
    assert (await tus.ask("POST", url, {"X-HTTP-Method-Override": "delete"})).status == 204
    assert (await tus.head(url)).status == 404


# --- requests ----------------------------------------------------------------------------------------------------


async def test_head_must_tell_the_offset_always_and_the_length_if_it_is_known(tus: Client) -> None:
    url = await tus.begun(10)
    for offset, piece in ((0, b"0123"), (4, b"456789"), (10, b"")):
        told = await tus.head(url)
        assert (told.status, told.offset, told.headers["Upload-Length"]) == (200, offset, "10")
        await tus.patch(url, offset, piece)


async def test_head_of_what_is_not_there_should_be_404_without_an_offset(tus: Client) -> None:
    for name in ("0" * 32, "x", "%ff", "0" * 33):
        told = await tus.head(f"{tus.files}/{name}")
        assert (told.status, "Upload-Offset" in told.headers) == (404, False), name


async def test_an_answer_to_head_must_not_be_cached(tus: Client) -> None:
    assert (await tus.head(await tus.begun(10))).headers["Cache-Control"] == "no-store"


async def test_patch_must_be_of_the_right_type(tus: Client) -> None:
    url = await tus.begun(10)
    for kind in ("", "application/octet-stream", "video/mp4"):
        answered = await tus.ask("PATCH", url, {"Content-Type": kind, "Upload-Offset": "0"}, b"x")
        assert answered.status == 415, kind
    assert (await tus.head(url)).offset == 0


async def test_offsets_that_do_not_match_must_be_409_and_modify_nothing(tus: Client) -> None:
    url = await tus.begun(10)
    await tus.patch(url, 0, b"0123")
    for offset in (0, 3, 5, 10, 11):
        assert (await tus.patch(url, offset, b"x")).status == 409, offset
    assert (await tus.head(url)).offset == 4


async def test_patch_must_be_204_with_the_offset_before_and_what_was_received(tus: Client) -> None:
    url = await tus.begun(len(CONTENT))
    for offset in range(0, len(CONTENT), 100):
        piece = CONTENT[offset : offset + 100]
        answered = await tus.patch(url, offset, piece)
        assert (answered.status, answered.offset, answered.text) == (204, offset + len(piece), "")


async def test_patch_of_what_is_not_there_should_be_404(tus: Client) -> None:
    assert (await tus.patch(f"{tus.files}/{'0' * 32}", 0, b"x")).status == 404


async def test_a_timeout_should_close_the_connection_and_store_what_came(open_door: Open) -> None:
    async with open_door(upload_stall_seconds=0.3) as door:
        tus = Client(door.http, door.url)
        url = await tus.begun(100)
        async with door.connection() as (reader, writer), asyncio.timeout(20):  # aiohttp waits a while for the rest
            writer.write(
                f"PATCH {url.removeprefix(door.url)} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0"
                f"\r\nContent-Type: {TYPE}\r\nContent-Length: 100\r\n\r\n0123".encode()
            )
            answer = await reader.read()
        # Not 408: of a 4xx clients think that trying again is of no use, but for 409 and 423.
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert (await tus.head(url)).offset == 4


async def test_options_must_tell_versions_and_extensions_whatever_version_is_sent(tus: Client) -> None:
    url = await tus.begun(10)
    for at in (tus.files, url):
        for version in ("", "0.2.2"):
            told = await tus.ask("OPTIONS", at, {"Tus-Resumable": version})
            assert (told.status, told.headers["Tus-Version"]) == (204, "1.0.0")
            assert told.headers["Tus-Max-Size"] == "1000000"
            extensions = told.headers["Tus-Extension"].split(",")
            assert {
                "creation",
                "creation-with-upload",
                "creation-defer-length",
                "termination",
                "checksum",
                "expiration",
                "concatenation",
            } <= set(extensions)
            assert "sha1" in told.headers["Tus-Checksum-Algorithm"].split(",")


# --- creation ----------------------------------------------------------------------------------------------------


async def test_creation_must_be_201_with_a_location(tus: Client) -> None:
    answered = await tus.begin(10)
    assert answered.status == 201
    assert (await tus.head(tus.at(answered))).offset == 0


async def test_creation_must_say_a_length_or_defer_it(tus: Client) -> None:
    name = metadata(filename="a")
    for headers, status in (
        ({}, 400),
        ({"Upload-Defer-Length": "2"}, 400),
        ({"Upload-Defer-Length": "0"}, 400),
        ({"Upload-Defer-Length": "1", "Upload-Length": "10"}, 400),
        ({"Upload-Defer-Length": "1"}, 201),
    ):
        assert (await tus.ask("POST", tus.files, {**headers, "Upload-Metadata": name})).status == status, headers


async def test_a_length_that_was_deferred_is_told_later_and_must_not_change(door: Door, tus: Client) -> None:
    url = await tus.begun(None)
    told = await tus.head(url)
    assert (told.headers["Upload-Defer-Length"], "Upload-Length" in told.headers) == ("1", False)
    assert (await tus.patch(url, 0, b"0123")).offset == 4
    assert (await tus.head(url)).headers["Upload-Defer-Length"] == "1"
    assert (await tus.patch(url, 4, b"45", {"Upload-Length": "3"})).status == 400
    assert (await tus.patch(url, 4, b"45", {"Upload-Length": "10"})).offset == 6
    told = await tus.head(url)
    assert (told.headers["Upload-Length"], "Upload-Defer-Length" in told.headers) == ("10", False)
    assert (await tus.patch(url, 6, b"6", {"Upload-Length": "11"})).status == 400
    whole = await tus.patch(url, 6, b"6789", {"Upload-Length": "10"})
    assert (await door.file(whole.file_id))["result"]["size"] == 10


async def test_a_length_may_be_told_when_all_has_come(door: Door, tus: Client) -> None:
    url = await tus.begun(None)
    await tus.patch(url, 0, CONTENT)
    whole = await tus.patch(url, len(CONTENT), b"", {"Upload-Length": str(len(CONTENT))})
    assert (whole.status, whole.offset) == (204, len(CONTENT))
    assert (await door.file(whole.file_id))["result"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_metadata_must_be_pairs_with_unique_keys_and_come_back_as_they_were(tus: Client) -> None:
    name = metadata(filename="測試 a.mp4")
    for header in (name, f"{name},is_confidential", f"{name}, empty , b AP8=", f"{name},filetype dmlkZW8vbXA0"):
        answered = await tus.begin(10, None, {"Upload-Metadata": header})
        assert answered.status == 201, header
        assert (await tus.head(tus.at(answered))).headers["Upload-Metadata"] == header
    for header in (f"{name},{name}", f"{name},,", f"{name},a b c", f"{name},a %", f"{name}; x", "é YQ=="):
        assert (await tus.begin(10, None, {"Upload-Metadata": header})).status == 400, header


async def test_a_length_over_the_maximum_must_be_413(door: Door, tus: Client) -> None:
    assert (await tus.begin(1_000_001)).status == 413
    assert (await tus.begin(1_000_000)).status == 201
    url = await tus.begun(None)
    assert (await tus.patch(url, 0, b"x", {"Upload-Length": "1000001"})).status == 413
    assert (await tus.patch(url, 0, b"x" * 1_000_001)).status == 413
    assert await door.count("file_upload_info") == 0


async def test_more_than_the_length_is_413(tus: Client) -> None:
    url = await tus.begun(10)
    assert (await tus.patch(url, 0, b"x" * 11)).status == 413
    assert (await tus.head(url)).offset == 0


async def test_creation_with_upload_must_tell_the_offset(door: Door, tus: Client) -> None:
    part = await tus.begin(len(CONTENT), CONTENT[:100])
    assert (part.status, part.offset) == (201, 100)
    assert (await tus.patch(tus.at(part), 100, CONTENT[100:])).offset == len(CONTENT)
    whole = await tus.begin(len(CONTENT), CONTENT)
    assert (whole.status, whole.offset) == (201, len(CONTENT))
    assert (await door.file(whole.file_id))["result"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    wrong = await tus.begin(10, b"0123", {"Content-Type": "video/mp4"})
    assert wrong.status == 415


# --- expiration --------------------------------------------------------------------------------------------------


async def test_creation_and_patch_must_tell_when_an_upload_expires(tus: Client) -> None:
    answered = await tus.begin(10)
    url = tus.at(answered)
    for one in (answered, await tus.patch(url, 0, b"x"), await tus.head(url)):
        expires = parsedate_to_datetime(one.headers["Upload-Expires"])
        assert timedelta(hours=23) < expires - datetime.now(UTC) < timedelta(hours=25)


async def test_an_upload_that_has_expired_should_be_410_then_404(door: Door, tus: Client) -> None:
    url = await tus.begun(10)
    await tus.patch(url, 0, b"x")
    await door.db.execute("UPDATE upload_info SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
    assert [(await tus.head(url)).status, (await tus.patch(url, 1, b"x")).status] == [410, 410]
    await door.ingest.sweep_uploads()
    assert [(await tus.head(url)).status, (await tus.patch(url, 1, b"x")).status] == [404, 404]
    assert await door.nothing_is_left()


# --- checksum ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
async def test_checksums_are_verified_and_a_wrong_one_must_be_460_and_change_nothing(
    door: Door, tus: Client, algorithm: str
) -> None:
    url = await tus.begun(len(CONTENT))
    assert (await tus.patch(url, 0, CONTENT[:100], checksum(algorithm, CONTENT[:100]))).offset == 100
    for piece in (CONTENT[100:200], CONTENT[100:]):
        assert (await tus.patch(url, 100, piece, checksum(algorithm, b"other"))).status == 460
        assert (await tus.head(url)).offset == 100
    whole = await tus.patch(url, 100, CONTENT[100:], checksum(algorithm, CONTENT[100:]))
    assert (await door.file(whole.file_id))["result"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_a_checksum_that_is_not_known_or_no_checksum_is_400(tus: Client) -> None:
    url = await tus.begun(10)
    for value in ("crc32 AAAA", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "sha1", "sha1 !", "sha1 AAAA", ""):
        headers = {"Content-Type": TYPE, "Upload-Offset": "0"}
        answered = await tus.ask("PATCH", url, {**headers, "Upload-Checksum": value or " "}, b"hello")
        assert answered.status == 400, value
    assert (await tus.head(url)).offset == 0


# --- termination -------------------------------------------------------------------------------------------------


async def test_termination_must_be_204_and_free_what_it_took(door: Door, tus: Client) -> None:
    url = await tus.begun(10)
    await tus.patch(url, 0, b"0123")
    assert (await tus.ask("DELETE", url)).status == 204
    assert await door.nothing_is_left()

    async def again() -> list[Answered]:
        return [await tus.head(url), await tus.patch(url, 4, b"x"), await tus.ask("DELETE", url)]

    assert [answered.status for answered in await again()] == [404, 404, 404]


async def test_a_whole_upload_is_a_file_and_is_not_terminated(door: Door, tus: Client) -> None:
    whole = await tus.begin(4, b"0123")
    assert (await tus.ask("DELETE", tus.at(whole))).status == 403
    assert (await door.file(whole.file_id))["result"]["size"] == 4


async def test_a_body_is_asked_for_only_once_it_is_going_to_be_taken(door: Door, tus: Client) -> None:
    url = (await tus.begun(10)).removeprefix(door.url)
    for offset, line in ((3, b"HTTP/1.1 409 "), (0, b"HTTP/1.1 100 ")):
        async with door.connection() as (reader, writer), asyncio.timeout(20):
            writer.write(
                f"PATCH {url} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n"
                f"Content-Type: {TYPE}\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            assert (await reader.readline()).startswith(line)
            if not offset:
                await reader.readline()
                writer.write(b"0123456789")
                assert (await reader.readline()).startswith(b"HTTP/1.1 204 ")


# --- concatenation -----------------------------------------------------------------------------------------------

PART = {"Upload-Concat": "partial", "Upload-Metadata": ""}


async def parts_of(tus: Client, *contents: bytes) -> list[str]:
    urls = [await tus.begun(len(content), PART) for content in contents]
    for url, content in zip(urls, contents, strict=True):
        assert (await tus.patch(url, 0, content)).offset == len(content)
    return urls


async def join(tus: Client, urls: list[str], **headers: str) -> Answered:
    final = {"Upload-Concat": "final;" + " ".join(urls), "Upload-Metadata": metadata(filename="a.mp4")}
    return await tus.ask(
        "POST", tus.files, {**final, **{name.replace("_", "-"): text for name, text in headers.items()}}
    )


async def test_parts_are_joined_in_their_order_and_may_be_used_more_than_once(door: Door, tus: Client) -> None:
    first, second = await parts_of(tus, CONTENT[:300], CONTENT[300:])
    assert await door.count("file_upload_info") == 0
    short = [second.removeprefix(door.url), first, first]
    whole = await join(tus, short)
    assert (whole.status, whole.offset) == (201, len(CONTENT) + 300)
    content = CONTENT[300:] + CONTENT[:300] * 2
    assert (await door.file(whole.file_id))["result"]["sha256"] == hashlib.sha256(content).hexdigest()
    told = await tus.head(tus.at(whole))
    assert (told.headers["Upload-Concat"], told.headers["Upload-Length"]) == ("final;" + " ".join(short), "1324")
    assert (told.offset, told.file_id) == (1324, whole.file_id)
    again = await join(tus, [first, second])
    assert (await door.file(again.file_id))["result"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_head_of_a_part_must_tell_that_it_is_one(tus: Client) -> None:
    url = await tus.begun(10, PART)
    for offset, piece in ((0, b"0123"), (4, b"456789"), (10, b"")):
        told = await tus.head(url)
        assert (told.offset, told.headers["Upload-Concat"], told.headers["Upload-Length"]) == (offset, "partial", "10")
        assert "RoadVault-File-ID" not in (await tus.patch(url, offset, piece)).headers


async def test_what_is_joined_must_not_be_patched(tus: Client) -> None:
    whole = await join(tus, await parts_of(tus, b"0123", b"4567"))
    assert (await tus.patch(tus.at(whole), 8, b"x")).status == 403


async def test_what_can_not_be_joined(door: Door, tus: Client) -> None:
    (part,) = await parts_of(tus, b"0123")
    unfinished, ordinary = await tus.begun(10, PART), await tus.begun(10)
    for urls, status in (
        ([part, unfinished], 409),
        ([ordinary], 400),
        ([f"{tus.files}/{'0' * 32}"], 404),
        ([], 400),
        (["x"], 400),
        ([f"{door.url}/api/open/file/{part[-32:]}"], 400),
    ):
        assert (await join(tus, urls)).status == status, urls
    headers = {"Upload-Concat": "finished", "Upload-Length": "1", "Upload-Metadata": metadata(filename="a")}
    assert (await tus.ask("POST", tus.files, headers)).status == 400
    assert (await join(tus, [part], Upload_Metadata="")).status == 400
    assert await door.count("file_upload_info") == 0


async def test_parts_of_more_than_the_maximum_must_be_413(tus: Client) -> None:
    parts = await parts_of(tus, b"x" * 600_000)
    assert (await join(tus, parts * 2)).status == 413


async def test_what_is_joined_twice_under_one_key_is_one_file_and_parts_go(door: Door, tus: Client) -> None:
    parts = await parts_of(tus, CONTENT[:500], CONTENT[500:])
    answers = [await join(tus, parts, Idempotency_Key="k") for _ in range(2)]
    assert [answered.file_id for answered in answers] == [1, 1]
    await door.db.execute("UPDATE upload_info SET expires_at = expires_at - INTERVAL 900 SECOND")
    await door.ingest.sweep_uploads()
    assert [(await tus.head(url)).status for url in parts] == [404, 404]
    assert len(door.files_on_disk()) == 1
    assert (await join(tus, parts, Idempotency_Key="k")).file_id == 1
