"""What a receipt proves, with nothing but the file: no database, no network."""

import base64
import binascii
import hashlib
from collections.abc import Iterator

import orjson

from roadvault_common.archive import merkle
from roadvault_common.archive.label import Label
from roadvault_common.catalogue.records import CUSTODY
from roadvault_common.custody import tie
from roadvault_common.custody.chain import parse
from roadvault_common.custody.tie import Published, Tie
from roadvault_common.errors import IntegrityError, IpfsUnavailable
from roadvault_common.ipfs.dag import DAG_PB, RAW, Cid, directory
from roadvault_common.ipfs.path import ARCHIVE, LABEL
from roadvault_common.receipts import extrinsic
from roadvault_common.receipts.receipt import Archive, ChainOrder, Receipt, ServiceOrder
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Row


def check(receipt: Receipt, sha256: str, size: int) -> Iterator[str]:
    """Yield what is proven of a file by its SHA-256 (hex) and size, a line each, once it is.

    Raises:
        IntegrityError: Something is not so; it says what.
    """
    file, archive = receipt.file, receipt.archive
    if (sha256, size) != (file.sha256, file.size):
        raise IntegrityError(f"the file has {size} bytes and SHA-256 {sha256}: it is not the receipt's")
    yield f"the file has {size} bytes and SHA-256 {sha256}"
    label = _label(archive)
    yield f"the archive {archive.cid} is a directory with the label that is shown"
    leaf = merkle.leaf(bytes.fromhex(file.salt), file.sha256, file.size, file.id, file.name)
    path = [bytes.fromhex(one) for one in archive.path]
    if not merkle.includes(bytes.fromhex(label.merkleRoot), label.files, leaf, archive.index, path):
        raise IntegrityError("the file is not in the tree whose root is on the label")
    yield f"the file, as number {file.id} with its name, is one of the {label.files} that the label has the root of"
    yield from _order(receipt.order, archive.cid, "the archive")
    yield from _custody(receipt)
    yield from _published(receipt)


def left_open(receipt: Receipt, *, seen: bool = False) -> Iterator[str]:
    """Yield what the receipt says and can't prove by itself, a line each; `seen`: its block was looked into."""
    yield from _left_open(receipt.order, "the archive", seen=seen)
    if receipt.custody is None:
        yield "there are no custody lines: the log had nothing of the file"
        return
    yield from _not_shown(receipt.custody, receipt.order)
    if receipt.published is None:
        yield "the head of the custody log is the keeper's own: it was not published yet"
    else:
        yield from _left_open(receipt.published.order, "the catalogue", seen=seen)
        size = Published.read(_decoded(receipt.published.custody)).size
        if size < receipt.custody.head.size:
            yield f"custody lines from {size} on came after the head that was published: they are the keeper's word"


def _not_shown(custody: Tie, order: ChainOrder | ServiceOrder) -> Iterator[str]:
    """Yield what the log may have of the file and its archive that no line shown tells of."""
    lines = [parse(shown.line.encode()) for chain in custody.chains for shown in chain.lines]
    bought = [orjson.loads(row["facts"]).get("extrinsic") for row in lines if row["act"] == Act.BOUGHT]
    if (order.hash if isinstance(order, ChainOrder) else order.name) not in bought:
        yield "that the order is the one that was bought for the archive: no custody line that is shown says so"
    for chain in custody.chains:
        last = tie.position(chain.lines[-1])
        yield f"that there are more custody lines of the {chain.of}, behind its last that is shown, line {last}"
    if len(custody.chains) == 1:
        yield "what was done to the archive: none of its custody lines is shown, and there may be some"
    count = custody.head.size - sum(len(chain.lines) for chain in custody.chains)
    yield f"what the other {count} of the {custody.head.size} lines of the log say, which are not shown"


def _left_open(order: ChainOrder | ServiceOrder, what: str, *, seen: bool) -> Iterator[str]:
    if isinstance(order, ChainOrder):
        block = f"block {order.block} ({order.blockHash or 'its hash was not noted'})"
        where = f"{block} of the chain with genesis {order.genesis}"
        if order.extrinsic is None:
            yield f"the bytes of the order {order.hash} were not kept: that it is in {where} is said"
        elif not seen:
            yield f"that the order of {what} is in {where} is for any node of the chain to show"
    else:
        yield (
            f"the pinning service {order.service} was asked to keep {what}, under the name {order.name}, and"
            f" had it at {order.at}: it gives no proof of that, and there is no block"
        )


