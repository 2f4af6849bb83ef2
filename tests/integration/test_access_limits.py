"""What a token is limited to: its hosts for callbacks, its cameras, its own batches; and what is written of it."""

import json
from typing import Any

from servers_access import FILE, Guarded

from roadvault_common.access import token_store


async def test_a_callback_goes_to_the_tokens_hosts_alone(guarded: Guarded) -> None:
    number = await guarded.file_id()
    headers = await guarded.token("client", "request", hosts=("client.example", "127.0.0.1:8080"))
    for url, expected in (
        ("http://client.example/done", (200, 0)),
        ("http://127.0.0.1:8080/", (200, 0)),
        ("http://127.0.0.1:8081/", (403, 403)),
        ("http://evil.example/?client.example", (403, 403)),
    ):
        status, body, _ = await guarded.ask(
            "POST", "/api/open/downFile", headers, json={"fileID": number, "cbUrl": url}
        )
        assert (status, body["code"]) == expected, url
    assert await guarded.count("download_info") == 2


async def test_a_token_for_a_camera_uploads_as_that_one_and_sees_no_other(guarded: Guarded) -> None:
    one = await guarded.token("gate-7", "upload,read,request", cameras=("gate-7",))
    some = await guarded.token("gates", "upload,read,request", cameras=("gate-*", "yard"))
    other, everything = await guarded.token("dock", "read,request", cameras=("dock",)), await guarded.token("all")
    numbers = []
    for headers, said, expected in (
        (one, {}, "gate-7"),
        (one, {"camera": "gate-7"}, "gate-7"),
        (one, {"camera": "gate-8"}, None),
        (some, {"camera": "gate-8"}, "gate-8"),
        (some, {}, None),
        (some, {"camera": "gate"}, None),
        (everything, {"camera": "dock"}, "dock"),
    ):
        status, body = await guarded.upload(headers, **said)
        assert status == (403 if expected is None else 200), (said, body)
        if expected is not None:
            numbers.append(body["result"]["fileID"])
            _, told, _ = await guarded.ask("GET", FILE.format(numbers[-1]), everything)
            assert told["result"]["camera"] == expected
    unknown = await guarded.file_id()
    assert await guarded.count("file_upload_info") == 5
    assert len([path for path in (guarded.ingest._vault.root / "received").rglob("*") if path.is_file()]) == 5
    first, _, third, dock = numbers
    for headers, seen in ((one, {first}), (some, {first, third}), (other, {dock}), (everything, {*numbers, unknown})):
        for number in (first, third, dock, unknown, 10_000):
            fine = {200, 409} if number in seen else {404}
            for path in ("", "/custody", "/receipt"):
                status, body, _ = await guarded.ask("GET", FILE.format(number) + path, headers)
                assert status in fine, (number, path)
                assert status != 404 or body["message"] == f"there is no file {number}"
            fields = {"fileID": number, "cbUrl": f"http://127.0.0.1:1/{number}"}
            status, _, _ = await guarded.ask("POST", "/api/open/downFile", headers, json=fields)
            assert status in fine
        if headers is not everything:
            assert (await guarded.ask("GET", "/file", headers))[0] == 403  # pages show all


async def test_lists_and_batches_are_of_the_tokens_cameras_and_its_own(guarded: Guarded) -> None:
    scopes = "upload,read,request"
    gate, gates = (
        await guarded.token("gate-7", scopes, cameras=("gate-7",)),
        await guarded.token("gates", scopes, cameras=("gate-*",)),
    )
    everything = await guarded.token("all")
    of: dict[str, list[int]] = {"gate-7": [], "gate-8": [], "dock": []}
    for camera in [*of, *of, *of]:
        _, body = await guarded.upload(everything, camera=camera)
        of[camera].append(body["result"]["fileID"])
    seen = {"gate": of["gate-7"], "gates": of["gate-7"] + of["gate-8"], "all": of["gate-7"] + of["gate-8"] + of["dock"]}
    for headers, numbers in ((gate, seen["gate"]), (gates, seen["gates"]), (everything, seen["all"])):
        found, query = list[int](), {"limit": "1", "order": "oldest"}
        for _ in range(20):
            status, body, _ = await guarded.ask("GET", "/api/open/files", headers, params=query)
            assert status == 200
            found += [file["fileID"] for file in body["result"]["files"]]
            if body["result"]["next"] is None:
                break
            query = {**query, "after": body["result"]["next"]}
        assert sorted(found) == sorted(numbers)
    for filters in ({"camera": "dock"}, {"camera": "gate-8"}, {"name": "a"}):
        _, body, _ = await guarded.ask("GET", "/api/open/files", gate, params=filters)
        assert {file["camera"] for file in body["result"]["files"]} <= {"gate-7"}

    async def batch(headers: dict[str, str], **wanted: object) -> tuple[int, dict[str, Any]]:
        fields = {"cbUrl": "http://127.0.0.1:1/", **wanted}
        status, body, _ = await guarded.ask("POST", "/api/open/downFiles", headers, json=fields)
        return status, body.get("result") or {}

    assert (await batch(gate, fileIDs=[of["gate-7"][0], of["dock"][0]]))[0] == 404
    assert (await batch(gate, filter={"camera": "dock"}))[0] == 404
    status, asked = await batch(gates, filter={"name": "a"})
    assert (status, asked["files"]) == (200, 6)
    number = asked["batchID"]
    await guarded.ingest.batches.asking.work(number)
    rows = await guarded.db.fetch_all("SELECT file_id, token_id FROM download_info ORDER BY file_id")
    assert [row["file_id"] for row in rows] == sorted(seen["gates"])
    (token_id,) = {row["token_id"] for row in rows}
    names = {row["token_id"]: row["name"] for row in await token_store.listed(guarded.db)}
    assert names[token_id] == "gates"
    asked_by = await guarded.db.fetch_all("SELECT facts FROM custody_info WHERE act = 'asked'")
    assert {json.loads(row["facts"])["token"] for row in asked_by} == {"gates"}
    for headers, expected in ((gates, 200), (gate, 404), (everything, 404)):
        for method in ("GET", "DELETE"):
            assert (await guarded.ask(method, f"/api/open/batch/{number}", headers))[0] == expected


async def test_the_custody_log_names_the_token(guarded: Guarded) -> None:
    headers = await guarded.token("dock-1")
    status, body = await guarded.upload(headers)
    assert status == 200
    number = body["result"]["fileID"]
    await guarded.ask("POST", "/api/open/downFile", headers, json={"fileID": number, "cbUrl": "http://127.0.0.1:1/"})
    _, custody, _ = await guarded.ask("GET", FILE.format(number) + "/custody", headers)
    assert [(line["act"], line["facts"]["token"]) for line in custody["result"]["lines"]] == [
        ("received", "dock-1"),
        ("asked", "dock-1"),
    ]
