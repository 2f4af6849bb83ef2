"""A file has a receipt once its archive is bought; strangers check it offline, and find whatever was changed."""

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from free_ports import pick_free
from pydantic import SecretStr
from receipt_checks import SCRIPT, altered, another, both_find, dumped, flipped, leaves, other, ours, script
from servers_orderer import Shop
from servers_pinning import TOKEN, PinningService
from servers_receipts import SIZE, Office
from sites import site

from roadvault_common.archive import merkle
from roadvault_common.archive.label import Label
from roadvault_common.custody import chainer
from roadvault_common.errors import ChainUnavailable, IntegrityError, SettingsError
from roadvault_common.receipts.check import left_open
from roadvault_common.receipts.receipt import Receipt
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.work.outcome import Done, Wait
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.pinning import PinningMarket
from roadvault_crust_orderer.service import Orderer
from roadvault_operator import receipt as receipts
from roadvault_operator.receipt import look
from roadvault_stack.ports import HOST

SAID = {("custody", "head", "size"), ("custody", "head", "hash")}
"""What a receipt can only say of a head, until that is published: the root is what its lines lead to."""

PARTS = [
    *[("archive",), ("archive", "path"), ("custody",), ("custody", "chains"), ("custody", "chains", 0), ("file",)],
    *[("custody", "head"), ("custody", "chains", 0, "lines"), ("custody", "chains", 1, "path"), ("order",)],
]
"""Where there is something else than texts and numbers."""
STRANGE: tuple[object, ...] = (None, True, 1.0, -1, 1 << 60, "ab", "\ud800", [], {})


async def test_a_receipt_is_there_once_the_archive_is_bought_and_proves_itself_to_a_stranger(office: Office) -> None:
    status, body = await office.ask(99)
    assert (status, json.loads(body)["message"]) == (404, "there is no file 99")
    folder_id = await office.receive([b"a", b"b"])
    file_id = min(office.contents)
    await waits(office, file_id, "it is not packed")
    assert await office.console.packer.packing.work(folder_id) == Done()
    await waits(office, file_id, "its archive 1 is not on IPFS")
    assert await office.console.pinner.pinning.work(1) == Done()
    await waits(office, file_id, "its archive 1 is not bought")
    assert isinstance(await office.desk.attend(1), Wait)
    await waits(office, file_id, "or that is not settled")
    await office.desk.bought(1)
    status, receipt = await office.ask(file_id)
    assert (status, json.loads(receipt)["custody"]) == (200, None)  # nothing has a place in the chain yet
    await chainer.chain(office.console.db)
    status, receipt = await office.ask(file_id)
    assert status == 200

    row = await office.desk.row(1)
    (order,) = await office.desk.purchases()
    code, told, errors = await office.check(receipt, b"a", "--node", office.desk.devnet.url)
    assert (code, errors) == (0, "")
    assert [line.split(":")[0] for line in told.splitlines()] == [
        "the receipt is of file 1, a.mp4", *["proven"] * 5, "seen at the node", *["not proven by this"] * 4,
    ]  # fmt: skip
    for proven in (row["cid"], order["extrinsic_hash"], f"block {order['block']} ({order['block_hash']})", "4 custody"):
        assert proven in told
    assert any("is for any node of the chain to show" in line for line in left_open(Receipt.read(receipt)))
    code, told, errors = await office.check(receipt, b"b")
    assert (code, "proven:" in told) == (1, False)
    assert "it is not the receipt's" in errors


async def run_script(office: Office, receipt: bytes, content: bytes) -> tuple[int | None, bytes, bytes]:
    """Run the script as strangers do; return its exit code, and what it says."""
    (office.path / "receipt.json").write_bytes(receipt)
    (office.path / "file").write_bytes(content)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", SCRIPT, office.path / "receipt.json", office.path / "file",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await child.communicate()
    return child.returncode, out, errors


