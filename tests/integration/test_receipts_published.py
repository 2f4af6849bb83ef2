"""A receipt's custody lines are tied to a catalogue that was bought, and so to a block."""

import base64
import json
from collections.abc import Awaitable, Callable
from unittest.mock import AsyncMock

import pytest
from receipt_checks import altered, another, both_find, dumped, flipped, leaves
from servers_process import Running
from servers_receipts import Office
from servers_recovery import lose

from roadvault_common.custody import accepting, chainer, fault_store, tie, tying
from roadvault_common.custody import check as check_log
from roadvault_common.errors import IntegrityError
from roadvault_common.receipts import making
from roadvault_common.receipts.check import check, left_open
from roadvault_common.receipts.receipt import ChainOrder, Published, Receipt
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database
from roadvault_operator.receipt import look
from roadvault_stack.kubo import Kubo
from roadvault_stack.mariadb import MariaDB

SAID = {("published", "order", name) for name in ("block", "blockHash", "genesis")}
"""What a receipt can only say: which block an order is in."""
PARTS = [("published",), ("published", "paths"), ("published", "paths", 0), ("published", "paths", 1)]
STRANGE: tuple[object, ...] = (None, True, 1.0, -1, 1 << 60, "ab", "\ud800", [], {})


def _always(value: object) -> Callable[[object], object]:
    return lambda _: value


async def test_lines_that_were_published_are_tied_to_a_block(office: Office) -> None:
    await office.bought()
    file_id = min(office.contents)
    content, bare = office.contents[file_id], await office.receipt(file_id)
    assert (bare.format, bare.published) == (1, None)
    assert any("keeper's own" in line for line in left_open(bare))
    await office.published()
    receipt = await office.receipt(file_id)
    assert (receipt.format, receipt.published is not None) == (2, True)
    code, told, errors = await office.check(receipt.encode(), content, "--node", office.desk.devnet.url)
    assert (code, errors) == (0, "")
    row = await office.desk.db.fetch_one("SELECT cid FROM zip_ipfs_info WHERE folder_id = 0")
    assert row is not None
    for proven in ("orders the catalogue, with", f"the catalogue {row['cid']} has the head", "lines that are shown"):
        assert proven in told
    assert "seen at the node: the order of the catalogue is in block" in told
    assert "keeper's own" not in told

    # The log goes on, and so does the catalogue; what was given out holds, and what is given out stays tied.
    await office.desk.db.transact(lambda tx: record(tx, Line(Act.ASKED, {"by": "192.0.2.7"}, file_id)))
    await chainer.chain(office.console.db)
    newer = await office.receipt(file_id)
    assert newer.published == receipt.published
    assert any("they are the keeper's word" in line for line in left_open(newer))
    await office.console.db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await office.console.pinner.publishing.work(1)  # a newer one is to be bought
    waiting = await office.receipt(file_id)
    assert waiting.published == receipt.published
    await office.published()
    next_one = await office.receipt(file_id)
    assert next_one.published is not None
    assert next_one.published.custody != newer.published.custody  # type: ignore[union-attr]
    for one in (bare, receipt, newer, waiting, next_one):
        assert not both_find(one.encode(), content)
    assert len(await look(next_one, office.desk.devnet.url)) == 2


async def test_whatever_is_changed_of_what_was_published_is_found_by_both(office: Office) -> None:
    await office.bought()
    await office.published()
    await office.bought()
    file_id = min(office.contents) + 1
    content, (_, receipt) = office.contents[file_id], await office.ask(file_id)
    told = json.loads(receipt)
    assert not both_find(receipt, content)
    for part in ("custody", "node"):
        for changed in flipped(base64.b64decode(told["published"][part])):
            text = base64.b64encode(changed).decode()
            assert both_find(altered(receipt, ("published", part), _always(text)), content)
    extrinsic = bytes.fromhex(told["published"]["order"]["extrinsic"][2:])
    for changed in flipped(extrinsic):
        text = f"0x{changed.hex()}"
        assert both_find(altered(receipt, ("published", "order", "extrinsic"), _always(text)), content)
    own = [where for where in leaves(told) if where[0] in {"published", "format"}]
    assert {where for where in own if not both_find(altered(receipt, where, another), content)} == SAID
    for where in (*own, *PARTS):
        for strange in STRANGE:
            both_find(altered(receipt, where, _always(strange)), content)  # which agree
    for paths in ([None, None], told["published"]["paths"][:1], told["published"]["paths"][::-1]):
        assert both_find(altered(receipt, ("published", "paths"), _always(paths)), content)
    assert both_find(dumped({**told, "published": None}), content)  # it is of another format then
    assert not both_find(dumped({**told, "published": None, "format": 1}), content)
    assert both_find(dumped({**told, "custody": None}), content)

    later = json.loads((await office.ask(max(office.contents)))[1])  # of a file that came when that was bought
    assert later["published"] is None
    assert both_find(
        dumped({**later, "published": told["published"], "format": 2}), office.contents[max(office.contents)]
    )
    beside = json.loads((await office.ask(file_id + 1))[1])
    assert both_find(
        dumped({**told, "published": {**told["published"], "paths": beside["published"]["paths"]}}), content
    )


