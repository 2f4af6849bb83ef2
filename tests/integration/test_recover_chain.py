"""Recovery by the chain's blocks: what an account ordered is found, whoever else orders, and whatever fails."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import WSMsgType, web
from pydantic import SecretStr
from servers_chain import ALICE_KEY, FakeNode, answering, extrinsic, order_call
from servers_devnet import Devnet, left_behind, running_devnet
from servers_operator import Console
from servers_orderer import STRANGER
from servers_recovery import ARCHIVES, FILES, Archived

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.errors import PermanentError
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.sql.db import Row
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_operator.recover import nodes
from roadvault_operator.recover.chain import Blocks, Ordered, ordered
from roadvault_operator.recover.scan import Scan
from roadvault_operator.recover.scanned import FILE, Sent
from roadvault_stack.kubo import Kubo

BOB = "//Bob"
WITHOUT_SEED = ("--account", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY")
"""//Alice's address."""
CHUNK = 512
"""Blocks."""
UNDER_WAY = 64
"""Calls of one connection."""
NOWHERE = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


def no_archive(number: int) -> str:
    """Return the CID of some raw leaf, which needs no look at the network to be known for no archive."""
    return f"bafkrei{number:052}".translate(str.maketrans("0189", "abcd"))


async def order(devnet: Devnet, *cids: str, seed: str = "//Alice", size: int = 1000) -> None:
    """Order some CIDs, each in a block of its own."""
    async with Chain.open(devnet.url, SecretStr(seed), 30) as chain:
        for cid in cids:
            assert await chain.submit((await chain.sign(cid, size)).extrinsic) is None
            devnet.blocks()
    devnet.final()


@pytest.fixture
def funded(devnet: Devnet) -> Devnet:
    devnet.turn(fund={"address": STRANGER, "planck": 10**18})
    devnet.final()
    return devnet


async def test_an_accounts_orders_are_found_among_those_of_others(
    archived: Archived, funded: Devnet, network_kubo: Kubo
) -> None:
    console, devnet, (first, second, third) = archived.console, funded, archived.cids
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        another = await network.add_directory([New("another", b"thing", None)])
        await order(devnet, first)
        await order(devnet, no_archive(1), third, seed=BOB)
        await order(devnet, another, second, first)
        devnet.turn(market_enabled=False)
        await order(devnet, third)  # fails in its block
        assert devnet.orders() == 6
        devnet.blocks(CHUNK)
        await archived.lose_machine()
        console.environment["ROADVAULT_CRUST_URL"] = devnet.url
        refused = await console.refuses("recover", "--chain")
        assert "whose orders? Give --account ADDRESS, or set ROADVAULT_CRUST_SEED" in refused
        console.environment["ROADVAULT_CRUST_SEED"] = "//Alice"
        said = await archived.recover("--chain")
        await network.unpin(another)
    height = devnet.state()["finalized"]["number"]
    assert f"to {height} of the chain, for cT" in said
    assert ": 5 orders of 4 CIDs" in said
    assert f"no archive: {another}: it is a directory of other things" in said
    assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered" in said
    assert no_archive(1) not in said
    assert await console.db.fetch_all(FILES) == archived.files
    assert await console.db.fetch_all(ARCHIVES) == archived.archives
    await archived.answers()
    del console.environment["ROADVAULT_CRUST_SEED"]
    said = await archived.recover("--chain", *WITHOUT_SEED)
    assert "0 archives recovered, with 0 files; 3 were there already, 0 things could not be recovered" in said


