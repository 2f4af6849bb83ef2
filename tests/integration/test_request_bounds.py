"""How many requests may be open: for one file, and from one address."""

import asyncio

import aiohttp
from servers_ingest import Door, Open, multipart


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


async def _from(door: Door, *forwarded: str, number: int, peer: str = "127.0.0.1") -> int:
    """Ask as a proxy at `peer` would, or one who says it is; return the status."""
    connector, url = aiohttp.TCPConnector(local_addr=(peer, 0)), f"{door.url}/api/open/downFile"
    headers = [("X-Forwarded-For", one) for one in forwarded]
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post(url, json={"fileID": 1, "cbUrl": f"http://client/{number}"}, headers=headers) as response,
    ):
        return response.status


async def test_a_known_proxys_clients_count_each_by_itself_and_none_can_choose_its_address(open_door: Open) -> None:
    async with open_door(requests_per_peer=1, proxies="127.0.0.1, 10.1.0.0/24") as door:
        await door.upload(b"frames")
        assert await _from(door, "192.0.2.1", number=1) == 200
        # A client writes what it likes; the proxy's word comes last, in the same header or in one of its own.
        assert await _from(door, "198.51.100.9, 192.0.2.1", number=2) == 429
        assert await _from(door, "198.51.100.9", "192.0.2.1", number=2) == 429
        assert await _from(door, "192.0.2.2", number=2) == 200
        assert await _from(door, "192.0.2.3, 10.1.0.7", number=3) == 200  # two proxies of ours, one behind the other
        assert await _from(door, "2001:db8::1", number=4) == 200
        assert await _from(door, "2001:db8::2", number=5) == 429  # a client has all of such a network
        # One who is no proxy of ours counts by his own address, whatever he writes.
        assert await _from(door, "192.0.2.7", number=6, peer="127.0.0.2") == 200
        assert await _from(door, "192.0.2.8", number=7, peer="127.0.0.2") == 429
        # And a proxy that tells nobody's address by its own.
        assert await _from(door, "192.0.2.9, unknown", number=8) == 200
        assert await _from(door, number=9) == 429
        rows = await door.db.fetch_all("SELECT peer FROM download_info ORDER BY download_id")
    told = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::/64", "127.0.0.2", "127.0.0.1"]
    assert [row["peer"] for row in rows] == told


async def test_uploads_through_a_known_proxy_count_for_their_clients(open_door: Open) -> None:
    form = multipart(("name=file; filename=a", b"x" * 1000))
    async with open_door(uploads_per_peer=1, proxies="127.0.0.1") as door, door.connection() as (_, writer):
        head = (
            "POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            f"Content-Length: {len(form)}\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n"
        )
        writer.write(head.encode() + form[:500])
        statuses = []
        for client in ("2001:db8::2", "2001:db8:0:1::1"):
            while not door.ingest._admission._of_peer["2001:db8::/64"]:
                await asyncio.sleep(0.01)
            headers = {"Content-Type": "multipart/form-data; boundary=b", "X-Forwarded-For": client}
            async with door.http.post(f"{door.url}/api/open/upload", data=form, headers=headers) as response:
                statuses.append(response.status)
        assert statuses == [503, 200]
