"""Every way of uploading asks who it is, and is of the cameras that the token is for."""

import json
from base64 import b64encode

from servers_access import Guarded

FILES = "/api/open/files"
TUS = {"Tus-Resumable": "1.0.0"}


def metadata(**fields: str) -> str:
    return ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in fields.items())


async def test_plain_bodies_and_tus_are_a_tokens_too(guarded: Guarded) -> None:
    gate, reader = await guarded.token("gate-7", "upload", cameras=("gate-7",)), await guarded.token("reader", "read")
    for headers, status in (({}, 401), (reader, 403)):
        for method, path in (
            ("PUT", "/api/open/upload/a.mp4"), ("POST", "/api/open/upload/a.mp4"), ("OPTIONS", FILES), ("POST", FILES),
            *((method, f"{FILES}/{'0' * 32}") for method in ("OPTIONS", "GET", "HEAD", "PATCH", "DELETE", "POST")),
        ):  # fmt: skip
            assert (await guarded.ask(method, path, {**TUS, **headers}))[0] == status, (method, path)
    # The method that a header names is no way around: a list may be read, an upload not be begun.
    override = {**TUS, **reader, "X-HTTP-Method-Override": "POST", "Upload-Length": "6"}
    assert (await guarded.ask("GET", FILES, override))[0] == 200
    assert (await guarded.ask("OPTIONS", FILES, override))[0] == 403
    assert await guarded.count("upload_info") == 0

    for query, status in (("", 200), ("?camera=gate-7", 200), ("?camera=gate-8", 403)):
        assert (await guarded.ask("PUT", f"/api/open/upload/a.mp4{query}", gate, data=b"frames"))[0] == status
    for fields, status in (({}, 201), ({"camera": "gate-7"}, 201), ({"camera": "gate-8"}, 403)):
        begin = {**TUS, **gate, "Upload-Length": "6", "Upload-Metadata": metadata(filename="b.mp4", **fields)}
        begun, _, answered = await guarded.ask("POST", FILES, begin)
        assert begun == status, fields
        if begun == 201:
            go_on = {**TUS, **gate, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            patched, _, answered = await guarded.ask("PATCH", answered["Location"], go_on, data=b"frames")
            assert (patched, "RoadVault-File-ID" in answered) == (204, True)
    refused = {line["subject"] for line in await guarded.acts() if line["outcome"].startswith("this token is not for")}
    assert refused == {"PUT /api/open/upload/{name}", "POST /api/open/files"}
    rows = await guarded.db.fetch_all("SELECT camera FROM file_upload_info")
    assert [row["camera"] for row in rows] == ["gate-7"] * 4
    lines = await guarded.db.fetch_all("SELECT facts FROM custody_info WHERE act = 'received'")
    assert [json.loads(line["facts"])["token"] for line in lines] == ["gate-7"] * 4


async def test_an_idempotency_key_is_the_tokens_own(guarded: Guarded) -> None:
    numbers: list[int] = []
    for name in ("one", "one", "other"):
        if name == "other" or not numbers:
            headers = {**await guarded.token(name, "upload"), "Idempotency-Key": "a key that both have"}
        status, body, _ = await guarded.ask("PUT", "/api/open/upload/a.mp4", headers, data=b"frames")
        assert status == 200
        numbers.append(body["result"]["fileID"])
    first, again, other = numbers
    assert first == again != other
