"""Makes receipts out of the rows. It needs no master key: the salts' key is beside the label."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from roadvault_common.archive import merkle
from roadvault_common.custody import fault_store, tie, tying
from roadvault_common.custody.check import goes_on
from roadvault_common.custody.tie import Tie
from roadvault_common.errors import PermanentError, RoadVaultError
from roadvault_common.receipts import store
from roadvault_common.receipts.check import check
from roadvault_common.receipts.receipt import Archive, ChainOrder, File, Published, Receipt, ServiceOrder
from roadvault_common.sql.db import Database, Row


class NoFile(PermanentError):
    """There is no such file."""


class NoReceipt(RoadVaultError):
    """There is none for the file: not yet, or, of what is kept as it is, not any more."""


async def make(db: Database, file_id: int) -> Receipt:
    """Make a file's receipt.

    Raises:
        NoFile: There is no such file.
        NoReceipt: It has none; it says why, and what it waits for.
        IntegrityError: The rows do not give one that proves what it has to; it says what is wrong.
    """
    row = await store.file(db, file_id)
    if row is None:
        raise NoFile(f"there is no file {file_id}")
    order = await _order(db, row)
    files = await store.files(db, row["zip_id"])
    archive, file = await asyncio.to_thread(_place, row, files)
    custody = await _custody(db, file_id, row["zip_id"])
    published = None if custody is None else await _published(db, custody)
    number: Literal[1, 2, 3] = 1 if published is None else 3 if published.names_accepted else 2
    receipt = Receipt(
        archive=archive, custody=custody, file=file, format=number, order=order, published=published
    ).summed()
    for _ in check(Receipt.read(receipt.encode()), file.sha256, file.size):
        pass  # whoever gets it does the same
    return receipt


async def _order(db: Database, row: Row) -> ChainOrder | ServiceOrder:
    """Return the archive's first order of which there is most to show.

    Raises:
        NoReceipt: There is none, or the archive has no label, or no salts.
    """
    file, archive = f"file {row['file_id']} has no receipt", f"its archive {row['zip_id']}"
    if row["zip_id"] is None:
        raise NoReceipt(f"{file} yet: it is not packed; it gets one once its archive is bought")
    if row["cid"] is None:
        raise NoReceipt(f"{file} yet: {archive} is not on IPFS; it gets one once that is bought")
    if row["format"] == 1:
        raise NoReceipt(f"{file}: {archive} is of format 1, which has no label that a receipt could show")
    bought = await store.bought(db, row["zip_id"], row["cid"])
    if not bought:
        raise NoReceipt(f"{file} yet: {archive} is not bought, or that is not settled")
    if row["label"] is None or row["node"] is None or row["salt_key"] is None:
        raise NoReceipt(
            f"{file}: the salts of {archive} are not here; they were destroyed with its key, or not brought back"
        )
    on_chain = [order for order in bought if _on_chain(order)]
    if not on_chain:
        return _shown(bought[0])
    return _shown(next((one for one in on_chain if one["extrinsic"].startswith("0x")), on_chain[0]))


def _on_chain(order: Row) -> bool:
    return str(order["market"] or "").startswith("0x")


def _shown(order: Row) -> ChainOrder | ServiceOrder:
    """Return an order as receipts have it."""
    if not _on_chain(order):
        return _at_service(order)
    return ChainOrder(
        block=order["block"],
        blockHash=order["block_hash"],
        extrinsic=order["extrinsic"] or None,
        genesis=order["market"],
        hash=order["extrinsic_hash"],
    )


def _at_service(order: Row) -> ServiceOrder:
    settled: datetime = order["settled_at"]
    return ServiceOrder(
        at=f"{settled:%Y-%m-%dT%H:%M:%SZ}", name=order["extrinsic_hash"], service=order["market"] or order["account"]
    )


def _place(row: Row, files: Sequence[Row]) -> tuple[Archive, File]:
    """Return the archive, with the file's place in its tree, and the file; some 0.25 s for 20 000 files."""
    salts = [merkle.salt(row["salt_key"], file["file_id"]) for file in files]
    leaves = [
        merkle.leaf(salt, file["sha256"], file["size"], file["file_id"], file["file_name"])
        for salt, file in zip(salts, files, strict=True)
    ]
    index = next(at for at, file in enumerate(files) if file["file_id"] == row["file_id"])
    archive = Archive(
        cid=row["cid"],
        id=row["zip_id"],
        index=index,
        label=base64.b64encode(row["label"]).decode(),
        node=base64.b64encode(row["node"]).decode(),
        path=[one.hex() for one in merkle.path(leaves, index)],
    )
    file = File(
        id=row["file_id"], name=row["file_name"], salt=salts[index].hex(), sha256=row["sha256"], size=row["size"]
    )
    return archive, file


async def _custody(db: Database, file_id: int, zip_id: int) -> Tie | None:
    """Return the file's custody lines, tied to the log's newest head; None if the log has none of its own."""
    head = await tying.root(db)
    if head is None:
        return None
    tied = await tying.tie(db, file_id, zip_id, head)
    return tied if tied.chains and tied.chains[0].of == "file" else None


async def _published(db: Database, custody: Tie) -> Published | None:
    """Return what ties these lines to the newest catalogue that was bought; None if none has one of the file's.

    Raises:
        IntegrityError: The log is not the one whose head was published.
    """
    row = await store.catalogue(db)
    if row is None:
        return None
    head = tie.Published.read(row["custody"])
    if await fault_store.any_accepted(db, custody.head.size) and not await goes_on(db, head):
        return None  # a person accepted that the log does not go on from there: the next catalogue has this one
    ways, order = await tying.paths(db, custody, head), _shown(row)
    if ways[0] is None or (isinstance(order, ChainOrder) and order.extrinsic is None):
        return None
    return Published(
        custody=base64.b64encode(row["custody"]).decode(),
        node=base64.b64encode(row["node"]).decode(),
        order=order,
        paths=ways,
    )