async def test_where_the_catalogue_was_bought_is_looked_up_at_a_node(office: Office) -> None:
    await office.bought()
    await office.published()
    _, receipt = await office.ask(1)
    for name, (found, change) in {
        "blockHash": ("not the receipt's", another),
        "genesis": ("of another chain", another),
    }.items():
        forged = Receipt.read(altered(receipt, ("published", "order", name), change))
        with pytest.raises(IntegrityError, match=found):
            await look(forged, office.desk.devnet.url)
    moved = json.loads(receipt)
    moved["published"]["order"] |= {"block": 0, "blockHash": None}
    with pytest.raises(IntegrityError, match="does not have the order of the catalogue"):
        await look(Receipt.read(dumped(moved)), office.desk.devnet.url)


async def test_a_log_that_was_changed_after_it_was_published_is_found(office: Office) -> None:
    """Whoever has the database can write a line anew, and all hashes behind it; the head in the block is not his."""
    await office.bought()
    await office.published()
    db, content = office.console.db, office.contents[1]
    honest = (await office.receipt(1)).model_dump()
    assert await tying.root(db) is not None
    await db.execute("UPDATE custody_info SET facts = REPLACE(facts, '192.0.2.7', '192.0.2.8') WHERE file_id = 1")
    await db.execute("UPDATE custody_info SET position = NULL, follows = NULL, hash = ''")
    await db.execute("UPDATE custody_head_info SET size = 0, hash = ''")
    await db.execute("DELETE FROM custody_node_info")
    await chainer.chain(db)
    assert b"192.0.2" not in await office.refuses(1)  # ingest gives none that does not hold
    await db.execute(
        "UPDATE order_info SET status = 2 WHERE zip_id = (SELECT zip_id FROM zip_ipfs_info WHERE folder_id = 0)"
    )
    forged = (await office.receipt(1)).model_dump()
    assert forged["published"] is None
    mixed = dumped({**forged, "format": 2, "published": honest["published"]})
    assert both_find(mixed, content)
    with pytest.raises(IntegrityError, match="of this file is not in the log whose head was publ"):
        list(check(Receipt.read(mixed), honest["file"]["sha256"], len(content)))
    await db.execute("UPDATE order_info SET status = 1 WHERE status = 2")
    await db.execute("UPDATE custody_head_info SET size = 2")
    await office.refuses(1)  # shorter than it was


async def test_after_a_recovery_the_receipt_of_a_renewed_archive_shows_its_first_order(
    office: Office, mariadb: Running[MariaDB], migrated: list[str], kubo: Kubo
) -> None:
    console, db = office.console, office.console.db
    zip_id = await office.bought()
    file_id = min(office.contents)
    for term, price in ((2, 1), (3, 2)):  # renewals, as their rows are: only the latest is the catalogue's
        await db.execute(
            "INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"
            " era_birth, era_death, extrinsic_hash, extrinsic, price, block, block_hash, settled_at)"
            " SELECT zip_id, %s, account, market, NULL, 1, cid, declared_size, 0, 0, 0, CONCAT('0x', REPEAT(%s, 64)),"
            " extrinsic, %s, block + 9, block_hash, settled_at FROM order_info WHERE term = 1",
            (term, f"{term}", price),
        )
    await office.published()
    console.environment["ROADVAULT_IPFS_RPC_URL"] = kubo.rpc_url
    before = await office.receipt(file_id)
    assert isinstance(before.order, ChainOrder)
    assert before.order.blockHash is not None
    cid = await db.fetch_value("SELECT cid FROM catalogue_info")

    lose(mariadb, console.environment["ROADVAULT_DATABASE_URL"], migrated)
    await console.says("recover", "--catalogue-cid", cid, "--yes")
    terms = "SELECT term, order_id FROM order_info WHERE zip_id = %s ORDER BY term"
    assert [row["term"] for row in await db.fetch_all(terms, (zip_id,))] == [1, 3]
    after = await office.receipt(file_id)
    assert after.order == before.order
    assert (await office.check(after.encode(), office.contents[file_id]))[0] == 0