async def test_the_newest_catalogue_that_was_ordered_gives_numbers_back(
    archived: Archived, devnet: Devnet, network_kubo: Kubo
) -> None:
    console, db = archived.console, archived.console.db
    zips = "SELECT zip_id, zip_name, folder_id, cid, size, dag_size, files FROM zip_ipfs_info ORDER BY 1"
    before, made = await db.fetch_all(zips), await db.fetch_all("SELECT create_time FROM zip_ipfs_info ORDER BY zip_id")
    records = [
        ArchiveRecord(**row, format=2, created=time["create_time"].replace(tzinfo=UTC))
        for row, time in zip(before, made, strict=True)
    ]
    console.environment |= {"ROADVAULT_CRUST_URL": devnet.url, "ROADVAULT_IPFS_STALL_SECONDS": "3"}
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        older = await archived.catalogue(records[0], network=network)
        newer = await archived.catalogue(*records, network=network)
        await order(devnet, archived.cids[0], older, archived.cids[1], newer, archived.cids[2], no_archive(1))
        await archived.lose_machine()
        said = await archived.recover("--chain", *WITHOUT_SEED)
        by_chain = await archived.rows()
        assert f"the catalogue {newer}, of " in said
        assert f"no archive: {older}: " in said
        assert await db.fetch_all(zips) == before

        await archived.lose_machine()
        await archived.recover("--catalogue-cid", newer)
        assert same(await archived.rows()) == same(by_chain)

        await archived.lose_machine()
        said = await archived.recover("--catalogue", "--chain", *WITHOUT_SEED)  # no name leads anywhere
        assert f"the catalogue {newer}, of " in said
        assert await db.fetch_all(zips) == before
        assert "6 files would come back as they are, 0 are newer" in await archived.recover(
            "--rehearse", "--chain", *WITHOUT_SEED
        )
        for cid in (older, newer):
            await network.unpin(cid)


def same(tables: list[list[Row]]) -> list[list[Row]]:
    """Return rows without what is new each time they are written."""
    return [
        [
            {name: row[name] for name in row if not name.endswith(("_time", "_due", "_at", "key", "_mark"))}
            for row in rows
        ]
        for rows in tables
    ]


def notes(console: Console) -> list[dict[str, Any]]:
    path = console.vault.root / FILE
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


async def test_one_that_is_killed_goes_on_where_it_was(console: Console, devnet: Devnet) -> None:
    await order(devnet, no_archive(1))
    devnet.blocks(3 * CHUNK)
    await order(devnet, no_archive(2))
    devnet.turn(answer_seconds=0.002)
    console.environment["ROADVAULT_CRUST_URL"] = devnet.url
    child = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("roadvault"), "recover", "--chain", *WITHOUT_SEED,
        env={"PATH": os.environ["PATH"], **console.environment}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(60):
        while not notes(console):
            assert child.returncode is None
            await asyncio.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    before = notes(console)
    assert 0 < len(before) < 4
    with (console.vault.root / FILE).open("a") as file:
        file.write('\n{"genesis": "0x')  # it was killed in the middle of a line
    devnet.turn(answer_seconds=0)
    said = await console.says("recover", "--chain", *WITHOUT_SEED)
    assert ": 2 orders of 2 CIDs" in said
    assert "2 are no archives" in said
    after = [json.loads(line) for line in (console.vault.root / FILE).read_text().splitlines() if line.endswith("}")]
    assert sorted(one["first"] for one in after) == [CHUNK * number for number in range(4)]  # each was read once
    assert after[: len(before)] == before
    await console.says("recover", "--chain", *WITHOUT_SEED)
    assert len(after) == (console.vault.root / FILE).read_text().count("}")


async def look(
    devnet_url: str, root: Path, monkeypatch: pytest.MonkeyPatch, blocks: Blocks, genesis: str | None = None
) -> Ordered:
    for name, value in {"DATABASE_URL": "mysql://u:p@h/d", "CRUST_URL": devnet_url}.items():
        monkeypatch.setenv(f"ROADVAULT_{name}", value)
    monkeypatch.setattr(nodes, "_PAUSES", (0.0, 0.0))
    return await ordered(blocks, root, genesis, lambda _more, _done: None, notes=True)


ALICE = Blocks(WITHOUT_SEED[1])


class FarAway(FakeNode):
    """A node that answers all that is on its way once nothing more comes."""

    together: ClassVar[list[int]] = []
    """How many questions each connection had under way."""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket, asked = web.WebSocketResponse(), list[dict[str, Any]]()
        await socket.prepare(request)
        while not socket.closed:
            try:
                message = await socket.receive(0.1)
            except TimeoutError:
                self.together.append(len(asked))
                for one in asked:
                    answer = self.answer(one["method"], one["params"])
                    await socket.send_json({"jsonrpc": "2.0", "id": one["id"], "result": answer})
                asked.clear()
            else:
                if message.type is WSMsgType.TEXT:
                    asked.append(json.loads(message.data))
        return socket


