"""Kubo's RPC does nothing for whoever has no token, and a wrong one is an outage, no archive's fault. A real node."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from free_ports import pick_free
from pydantic import SecretStr
from servers_operator import Console
from servers_process import Running

from roadvault_common.errors import IpfsAway
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work.outcome import Done, Wait
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo, KuboPorts

TOKEN, WRONG = SecretStr("a-token-that-only-pinner-and-retriever-have"), SecretStr("another")
REFUSED = "Kubo refuses the token (403): see ROADVAULT_IPFS_RPC_TOKEN"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Kubo]:
    kubo = Kubo("locked-ipfs", tmp_path / "ipfs", KuboPorts(*pick_free(3)), token=TOKEN.get_secret_value())
    running = Running(kubo)
    running.start()
    yield kubo
    running.kill()


async def _body() -> AsyncIterator[bytes]:
    for _ in range(8):
        yield b"x" * (1 << 20)


CALLS: dict[str, Callable[[Ipfs, str], object]] = {
    "add": lambda ipfs, _: ipfs.add(_body(), None),
    "unpin": lambda ipfs, cid: ipfs.unpin(cid),
    "fetch_and_pin": lambda ipfs, cid: ipfs.fetch_and_pin(cid, lambda: None),
    "dag_size": lambda ipfs, cid: ipfs.dag_size(cid),
    "collect_garbage": lambda ipfs, _: ipfs.collect_garbage(),
    "ping": lambda ipfs, _: ipfs.ping(),
    "check": lambda ipfs, _: ipfs.check(),
}


async def test_nothing_is_done_without_the_token(node: Kubo) -> None:
    async with Ipfs.open(node.rpc_url, 30, TOKEN) as ipfs:
        cid = await ipfs.add(_body(), None)
        await ipfs.check()
        await ipfs.fetch_and_pin(cid, lambda: None)
    before = node.rpc("repo/stat")
    assert before is not None
    for token in (None, WRONG):
        async with Ipfs.open(node.rpc_url, 30, token) as stranger:
            for call in ("unpin", "fetch_and_pin", "dag_size", "collect_garbage", "ping", "check"):
                with pytest.raises(IpfsAway) as caught:
                    await CALLS[call](stranger, cid)  # type: ignore[misc]
                assert REFUSED in str(caught.value), call
    # What anybody could do who has a service send one request for him.
    async with aiohttp.ClientSession() as http:
        for path in (f"pin/rm?arg={cid}", "shutdown", "config/show", "repo/gc", f"block/rm?arg={cid}&force=true"):
            async with http.post(f"{node.rpc_url}/api/v0/{path}") as response:
                assert response.status == 403, path
    after = node.rpc("repo/stat")
    assert after is not None
    assert after["NumObjects"] == before["NumObjects"]
    assert cid in ((node.rpc("pin/ls") or {})["Keys"])


async def test_a_wrong_token_counts_against_no_archive(console: Console, node: Kubo) -> None:
    zip_id = await console.archive()
    settings = console.pinner._settings.model_copy(update={"ipfs_filestore": False})
    for token, expected in ((WRONG, Wait), (TOKEN, Done)):
        await console.db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6)")
        async with Ipfs.open(node.rpc_url, 30, token) as ipfs:
            pinner = Pinner(settings, console.db, console.bus, console.vault, console.pinner._keys, ipfs)
            outcome = await pinner.pinning.work(zip_id)
        assert isinstance(outcome, expected)
        if isinstance(outcome, Wait):
            assert REFUSED in outcome.reason