def _label(archive: Archive) -> Label:
    """Return the label, which the archive's CID is of, with the directory between them."""
    label, node = _decoded(archive.label), _decoded(archive.node)
    if str(Cid(DAG_PB, hashlib.sha256(node).digest())) != archive.cid:
        raise IntegrityError("the archive's CID is not the directory's")
    linked = _linked(node)
    if linked.keys() != {ARCHIVE, LABEL} or linked[LABEL] != Cid(RAW, hashlib.sha256(label).digest()):
        raise IntegrityError("the directory does not link to an archive and this label")
    return Label.parse(label)


def _linked(node: bytes) -> dict[str, Cid]:
    try:
        return directory(node)
    except IpfsUnavailable as error:
        raise IntegrityError(f"a directory's block can't be read: {error}") from None


def _decoded(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded or base64.b64encode(decoded).decode() != text:
        raise IntegrityError("the receipt has something else where base64 should be")
    return decoded


def _order(order: ChainOrder | ServiceOrder, cid: str, what: str) -> Iterator[str]:
    if not isinstance(order, ChainOrder):
        if not order.name.startswith(f"{cid}."):
            raise IntegrityError(f"the pinning service was asked for something else than {what}")
        return
    if order.extrinsic is None:
        return
    content = bytes.fromhex(order.extrinsic.removeprefix("0x"))
    read = extrinsic.read(content)
    if read.cid != cid:
        raise IntegrityError(f"the order is one of something else than {what}")
    if extrinsic.hashed(content) != order.hash:
        raise IntegrityError("the order's hash is not that of its bytes")
    yield (
        f"the extrinsic {order.hash} orders {what}, with {read.size} bytes, in the name of the account"
        f" 0x{read.account.hex()} (call {read.call} of pallet {read.pallet}), whose signature is not checked"
    )


def _custody(receipt: Receipt) -> Iterator[str]:
    if receipt.custody is None:
        return
    rows = tie.check(receipt.custody, receipt.file.id, receipt.archive.id)
    _agree(receipt, rows)
    head, first, last = receipt.custody.head, rows[0]["done_at"], rows[-1]["done_at"]
    of = " and of the ".join(chain.of for chain in receipt.custody.chains)
    yield (
        f"the {len(rows)} custody lines, from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, are the first of the"
        f" {of}, hang together, and are in the log of {head.size} lines whose tree has the root {head.root}"
    )


def _published(receipt: Receipt) -> Iterator[str]:
    """See that a catalogue was ordered that has a head of the log, and that lines shown were in the log by then."""
    if receipt.published is None:
        return
    published, custody = receipt.published, _decoded(receipt.published.custody)
    node = _decoded(published.node)
    if _linked(node).get(CUSTODY) != Cid.of(RAW, custody):
        raise IntegrityError("the catalogue's directory does not link to the custody log's head that is shown")
    if receipt.custody is None or published.paths[0] is None:
        raise IntegrityError("there are no custody lines of the file that a head was published of")
    if isinstance(published.order, ChainOrder) and published.order.extrinsic is None:
        raise IntegrityError("the bytes of the order of the catalogue are not there")
    yield from _order(published.order, str(Cid.of(DAG_PB, node)), "the catalogue")
    head = Published.read(custody)
    count = tie.check_paths(receipt.custody, head.bare, published.paths)
    yield (
        f"the catalogue {Cid.of(DAG_PB, node)} has the head of the custody log at {head.size} lines, with the root"
        f" {head.root}: {count} of the lines that are shown were in it"
    )
    if head.accepted is not None:
        yield (
            "that head names lines of the log that somebody accepted as they are, though they are lost, or not what"
            f" was chained: {head.where}"
        )


def _agree(receipt: Receipt, rows: list[Row]) -> None:
    """See that lines say of the file and of its purchase what the receipt says."""
    file, order = receipt.file, receipt.order
    label = hashlib.sha256(_decoded(receipt.archive.label)).hexdigest()
    for row in rows:
        facts = orjson.loads(row["facts"])
        match row["act"]:
            case Act.ADOPTED if row["zip_id"] is not None:
                said: dict[str, object] = {"cid": receipt.archive.cid}
            case Act.RECEIVED | Act.ADOPTED:
                said = {"sha256": file.sha256, "size": file.size}
            case Act.PACKED:
                said = {"label": label}
            case Act.BOUGHT if isinstance(order, ChainOrder) and facts.get("extrinsic") == order.hash:
                said = {"block": order.block, "market": order.genesis, "cid": receipt.archive.cid}
                said |= {} if order.blockHash is None else {"blockHash": order.blockHash}
            case Act.BOUGHT if not isinstance(order, ChainOrder) and facts.get("extrinsic") == order.name:
                said = {"market": order.service, "cid": receipt.archive.cid}
            case _:
                continue
        if any(facts.get(name, value) != value for name, value in said.items()):
            raise IntegrityError(
                f"custody line {row['position']} (`{row['act']}`) says something else than the receipt"
            )
