"""Callbacks that are sent to where they must not go: our own servers, and addresses that only look public."""

import asyncio
import socket
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest
from servers_ingest import Door
from servers_receiver import call, receiver

from roadvault_common.web.callback_url import BadCallbackUrl
from roadvault_common.web.reach import AddressRefused, Place, Reach
from roadvault_notifier.webhook import CallbackNotTaken
from roadvault_stack.kubo import Kubo

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1")]
OK = b"HTTP/1.1 200 OK\r\n\r\n"
HOSTS = (
    "127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1%25]", "[::ffff:127.0.0.1%25lo]", "0x7f.1", "2130706433", "127.1", "0177.0.0.1", "[::]",
    "0.0.0.0", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1",  # noqa: S104
)  # fmt: skip
"""Ways of writing this machine's addresses, some of them in digits and dots of full width."""


async def _rpc(kubo: Kubo, path: str, **parameters: str) -> Any:  # noqa: ANN401 - Kubo's JSON
    async with aiohttp.ClientSession() as http, http.post(f"{kubo.rpc_url}/api/v0/{path}", params=parameters) as answer:
        return await answer.json()


@pytest.mark.parametrize("known_as", ["127.0.0.1", "localhost"])
async def test_no_way_of_writing_our_kubo_unpins_an_archive(kubo: Kubo, known_as: str) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"an archive", filename="a")
    async with aiohttp.ClientSession() as http, http.post(f"{kubo.rpc_url}/api/v0/add", data=form) as added:
        cid = (await added.json())["Hash"]
    port = int(kubo.rpc_url.rpartition(":")[2])
    reach = Reach([*LOOPBACK, ip_network("0.0.0.0/0"), ip_network("::/0")], [], [Place(known_as, port)])
    for host in HOSTS:
        with pytest.raises((AddressRefused, BadCallbackUrl)):
            await call(f"http://{host}:{port}/api/v0/pin/rm?arg={cid}", reach=reach)
    assert cid in (await _rpc(kubo, "pin/ls", type="recursive"))["Keys"]
    # The attack itself works where nothing is in its way.
    await call(f"http://127.0.0.1:{port}/api/v0/pin/rm?arg={cid}", reach=Reach(LOOPBACK, [], []))
    assert cid not in (await _rpc(kubo, "pin/ls", type="recursive")).get("Keys", {})


async def test_a_redirect_to_our_kubo_is_not_followed(kubo: Kubo) -> None:
    location = f"{kubo.rpc_url}/api/v0/shutdown"
    async with receiver(f"HTTP/1.1 307 X\r\nLocation: {location}\r\n\r\n".encode()) as client:
        with pytest.raises(CallbackNotTaken, match="not followed"):
            await call(f"http://127.0.0.1:{client.port}/")
    assert (await _rpc(kubo, "id"))["ID"] == kubo.peer_id


async def test_what_is_called_is_what_was_checked_though_the_name_leads_elsewhere_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resolver of the attacker's says first an address that may be called, then one that may not."""
    loop, answers = asyncio.get_running_loop(), ["127.0.0.2", "127.0.0.1", "127.0.0.2"]
    real = loop.getaddrinfo

    async def rebinding(host: str, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as getaddrinfo
        return await real(answers.pop(0) if host == "rebind.example" else host, *args, **more)

    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    reach = Reach([ip_network("127.0.0.2")], [], [])
    async with receiver(OK, host="127.0.0.2") as outside, receiver(OK, port=outside.port) as inside:
        url = f"http://rebind.example:{outside.port}/"
        await call(url, reach=reach)
        assert answers == ["127.0.0.1", "127.0.0.2"]  # a name is resolved once for each call
        with pytest.raises(AddressRefused):
            await call(url, reach=reach)
        await call(url, reach=reach)
    assert (len(outside.asked), len(inside.asked)) == (2, 0)


async def test_one_address_of_a_name_that_must_not_be_called_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(_host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.2", port)), (socket.AF_INET, kind, 6, "", ("127.0.0.1", port))]

    async with receiver(OK, host="127.0.0.2") as client:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        with pytest.raises(AddressRefused):
            await call(f"http://both.example:{client.port}/", reach=Reach([ip_network("127.0.0.2")], [], []))
    assert client.asked == []


async def test_ingest_refuses_at_once_what_the_notifier_would_refuse_later(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    statuses = {
        "http://[::ffff:127.0.0.1%25]:5001/api/v0/pin/rm": 400,
        "http://2130706433/": 400,
        "http://10.0.0.1/": 400,
        "http://169.254.169.254/latest/meta-data": 400,
        "http://127.0.0.1:9/": 200,
        "http://[::ffff:127.0.0.1]:9/": 200,
    }
    for url, status in statuses.items():
        fields = {"fileID": uploaded["result"]["fileID"], "cbUrl": url}
        async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
            assert (response.status, url) == (status, url), await response.text()


async def test_a_url_is_kept_without_the_blanks_around_it(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    for url in ("http://client/cb?a=%2F ", "\N{NO-BREAK SPACE}http://client/cb?a=%2F\n"):
        fields = {"fileID": uploaded["result"]["fileID"], "cbUrl": url}
        async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
            assert response.status == 200
    rows = await door.db.fetch_all("SELECT cb_url, peer FROM download_info")
    assert rows == [{"cb_url": "http://client/cb?a=%2F", "peer": "127.0.0.1"}]