async def test_the_script_needs_nothing_but_python(office: Office) -> None:
    await office.bought([b"a", b"b"])
    receipt = (await office.ask(1))[1]
    for content, code, told in (
        (b"b", 1, "the file is not the receipt's"),
        (b"a", 0, "is one of the 2 that were packed"),
    ):
        found, out, errors = await run_script(office, receipt, content)
        assert (found, out.count(b"\nproven: ")) == (code, 0 if code else 4)
        assert told in (errors if code else out).decode()


MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a WebSocket's server adds to the client's key (RFC 6455)."""
OBEYED = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e\u2028\r\b"
"""What a terminal obeys, and what turns or ends a line."""


async def test_what_a_terminal_would_obey_reaches_none(office: Office) -> None:
    await office.bought()
    file_id = min(office.contents)
    content, (_, receipt) = office.contents[file_id], await office.ask(file_id)
    cid = json.loads(receipt)["archive"]["cid"]
    named = {"by": "service", "at": "2026-11-27T10:04:30Z", "name": f"{cid}.{OBEYED}", "service": OBEYED}
    hostile = {altered(receipt, ("order",), _always(named)): 0}
    hostile |= {altered(receipt, ("order",), _always({**named, "at": OBEYED})): 1}
    hostile |= {dumped({**json.loads(receipt), OBEYED: 1}): 1, receipt.replace(b"{", b"\x1b{", 1): 1}
    for where in (("archive", "cid"), ("file", "name"), ("order", "by"), ("custody", "chains", 0, "of")):
        hostile[altered(receipt, where, _always(OBEYED))] = 1
    line = ("custody", "chains", 0, "lines", 0, "line")
    hostile[altered(receipt, line, lambda text: text.replace('"act":"', f'"act":"{OBEYED[4:]}'))] = 1
    for one, code in hostile.items():
        found, out, errors = await run_script(office, one, content)
        told = (out + errors).decode()
        assert (found, "Traceback" in told) == (code, False)
        assert not [letter for letter in told if not letter.isprintable() and letter != "\n"], told
        found, said, failed = await office.check(one, content)
        assert found == code
        assert not [letter for letter in said + failed if not letter.isprintable() and letter != "\n"]


@pytest.mark.timeout(20)
async def test_a_number_without_an_end_is_refused_at_once() -> None:
    endless = base64.b64encode(b"\x80" * (1 << 23)).decode()
    with pytest.raises(script.Wrong):
        script.directory(script.unbase64(endless))


async def waits(office: Office, file_id: int, why: str) -> None:
    status, body = await office.ask(file_id)
    assert status == 409
    assert why in json.loads(body)["message"]


async def test_whatever_is_changed_is_found_by_both(office: Office) -> None:
    await office.bought()
    file_id = min(office.contents) + 1
    content, (_, receipt) = office.contents[file_id], await office.ask(file_id)
    assert not both_find(receipt, content)
    assert all(both_find(changed, content) for changed in flipped(receipt))
    assert all(both_find(receipt, changed) for changed in flipped(content))
    assert both_find(receipt + b"\n", content)
    assert both_find(receipt[:-1], content)
    for part in ("label", "node"):
        for changed in flipped(base64.b64decode(json.loads(receipt)["archive"][part])):
            assert both_find(altered(receipt, ("archive", part), _always(base64.b64encode(changed).decode())), content)
    # Whoever forges one makes the digest fit.
    missed = [where for where in leaves(json.loads(receipt)) if where != ("digest",) and not both_find(
        altered(receipt, where, another), content)]  # fmt: skip
    assert set(missed) <= SAID
    told = json.loads(receipt)
    for where in (*leaves(told), *PARTS):
        for strange in STRANGE:
            both_find(altered(receipt, where, _always(strange)), content)  # which agree
    for chain in range(2):
        for cut in (slice(0, 0), slice(1, None), slice(None, -1)):
            lines = told["custody"]["chains"][chain]["lines"][cut]
            assert both_find(altered(receipt, ("custody", "chains", chain, "lines"), _always(lines)), content)
    assert both_find(altered(receipt, ("custody", "chains"), lambda chains: chains[::-1]), content)
    assert both_find(altered(receipt, ("custody", "chains"), _always([])), content)


async def test_lines_that_are_left_out_are_found_or_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await office.bought()
    file_id = min(office.contents)
    asked = [Line(Act.ASKED, {"n": n}, about, None) for n in range(3) for about in (file_id, file_id + 1)]
    await office.desk.db.transact(lambda tx: record(tx, *asked))
    await chainer.chain(office.console.db)
    content, (_, receipt) = office.contents[file_id], await office.ask(file_id)
    assert not both_find(receipt, content)
    told = json.loads(receipt)
    for number, chain in enumerate(told["custody"]["chains"]):
        lines, where = chain["lines"], ("custody", "chains", number)
        assert len(lines) > 2
        for at in range(1, len(lines)):  # the front, with the hash that makes the rest fit
            cut = altered(receipt, where, _always({**chain, "after": lines[at - 1]["hash"], "lines": lines[at:]}))
            for found in (ours(cut, content), other(cut, content)):
                assert f"of the {chain['of']} are left out" in (found or "").replace("this", "the")
        for at in range(len(lines)):
            cut = altered(receipt, (*where, "lines"), _always([*lines[:at], *lines[at + 1 :]]))
            assert both_find(cut, content)

    def lasts(told: dict[str, Any]) -> set[str]:
        chains = told["custody"]["chains"]
        return {f"behind its last that is shown, line {json.loads(one['lines'][-1]['line'])['line']}" for one in chains}

    # Whoever has the log can leave out the last, and show the way of the one before it.
    monkeypatch.setattr("roadvault_common.custody.tying.MOST_LINES", 2)
    _, shorter = await office.ask(file_id)
    assert not both_find(shorter, content)
    assert lasts(json.loads(shorter)).isdisjoint(lasts(told))
    alone = altered(receipt, ("custody", "chains"), lambda chains: chains[:1])
    assert not both_find(alone, content)
    size = told["custody"]["head"]["size"]
    for one, others in ((receipt, size - 4 - len(told["custody"]["chains"][1]["lines"])), (shorter, size - 4)):
        says = [list(left_open(Receipt.read(one))), script.not_shown(json.loads(one))]
        for words in (*lasts(json.loads(one)), f"what the other {others} of the {size} lines of the log say"):
            assert all(any(words in line for line in lines) for lines in says), (words, says)
    assert any("none of its custody lines is shown" in line for line in left_open(Receipt.read(alone)))
    assert any("what was done to the archive" in line for line in script.not_shown(json.loads(alone)))
    # Of the receipt that has the purchase's line both say nothing; of one that lacks it, that it is missing.
    for one, bought in ((receipt, True), (alone, False)):
        says = [list(left_open(Receipt.read(one))), script.not_shown(json.loads(one))]
        assert [any("one that was bought for" in line for line in lines) for lines in says] == [not bought] * 2


def _always(value: object) -> Callable[[object], object]:
    return lambda _: value


async def test_where_and_when_it_was_bought_is_looked_up_at_a_node(office: Office) -> None:
    await office.bought()
    file_id = min(office.contents)
    content, (_, receipt) = office.contents[file_id], await office.ask(file_id)
    bare = altered(receipt, ("custody",), _always(None))
    assert not both_find(bare, content)
    changes = {
        "block": ("does not have the order", _always(0)),
        "blockHash": ("not the receipt's", another),
        "genesis": ("of another chain", another),
    }
    for name, (found, change) in changes.items():
        forged = altered(bare, ("order", name), change)
        if name == "block":
            forged = altered(forged, ("order", "blockHash"), _always(None))
        assert not both_find(forged, content)
        with pytest.raises(IntegrityError, match=found):
            await look(Receipt.read(forged), office.desk.devnet.url)
    with pytest.raises(SettingsError, match="--node must be a node's URL"):
        await look(Receipt.read(bare), "nonsense")
    with pytest.raises(ChainUnavailable):
        await look(Receipt.read(bare), office.door.url)
    kept = altered(altered(bare, ("order", "extrinsic"), _always(None)), ("order", "blockHash"), _always(None))
    assert not both_find(kept, content)
    assert any("were not kept" in line for line in left_open(Receipt.read(kept)))
    with pytest.raises(SettingsError, match="no order's bytes to look for"):
        await look(Receipt.read(kept), office.desk.devnet.url)


@pytest.mark.parametrize("shakes_hands", [False, True])
async def test_a_node_that_hangs_or_drips_is_given_up(
    office: Office, monkeypatch: pytest.MonkeyPatch, *, shakes_hands: bool
) -> None:
    """Within a minute, by the settings; here all of it is shorter."""
    assert receipts._NODE_SECONDS + receipts._CLOSE_SECONDS < 60
    monkeypatch.setattr(receipts, "_NODE_SECONDS", 0.5)
    monkeypatch.setattr(receipts, "_CLOSE_SECONDS", 0.2)
    await office.bought()
    receipt = await office.receipt(min(office.contents))
    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split()[1]
        accept = base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())
        answer = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
        writer.write(answer + (b"\r\n\r\n\x81\x7f" + (1 << 20).to_bytes(8) if shakes_hands else b""))
        with suppress(ConnectionError):
            while True:
                writer.write(b"0")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(drip, HOST, *pick_free(1)) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            with pytest.raises(ChainUnavailable, match="the node does not answer as nodes do"):
                await look(receipt, f"ws://{HOST}:{port}")
            await hung_up.wait()


async def test_a_receipt_of_one_file_fits_no_other(office: Office) -> None:
    await office.bought()
    await office.bought()
    receipts = {file_id: (await office.ask(file_id))[1] for file_id in office.contents}
    assert len(receipts) == 10
    for file_id, receipt in receipts.items():
        for number, content in office.contents.items():
            assert both_find(receipt, content) == (number != file_id)
    first, *rest = (json.loads(receipt) for receipt in receipts.values())
    content = office.contents[first["file"]["id"]]
    for part in ("archive", "custody", "file", "order"):
        for strange in rest:
            mixed = dumped({**first, part: strange[part]})
            if strange[part] != first[part]:
                assert both_find(mixed, content)


async def test_nothing_public_confirms_a_guess(office: Office) -> None:
    """Whoever knows all of a file but its salt finds it in nothing that lies in public: label, directory, order."""
    content = b"x" * SIZE
    archives = [await office.bought([content]), await office.bought([content])]
    rows = await office.console.db.fetch_all("SELECT * FROM file_upload_info ORDER BY file_id")
    labels = await office.console.db.fetch_all("SELECT * FROM label_info ORDER BY zip_id")
    public = b"".join(label["label"] + label["node"] for label in labels)
    public += b"".join(bytes.fromhex(order["extrinsic"][2:]) for order in await office.desk.purchases())
    roots = set[str]()
    for zip_id, row, label in zip(archives, rows, labels, strict=True):
        assert (row["zip_id"], label["zip_id"]) == (zip_id, zip_id)
        receipt = await office.receipt(row["file_id"])
        sha256, salt = bytes.fromhex(row["sha256"]), bytes.fromhex(receipt.file.salt)
        for secret in (sha256, salt, label["salt_key"], row["file_name"].encode()):
            for shape in (secret, secret.hex().encode(), base64.b64encode(secret)):
                assert shape not in public
        read = Label.parse(label["label"])
        known = [
            b"",
            bytes(32),
            sha256,
            read.merkleRoot.encode(),
            bytes.fromhex(read.iv),
            label["label"],
            label["node"],
        ]
        for salted in known:
            guess = merkle.leaf(salted, row["sha256"], row["size"], row["file_id"], row["file_name"])
            assert merkle.root([guess]).hex() != read.merkleRoot
            guess = merkle.leaf(
                merkle.salt(merkle.salt_key(salted), row["file_id"]),
                row["sha256"], row["size"], row["file_id"], row["file_name"],
            )  # fmt: skip
            assert merkle.root([guess]).hex() != read.merkleRoot
        right = merkle.leaf(salt, row["sha256"], row["size"], row["file_id"], row["file_name"])
        assert merkle.root([right]).hex() == read.merkleRoot
        roots.add(read.merkleRoot)
    assert len(roots) == 2
    assert hashlib.sha256(content).hexdigest() == rows[0]["sha256"] == rows[1]["sha256"]


async def test_a_receipt_holds_after_a_renewal_and_after_the_salts_were_brought_back(office: Office) -> None:
    zip_id = await office.bought()
    file_id = min(office.contents)
    before = await office.receipt(file_id)
    await office.console.db.execute("UPDATE zip_ipfs_info SET terms_wanted = 2")
    await office.desk.bought(zip_id)
    assert [order["term"] for order in await office.desk.purchases()] == [1, 2]
    await chainer.chain(office.console.db)
    renewed = await office.receipt(file_id)
    assert (renewed.archive, renewed.file, renewed.order) == (before.archive, before.file, before.order)
    await office.console.db.execute("UPDATE label_info SET salt_key = NULL")
    await waits(office, file_id, "the salts of its archive 1 are not here")
    label = Label.parse(base64.b64decode(before.archive.label))
    key = label.open(office.console.packer._keys)
    await office.console.db.execute("UPDATE label_info SET salt_key = %s", (merkle.salt_key(key.key),))
    assert await office.receipt(file_id) == renewed
    assert not both_find(before.encode(), office.contents[file_id])
    assert await look(before, office.desk.devnet.url)


async def test_a_receipt_holds_after_its_archive_was_adopted_and_not_of_another_cid(office: Office) -> None:
    zip_id, file_id = await office.bought(), min(office.contents)
    db, cid = office.console.db, (await office.desk.row(1))["cid"]
    facts: dict[str, str | int | None] = {"cid": cid, "files": 3, "size": 12_345, "found": "on IPFS"}
    async with db.transaction() as tx:
        await record(tx, Line(Act.ADOPTED, facts, zip_id=zip_id))
    await chainer.chain(db)
    receipt = (await office.receipt(file_id)).encode()
    assert b"adopted" in receipt
    assert not both_find(receipt, office.contents[file_id])
    async with db.transaction() as tx:
        await record(tx, Line(Act.ADOPTED, {**facts, "cid": "another"}, zip_id=zip_id))
    await chainer.chain(db)
    await office.refuses(file_id)


async def test_an_order_at_a_pinning_service_is_told_as_what_it_is(office: Office) -> None:
    zip_id = await office.pinned()
    pinning, token = PinningService(), SecretStr(TOKEN)
    async with site(pinning.routes()) as url, PinningMarket.open(url, token, [], 5) as market:
        values = {**office.console.settings, "market": "pinning", "pinning_url": url, "pinning_token": TOKEN}
        settings = OrdererSettings.model_validate(values)
        shop = Shop(office.console.db, Orderer(settings, office.console.db, office.console.bus, market, lambda: None))
        while not await shop.purchases() or (await shop.purchases())[0]["status"] == 0:
            await shop.attend(zip_id)
    await chainer.chain(office.console.db)
    file_id = min(office.contents)
    content, (status, receipt) = office.contents[file_id], await office.ask(file_id)
    assert status == 200, receipt
    assert not both_find(receipt, content)
    assert any("it gives no proof of that" in line for line in left_open(Receipt.read(receipt)))
    for where in (("order", "name"), ("order", "service"), ("archive", "cid"), ("archive", "id")):
        assert both_find(altered(receipt, where, another), content)


async def test_rows_that_do_not_give_a_receipt_give_none(office: Office) -> None:
    await office.bought()
    file_id = min(office.contents)
    await office.console.db.execute("UPDATE file_upload_info SET size = size + 1 WHERE file_id <> %s", (file_id,))
    body = await office.refuses(file_id)
    assert ours(body, b"") is not None
    assert other(body, b"") is not None
