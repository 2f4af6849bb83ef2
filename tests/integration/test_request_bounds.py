"""How many requests may be open: for one file, and from one address."""

from servers_ingest import Door, Open


async def _ask(door: Door, file_id: int, number: int) -> tuple[int, str, str | None]:
    fields = {"fileID": file_id, "cbUrl": f"http://client/{number}"}
    async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
        body = await response.json()
        return response.status, str(body.get("message", "")), response.headers.get("Retry-After")


async def test_open_requests_are_bounded_for_each_file_and_each_peer(open_door: Open) -> None:
    async with open_door(requests_per_file=3, requests_per_peer=5) as door:
        first, second = [(await door.upload(b"frames"))[1]["result"]["fileID"] for _ in range(2)]
        assert [(await _ask(door, first, number))[0] for number in range(4)] == [200, 200, 200, 429]
        assert (await _ask(door, first, 0))[0] == 200  # joins the one that is open
        status, message, after = await _ask(door, first, 9)
        assert (status, after) == (429, "60")
        assert f"file {first} has 3 open requests" in message
        assert [(await _ask(door, second, number))[0] for number in range(3)] == [200, 200, 429]
        assert "the address 127.0.0.1 has 5 open requests" in (await _ask(door, second, 9))[1]
        assert await door.count("download_info") == 5
        row = await door.db.fetch_one("SELECT status, cb_url FROM file_upload_info WHERE file_id = %s", (second,))
        assert row == {"status": 2, "cb_url": "http://client/1"}
        # What has been called back, has failed or expired is not open any more.
        await door.db.execute("UPDATE download_info SET open_key = NULL WHERE file_id = %s", (first,))
        assert (await _ask(door, first, 0))[0] == 200
        assert await door.db.execute("UPDATE download_info SET peer = '192.0.2.1'") == 6
        assert [(await _ask(door, second, number))[0] for number in (2, 3)] == [200, 429]