async def test_many_blocks_are_asked_for_before_the_first_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = FarAway(blocks=4 * CHUNK, sent=1)
    node.extrinsics[0] = [extrinsic(ALICE_KEY, 0, order_call(no_archive(0)))]
    async with answering(node) as url:
        found = await look(url, tmp_path, monkeypatch, ALICE)
    assert found.cids == {no_archive(0): 0}
    assert max(node.together) == UNDER_WAY


async def test_nodes_stand_in_for_each_other(devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await order(devnet, no_archive(1))
    with left_behind(devnet, tmp_path / "behind") as behind:
        devnet.blocks(CHUNK)
        await order(devnet, no_archive(2))
        urls = f"ws://127.0.0.1:1,{behind.url},{devnet.url}"
        found = await look(urls, tmp_path, monkeypatch, ALICE)
    assert list(found.cids) == [no_archive(2), no_archive(1)]
    assert (found.missing, found.head) == (None, devnet.state()["finalized"]["number"])


async def test_a_dropped_connection_is_made_anew(
    devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await order(devnet, no_archive(1))
    devnet.blocks(CHUNK)
    dropped = asyncio.Event()

    def sent_in(self: Scan, chunk: range, number: int, answer: Any) -> list[Sent]:  # noqa: ANN401 - JSON
        if number == 100 and not dropped.is_set():
            dropped.set()
            devnet.turn(drop_connections=True)
        return read(self, chunk, number, answer)

    read = Scan._sent_in
    monkeypatch.setattr(Scan, "_sent_in", sent_in)
    found = await look(devnet.url, tmp_path, monkeypatch, ALICE)
    assert dropped.is_set()
    assert list(found.cids) == [no_archive(1)]


async def test_bodies_that_a_node_has_forgotten_are_named_and_can_be_left_out(console: Console, devnet: Devnet) -> None:
    console.environment["ROADVAULT_CRUST_URL"] = devnet.url
    await order(devnet, no_archive(1))
    devnet.blocks(2 * CHUNK)
    await order(devnet, no_archive(2))
    devnet.turn(bodies=100)
    refused = await console.refuses("recover", "--chain", *WITHOUT_SEED)
    assert "the chain's blocks can't be read, and nothing was changed: " in refused
    assert "does not have the body of block " in refused
    assert "--blocks-pruning archive" in refused
    assert await console.db.fetch_one("SELECT 1 FROM zip_ipfs_info") is None
    first = devnet.state()["finalized"]["number"] - 99
    said = await console.says("recover", "--chain", *WITHOUT_SEED, "--chain-from", first)
    assert f"blocks {first} to {first + 99} of the chain" in said
    assert ": 1 orders of 1 CIDs" in said
    assert "there are no blocks 5 to 4;" in await console.refuses(
        "recover", "--chain", *WITHOUT_SEED, "--chain-from", 5, "--chain-to", 4
    )
    assert "go with --chain" in await console.refuses("recover", "--pins", "--chain-to", 4)
    refused = await console.refuses("recover", "--chain", "--account", STRANGER)
    assert f"{STRANGER} has sent nothing on this chain" in refused
    refused = await console.refuses("recover", "--chain", "--account", STRANGER[:-1])
    assert "--account is not the address of an account" in refused


async def test_what_does_not_come_once_its_order_has_run_out_is_no_failure(console: Console) -> None:
    node = FakeNode(blocks=3_000_000, sent=2)
    node.extrinsics[5] = [extrinsic(ALICE_KEY, 0, order_call(NOWHERE))]
    node.extrinsics[7] = [extrinsic(ALICE_KEY, 1, order_call(NOWHERE.replace("h", "g")))]
    bounds = ("--chain-from", 0, "--chain-to", 9)
    console.environment["ROADVAULT_IPFS_STALL_SECONDS"] = "1"
    async with answering(node) as url:
        console.environment["ROADVAULT_CRUST_URL"] = url
        said = await console.says("recover", "--chain", *WITHOUT_SEED, *bounds)
        assert f"no archive: {NOWHERE}: its last order has run out, and nobody gives it" in said
        assert (
            "0 archives recovered, with 0 files; 0 were there already, 0 things could not be recovered, 2 are" in said
        )
        node.blocks = 1000
        code, said, _ = await console.run("recover", "--chain", *WITHOUT_SEED, *bounds)
    assert code == 1
    assert f"not recovered: {NOWHERE}: " in said


async def test_another_chain_is_refused(devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await order(devnet, no_archive(1))
    with running_devnet(tmp_path / "other") as other:
        with pytest.raises(PermanentError, match="is of another chain"):
            await look(other.server.url, tmp_path, monkeypatch, ALICE, devnet.state()["genesis"])
        found = await look(f"{devnet.url},{other.server.url}", tmp_path, monkeypatch, ALICE)
    assert list(found.cids) == [no_archive(1)]


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no JSON": lambda _: "{",
    "no answer": lambda _: "[]",
    "no result": lambda answer: {"id": answer["id"]},
    "an answer to nobody": lambda answer: {**answer, "id": 999},
    "an answer to something": lambda answer: {**answer, "id": [0]},
    "another block": lambda answer: {**answer, "result": {"block": {"header": {"number": "0x7"}, "extrinsics": []}}},
    "no header": lambda answer: {**answer, "result": {"block": {"extrinsics": []}}},
    "numbers for extrinsics": lambda answer: _with(answer, [1]),
    "no hex": lambda answer: _with(answer, [f"0x{ALICE_KEY}zz"]),
    "no bodies": lambda answer: {**answer, "result": None},
    "more than anybody sends": lambda _: "x" * (33 << 20),
    "an error with the key": lambda answer: {"id": answer["id"], "error": f"refused: ws://h/{KEY} \x1b[31m"},
    "bytes": lambda _: b"{}",
    "nothing more": lambda _: None,
    "silence": lambda _: ...,
}
KEY = "a-providers-key"


def _with(answer: dict[str, Any], extrinsics: list[object]) -> dict[str, object]:
    return {**answer, "result": {"block": {**answer["result"]["block"], "extrinsics": extrinsics}}}


@pytest.mark.parametrize("what", HOSTILE)
async def test_nonsense_is_named_and_comes_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(nodes, "_SECONDS", 5 if what != "silence" else 0.3)
    node = FakeNode(blocks=10, sent=1)
    node.spoil = lambda method, answer: HOSTILE[what](answer) if method == "chain_getBlock" else answer
    async with answering(node) as url:
        with pytest.raises(PermanentError, match="the chain's blocks can't be read, and nothing was changed") as caught:
            await look(f"{url}/{KEY}", tmp_path, monkeypatch, ALICE)
    assert KEY not in str(caught.value)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("hashes", [[], [None] * 10, 5, None])
async def test_blocks_that_have_no_names_can_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashes: object
) -> None:
    node = FakeNode(blocks=10, sent=1)
    node.spoil = lambda method, answer: (
        {**answer, "result": hashes}
        if method == "chain_getBlockHash" and isinstance(answer["result"], list)
        else answer
    )
    async with answering(node) as url:
        with pytest.raises(PermanentError, match="the chain's blocks can't be read, and nothing was changed"):
            await look(url, tmp_path, monkeypatch, ALICE)


async def test_what_only_looks_like_an_order_is_none_and_what_is_left_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = FakeNode(blocks=10, sent=6)
    bob = bytes(32)
    node.extrinsics[3] = [
        extrinsic(ALICE_KEY, 0, order_call(no_archive(0))),
        extrinsic(bob.hex(), 0, bytes.fromhex(ALICE_KEY)),  # pays her
        f"0x8004{ALICE_KEY}",
        f"0x{ALICE_KEY}",
        extrinsic(ALICE_KEY, 1, order_call(no_archive(1)) + b"more"),  # another call
        extrinsic(ALICE_KEY, 2, order_call("b" * (1 << 20))),
    ]
    node.extrinsics[7] = [extrinsic(ALICE_KEY, 4, order_call(no_archive(4)))]
    async with answering(node) as url:
        found = await look(url, tmp_path, monkeypatch, ALICE)
    assert found.cids == {no_archive(4): 7, no_archive(0): 3}
    assert "blocks 3 to 9 of the chain" in found.told
    assert found.missing is not None
    assert "were not found, by their numbers 3, 5." in found.missing
