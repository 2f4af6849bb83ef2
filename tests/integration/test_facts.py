"""What a client says of a file besides its name goes with it: into rows, tags and manifests, and back after a loss."""

import asyncio
import os
from datetime import datetime
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from servers_ingest import Door
from servers_operator import Console
from servers_recovery import recover, tagged

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.label import Label
from roadvault_common.files.tags import TAG
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.work.outcome import Done
from roadvault_ingest.states import known

SAID = {
    "camera": "gate 7 北",
    "recordedAt": "2026-11-28T08:30:00.5+08:00",
    "lat": "30.25",
    "lon": "-0.1",
    "tags": "b,a",
}
KNOWN = {
    "camera": "gate 7 北", "recordedAt": "2026-11-28T00:30:00.500+00:00", "lat": 30.25, "lon": -0.1, "tags": ["a", "b"]
}  # fmt: skip
NOTHING: dict[str, Any] = {"camera": None, "recordedAt": None, "lat": None, "lon": None, "tags": []}
WRITTEN = {**KNOWN, "recordedAt": "2026-11-28T00:30:00.500000Z"}
"""As a manifest and a tag have it."""


async def of(door: Door, file_id: int) -> dict[str, Any]:
    result = (await door.file(file_id))["result"]
    return {name: result[name] for name in KNOWN}


async def upload(door: Door, **fields: str) -> int:
    status, body = await door.upload(os.urandom(500), late_name=False, **fields)
    assert status == 200, body
    return int(body["result"]["fileID"])


async def test_they_come_in_a_form_and_in_the_query(door: Door) -> None:
    in_form, nothing = await upload(door, **SAID), await upload(door)
    query = "camera=gate+7+%E5%8C%97&recordedAt=2026-11-28T08:30:00.5+08:00&lat=30.25&lon=-0.1&tags=b,a&other=1"
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with door.http.post(f"{door.url}/api/open/upload?{query}", data=body, headers=headers) as response:
        in_query = (await response.json())["result"]["fileID"]
    assert [await of(door, one) for one in (in_form, in_query, nothing)] == [KNOWN, KNOWN, NOTHING]
    row = await door.db.fetch_one("SELECT recorded_at, lat FROM file_upload_info WHERE file_id = %s", (in_form,))
    assert row == {"recorded_at": datetime(2026, 11, 28, 0, 30, 0, 500_000), "lat": 30.25}  # noqa: DTZ001 - UTC
    # Twice, and not the same: nobody can tell which is meant.
    body = body.replace(b"--b--", b'--b\r\nContent-Disposition: form-data; name="camera"\r\n\r\nother\r\n--b--')
    async with door.http.post(f"{door.url}/api/open/upload?{query}", data=body, headers=headers) as response:
        assert response.status == 400
        assert "'camera' twice" in (await response.json())["message"]


@pytest.mark.parametrize(
    "said", [{"camera": "c" * 101}, {"lat": "91", "lon": "0"}, {"recordedAt": "2026-11-28"}, {"tags": "x" * 5000}]
)
async def test_what_can_not_be_leaves_nothing_behind(door: Door, said: dict[str, str]) -> None:
    status, body = await door.upload(b"bytes", late_name=False, **said)
    assert (status, body["code"]) == (400, 400)
    assert next(iter(said)) in body["message"]
    assert await door.nothing_is_left()
    assert await door.count("file_tag_info") == 0


async def test_uploads_without_them_cost_no_statement(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for name in ("execute", "insert", "fetch_all"):
        real = getattr(Transaction, name)

        async def noting(tx: Transaction, sql: str, args: Any = (), real: Any = real) -> Any:  # noqa: ANN401 - as real
            ran.append(sql)
            return await real(tx, sql, args)

        monkeypatch.setattr(Transaction, name, noting)
    await upload(door)  # which opens the folder
    ran.clear()
    await upload(door)
    assert len(ran) == 5, ran
    ran.clear()
    await asyncio.gather(*(upload(door, tags=f"t{number}") for number in range(20)))
    assert sum("file_tag_info" in sql for sql in ran) < 20


async def test_they_outlive_the_database(door: Door, console: Console) -> None:
    said, nothing = await upload(door, **SAID), await upload(door)
    paths = {tag.file_id: path for path, tag in tagged(door.vault).items()}
    raw = {number: orjson.loads(os.getxattr(door.vault.root / path, TAG)) for number, path in paths.items()}
    assert {name: raw[said][name] for name in KNOWN} == {**WRITTEN, "tags": ["a", "b"]}
    assert raw[nothing].keys() == {"file_id", "size", "sha256", "folder_id", "name", "received"}
    before = tagged(door.vault)
    for path in paths.values():
        os.removexattr(door.vault.root / path, TAG)
    await door.ingest.sweep_orphans()
    assert tagged(door.vault) == before
    for table in ("file_upload_info", "file_tag_info", "folder_info"):
        await door.db.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
    report = await recover(console)
    assert report.adopted == 2
    assert [await of(door, said), await of(door, nothing)] == [KNOWN, NOTHING]
    # And the manifest has them: only those that were given.
    assert await console.packer.packing.work(report.folders[0]) == Done()
    with_them, without = await manifest(console.db, console)
    assert {name: with_them[name] for name in KNOWN} == WRITTEN
    assert without.keys() == {"fileID", "name", "member", "size", "sha256", "offset", "received"}


async def manifest(db: Database, console: Console) -> list[dict[str, Any]]:
    """Return the files that the manifest of the newest archive names."""
    row: Row | None = await db.fetch_one(
        "SELECT path, label FROM zip_ipfs_info JOIN label_info USING (zip_id) ORDER BY zip_id DESC LIMIT 1"
    )
    assert row is not None
    label = Label.parse(row["label"])
    key = label.open(MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"])))
    begin = label.manifest.offset
    data = (console.vault.root / row["path"]).read_bytes()[begin : begin + label.manifest.size]
    files: list[dict[str, Any]] = orjson.loads(key.stream(begin).update(data))["files"]
    return files


FOUND = {
    **{name: name for name in ("camera", "duration", "container", "width", "height", "rotation", "lat", "lon")},
    "recorded_at": "recordedAt",
    "video_codec": "videoCodec",
    "audio_codec": "audioCodec",
    "frame_rate": "frameRate",
}
"""What a row of `video_info` has, and what the API calls it."""


def test_what_a_row_says_is_told_in_the_apis_words() -> None:
    row = dict.fromkeys(("camera", "recorded_at", "lat", "lon", "tags", *(f"found_{name}" for name in FOUND)))
    nothing = {**NOTHING, "found": None}
    assert known(row) == nothing
    assert known({**row, "tags": "b,a"}) == {**nothing, "tags": ["a", "b"]}
    of_a_film = {**dict.fromkeys(FOUND.values()), "duration": 2.0}
    assert known({**row, "found_duration": 2.0}) == {**nothing, "found": of_a_film}