async def test_what_was_accepted_of_the_log_is_told_by_receipts_of_files_that_came_since(office: Office) -> None:
    await office.bought()
    await office.published()
    db = office.console.db
    old, size = await office.receipt(1), await db.fetch_value("SELECT size FROM custody_head_info")
    assert old.published is not None
    await db.execute("UPDATE custody_info SET facts = '{}' WHERE position = 1")
    await db.execute("DELETE FROM custody_info WHERE position = %s", (size - 2,))
    await office.refuses(2)
    found = {fault.position for fault in await check_log.check_all(db, None, lambda _: None)}
    assert found == {1, size - 2}
    await accepting.accept(db, office.console.vault.root, "the disk had rotted")
    await office.bought()
    newest = max(office.contents)
    before = await office.receipt(newest)
    assert (before.format, before.published) == (1, None)
    await office.published()
    for file_id in (1, newest):
        receipt, content = await office.receipt(file_id), office.contents[file_id]
        assert receipt.format == 3
        assert not both_find(receipt.encode(), content)
        code, told, errors = await office.check(receipt.encode(), content, "--node", office.desk.devnet.url)
        assert (code, errors) == (0, "")
        assert "names lines of the log that somebody accepted as they are" in told
        assert f"chained: 1, {size - 2} to {size - 1}" in told  # nothing proves the line behind one that is lost
        for change in (2, 1):
            assert both_find(dumped({**receipt.model_dump(), "format": change}), content)
    assert not both_find(old.encode(), office.contents[1])
    # Of the file whose line was changed nothing can be proven but what came before that.
    broken = await office.receipt(2)
    assert broken.custody is None
    assert not both_find(broken.encode(), office.contents[2])


async def _change(db: Database, position: int) -> None:
    change = "UPDATE custody_info SET facts = REPLACE(facts, '192.0.2.7', '192.0.2.8') WHERE position < %s"
    await db.execute(change, (position,))


async def _take_out(db: Database, position: int) -> None:
    await db.execute("DELETE FROM custody_info WHERE position = %s", (position,))


async def _move(db: Database, position: int) -> None:
    """Have a line change places with the last."""
    await db.execute("UPDATE custody_info SET position = -1 WHERE position = %s", (position,))
    await db.execute("UPDATE custody_info SET position = %s WHERE position = %s", (position, position + 1))
    await db.execute("UPDATE custody_info SET position = %s WHERE position = -1", (position + 1,))


async def _cut(db: Database, position: int) -> None:
    """Cut the tail off, with care: the head says so, too."""
    last = await db.fetch_value("SELECT hash FROM custody_info WHERE position = %s", (position - 1,))
    await db.execute("DELETE FROM custody_info WHERE position >= %s", (position,))
    await db.execute("UPDATE custody_head_info SET size = %s, hash = %s", (position, last))


@pytest.mark.parametrize("spoil", [_change, _take_out, _move, _cut])
async def test_tampering_is_found_by_the_sweep_the_command_and_whoever_checks_a_receipt(
    office: Office, spoil: Callable[[Database, int], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.bought()
    db, console, content = office.console.db, office.console, office.contents[1]
    for peer in ("192.0.2.9", "192.0.2.10"):
        await db.transact(lambda tx, peer=peer: record(tx, Line(Act.ASKED, {"by": peer}, 1)))  # type: ignore[misc]
    await chainer.chain(db)
    await office.published()
    checker = check_log.Checker(db, console.bus, console.vault.root)
    await checker.sweep()
    assert await fault_store.count_faults(db) == 0
    assert "192.0.2.10" in await console.says("custody", 1)
    assert not both_find((await office.ask(1))[1], content)
    at = int(await db.fetch_value("SELECT MIN(position) FROM custody_info WHERE act = 'asked'"))
    kept = await _ways(db, await office.receipt(1), at if spoil is _cut else 1 << 40)
    await spoil(db, at)

    await db.execute("UPDATE custody_head_info SET check_due = UTC_TIMESTAMP(6)")
    await checker.sweep()
    assert await fault_store.count_faults(db) > 0
    code, _, errors = await console.run("custody", 1)
    assert (code, "the custody log is not what was chained" in errors) == (1, True), errors
    await office.refuses(1)
    if spoil is not _take_out:  # without a line nobody can make a head
        monkeypatch.setattr(making, "check", lambda *_: [])
        monkeypatch.setattr(making, "_published", AsyncMock(return_value=kept))
        assert both_find((await making.make(db, 1)).encode(), content)  # as somebody makes one who hides it


async def _ways(db: Database, honest: Receipt, size: int) -> Published:
    """Return what ties a receipt's lines before a position to what was published: as who hides the others keeps it."""
    assert honest.custody is not None
    assert honest.published is not None
    chains = [
        chain.model_copy(update={"lines": [one for one in chain.lines if tie.position(one) < size]})
        for chain in honest.custody.chains
    ]
    head = tie.Published.read(base64.b64decode(honest.published.custody))
    ways = await tying.paths(db, honest.custody.model_copy(update={"chains": chains}), head)
    return honest.published.model_copy(update={"paths": ways})
