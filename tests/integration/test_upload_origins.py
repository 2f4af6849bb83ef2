"""Pages of other origins may upload if a setting names the origin: what their browsers send, and what they are told."""

import asyncio

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from servers_access import OpenGuarded
from servers_ingest import Door, Open
from tus_requests import TYPE, metadata

from roadvault_common.access import passwords, user_store
from roadvault_common.access.scopes import Role, Scope
from roadvault_ingest.access.routes import RULES
from roadvault_ingest.elsewhere import METHODS

PORTAL = "https://portal.example"
BROWSER = {"Origin": PORTAL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "6", "Upload-Metadata": metadata(filename="a.mp4")}
WAYS = [("POST", "upload"), ("PUT", "upload/a.mp4"), ("POST", "files"), ("PATCH", f"files/{'0' * 32}")]


def asks(method: str, **headers: str) -> dict[str, str]:
    return {**BROWSER, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x", **headers}


def opened(headers: CIMultiDictProxy[str]) -> set[str]:
    return {name.lower() for name in headers if name.lower().startswith("access-control-")}


def test_what_is_let_in_are_all_ways_to_upload_and_nothing_else() -> None:
    allowed = {(method, path) for path, methods in METHODS.items() for method in methods if method != "HEAD"}
    below = {"/api/open/upload/{name}": "/api/open/upload/", "/api/open/files/{upload_id}": "/api/open/files/"}
    for_programs = {key for key, rule in RULES.items() if rule.scope is Scope.UPLOAD and not rule.page}
    ways = {(method, below.get(path, path)) for method, path in for_programs}
    assert allowed == ways


async def test_nothing_is_let_in_by_default(door: Door) -> None:
    for method, path in WAYS:
        for asked, headers in (("OPTIONS", asks(method)), (method, BROWSER)):
            async with door.http.request(asked, f"{door.url}/api/open/{path}", headers=headers) as answer:
                assert (answer.status, (await answer.json())["error"]) == (403, "other_site")
                assert not opened(answer.headers)
    assert await door.nothing_is_left()


async def test_pages_of_a_named_origin_upload_in_every_way(open_door: Open) -> None:
    async with open_door(upload_origins=f"{PORTAL}, http://localhost:3000") as door:
        for method, path in WAYS:
            async with door.http.options(f"{door.url}/api/open/{path}", headers=asks(method)) as answer:
                assert (answer.status, await answer.read()) == (204, b"")
                assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
                assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
                sent = answer.headers["Access-Control-Allow-Headers"].split(", ")
                assert {*TUS, "Authorization", "Content-Type", "Upload-Offset", "Idempotency-Key"} <= {*sent}
        form = aiohttp.FormData({"filename": "a.mp4"})
        form.add_field("file", b"frames", filename="a.mp4")
        plainly = BROWSER | {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}
        async with door.http.post(f"{door.url}/api/open/upload", headers=plainly, data=form) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "http://localhost:3000")
        async with door.http.put(f"{door.url}/api/open/upload/b.mp4", headers=BROWSER, data=b"frames") as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, PORTAL)
        async with door.http.post(f"{door.url}/api/open/files", headers={**BROWSER, **TUS}) as answer:
            read = answer.headers["Access-Control-Expose-Headers"].split(", ")
            told = {"Location", "Tus-Resumable", "Upload-Offset", "Upload-Expires"}
            assert (answer.status, told <= answer.headers.keys(), told <= {*read}) == (201, True, True)
            url = door.url + answer.headers["Location"]
        patch = {**BROWSER, "Tus-Resumable": "1.0.0", "Content-Type": TYPE}
        for offset, status in (("3", 409), ("0", 204)):  # what is refused may be read, too
            async with door.http.patch(url, headers={**patch, "Upload-Offset": offset}, data=b"frames") as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, PORTAL)
        async with door.http.head(url, headers={**BROWSER, "Tus-Resumable": "1.0.0"}) as answer:
            read = answer.headers["Access-Control-Expose-Headers"].split(", ")
            assert {"RoadVault-File-ID", "Repr-Digest"} <= answer.headers.keys() & {*read}
            assert "Access-Control-Allow-Credentials" not in answer.headers
        assert await door.count("file_upload_info") == 3


@pytest.mark.parametrize(
    ("method", "path", "changed"),
    [
        ("POST", "files", {"Origin": "https://evil.example"}),
        ("POST", "files", {"Origin": f"{PORTAL}.evil.example"}),
        ("POST", "files", {"Origin": "http://portal.example"}),
        ("POST", "files", {"Origin": "null"}),
        ("POST", "upload", {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}),  # a form, which tells nothing
        ("POST", "upload", {"Sec-Fetch-Mode": "no-cors"}),
        # What is no upload, and the list that stands where uploads are begun.
        ("GET", "files", {}),
        ("GET", "file/1", {}),
        ("POST", "downFile", {}),
        ("DELETE", "batch/1", {}),
        ("GET", "../../metrics", {}),
        ("GET", "upload/%2e%2e/files", {}),
    ],
)
async def test_nobody_and_nothing_else_is_let_in(
    open_door: Open, method: str, path: str, changed: dict[str, str]
) -> None:
    async with open_door(upload_origins=PORTAL) as door:
        url = f"{door.url}/api/open/{path}"
        async with door.http.request(method, url, headers=BROWSER | changed) as answer:
            assert (answer.status, opened(answer.headers)) == (403, set())
        async with door.http.options(url, headers=asks(method, **changed)) as answer:
            allowed = answer.headers.get("Access-Control-Allow-Methods", "").split(", ")
            assert answer.status == 403 or method not in allowed


async def test_pages_show_a_token_and_a_persons_session_does_not_count(open_guarded: OpenGuarded) -> None:
    async with open_guarded(upload_origins=PORTAL) as guarded:
        words = "correct horse battery staple"
        hashed = await asyncio.to_thread(passwords.hashed, words, "anna")
        await guarded.db.transact(lambda tx: user_store.add(tx, "anna", Role.OPERATOR, hashed))
        await guarded.ask("POST", "/login", data={"name": "anna", "password": words})
        assert (await guarded.upload(None))[0] == 200
        path = "/api/open/upload/a.mp4"
        assert (await guarded.ask("OPTIONS", path, asks("PUT")))[0] == 204  # which never shows a token
        for shown, expected in (({}, 401), (await guarded.token("portal", "upload"), 200)):
            status, _, told = await guarded.ask("PUT", path, {**BROWSER, **shown}, data=b"frames")
            assert (status, told["Access-Control-Allow-Origin"]) == (expected, PORTAL)
            assert "Access-Control-Allow-Credentials" not in told
