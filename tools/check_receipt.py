#!/usr/bin/env python3
"""Checks a receipt of RoadVault with Python's standard library alone: `check_receipt.py RECEIPT FILE`.

Written from the description of the format (architecture/receipts.md), apart from the program that makes receipts: two
that agree are a reason to believe both. It says what is proven, or ends with 1 and the first thing that is not so.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

MOST_BYTES = 32 << 20
ZEROS = "0" * 64
KEYS = {
    "receipt": "archive custody digest file format order published",
    "archive": "cid id index label node path",
    "file": "id name salt sha256 size",
    "chain": "block blockHash by extrinsic genesis hash",
    "service": "at by name service",
    "custody": "chains head",
    "head": "hash root size",
    "lines": "after lines of path",
    "line": "before hash line",
}


class Wrong(Exception):
    """Something is not so; the message says what."""


def need(true: object, otherwise: str) -> None:
    """Raise Wrong unless something is so."""
    if not true:
        raise Wrong(otherwise)


def sha256(*parts: bytes) -> bytes:
    """Return the SHA-256 of bytes in a row."""
    return hashlib.sha256(b"".join(parts)).digest()


def written(value: object) -> bytes:
    """Return JSON in the one way in which it is written here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def keyed(value: Any, kind: str) -> dict[str, Any]:
    """Return an object that has just the keys of its kind."""
    need(" ".join(sorted(value)) == KEYS[kind], f"{kind}: it has other keys than {KEYS[kind]}")
    return dict(value)


def number(value: Any) -> int:
    """Return a whole number from 0 on."""
    need(type(value) is int and 0 <= value < 1 << 53, "there is something else where a number should be")
    return int(value)


def unhex(value: str, length: int = 32) -> bytes:
    """Return the bytes of lower-case hex; of any length, if that is 0."""
    found = bytes.fromhex(value)
    need(found.hex() == value and len(found) == (length or len(found)), "there is something else where hex should be")
    return found


def unhex0x(value: str, length: int = 32) -> bytes:
    """Return the bytes of hex behind `0x`."""
    need(value[:2] == "0x", "there is something else where hex behind 0x should be")
    return unhex(value[2:], length)


def unbase64(value: str) -> bytes:
    """Return the bytes of base64, which has one spelling."""
    found = base64.b64decode(value, validate=True)
    need(base64.b64encode(found).decode() == value, "there is something else where base64 should be")
    return found


def read(content: bytes) -> dict[str, Any]:
    """Return a receipt that is as it was written (step 1)."""
    need(len(content) <= MOST_BYTES, "the receipt is too long")
    receipt = keyed(json.loads(content), "receipt")
    need(written(receipt) == content, "the receipt is not as it was written")
    digest = sha256(written({**receipt, "digest": ZEROS})).hex()
    need(digest == receipt["digest"], "the receipt is damaged: it does not have its own digest")
    need(number(receipt["format"]) == 1 and receipt["published"] is None, "the receipt is of another format")
    return receipt


def numbers(message: bytes, at: int = 0) -> tuple[int, int]:
    """Return the protobuf number at a place, and where it ends."""
    value = shift = 0
    while True:
        need(at < len(message) and shift < 64, "the directory's block is cut short")
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at


def fields(message: bytes) -> list[tuple[int, Any]]:
    """Return the fields of a protobuf message: numbers and byte strings are all that a directory has."""
    found, at = [], 0
    while at < len(message):
        tag, at = numbers(message, at)
        value, at = numbers(message, at)
        need(tag & 7 in {0, 2}, "the directory's block has fields of unknown kinds")
        if tag & 7:
            need(value <= len(message) - at, "the directory's block is cut short")
            value, at = message[at : at + value], at + value
        found.append((tag >> 3, value))
    return found


def check_directory(archive: dict[str, Any]) -> bytes:
    """Return the label, seen to be the archive's (step 3)."""
    node, label = unbase64(archive["node"]), unbase64(archive["label"])
    cid = b"\x01\x70\x12\x20" + sha256(node)
    need(archive["cid"] == "b" + base64.b32encode(cid).decode().rstrip("=").lower(), "the CID is not the directory's")
    links, data = {}, b""
    for field, value in fields(node):
        if field == 1:
            data = value
        else:
            link = dict(fields(value))
            need(field == 2 and link.get(2) not in links, "the directory has a name twice")
            links[link.get(2)] = link.get(1)
    need(dict(fields(data)).get(1) == 1, "the block is not a directory's")
    need(links.keys() == {b"archive.7z.enc", b"label.json"}, "the directory has other names")
    need(links[b"label.json"] == b"\x01\x55\x12\x20" + sha256(label), "the directory links another label")
    return label


def root(leaf: bytes, index: int, count: int, path: list[bytes]) -> bytes:
    """Return the root of a tree of `count` leaves that a leaf leads to (RFC 9162, section 2.1.3.2)."""
    need(index < count, "there is no such leaf")
    node, last = sha256(b"\0", leaf), count - 1
    for beside in path:
        need(last, "the path is too long")
        if index % 2 or index == last:
            node = sha256(b"\1", beside, node)
            while not index % 2 and index:
                index, last = index // 2, last // 2
        else:
            node = sha256(b"\1", node, beside)
        index, last = index // 2, last // 2
    need(last == 0, "the path is too short")
    return node


def check_tree(file: dict[str, Any], archive: dict[str, Any], label: bytes) -> int:
    """See that the file is in the tree (step 4); return how many files are."""
    said = json.loads(label)
    leaf = unhex(file["salt"]) + unhex(file["sha256"]) + number(file["size"]).to_bytes(8, "big")
    leaf += number(file["id"]).to_bytes(8, "big") + file["name"].encode()
    path = [unhex(one) for one in archive["path"]]
    found = root(leaf, number(archive["index"]), number(said["files"]), path)
    need(found == unhex(said["merkleRoot"]), "the file is not in the tree whose root is on the label")
    return number(said["files"])


class Scale:
    """Reads SCALE."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        """Return so many bytes."""
        need(count <= len(self.data), "the order's extrinsic is cut short")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def compact(self) -> int:
        """Return a compact number."""
        first = self.take(1)
        mode = first[0] & 3
        if mode == 3:
            return int.from_bytes(self.take((first[0] >> 2) + 4), "little")
        return int.from_bytes(first + self.take((1, 2, 4)[mode] - 1), "little") >> 2


def check_order(order: dict[str, Any], cid: str) -> str:
    """See that the order is the archive's (step 5); return what is proven."""
    if order.get("by") == "service":
        keyed(order, "service")
        need(order["name"].startswith(cid + "."), "the service was asked for something else")
        return f"nothing of the order: {order['service']} had it at {order['at']}, as it says"
    need(order.get("by") == "chain", "the order is of an unknown kind")
    keyed(order, "chain")
    number(order["block"])
    unhex0x(order["genesis"]), unhex0x(order["hash"]), unhex0x(order["blockHash"] or order["hash"])
    if order["extrinsic"] is None:
        return "nothing of the order: its bytes were not kept"
    extrinsic = unhex0x(order["extrinsic"], 0)
    hashed = hashlib.blake2b(extrinsic, digest_size=32).hexdigest()
    need(order["hash"] == "0x" + hashed, "the order's hash is not that of its bytes")
    scale = Scale(extrinsic)
    need(scale.compact() == len(scale.data), "the order's extrinsic has another length than it says")
    need(scale.take(1) == b"\x84", "the order's extrinsic is not a signed one of version 4")
    account, kind = scale.take(32), scale.take(1)[0]
    need(kind <= 2, "the order's signature is of an unknown kind")
    scale.take((64, 64, 65)[kind])
    if scale.take(1) != b"\0":
        scale.take(1)
    scale.compact(), scale.compact()
    pallet, call = scale.take(2)
    ordered, size = scale.take(scale.compact()), int.from_bytes(scale.take(8), "little")
    scale.compact()
    scale.take(scale.compact())
    need(not scale.data, "the order's extrinsic goes on behind its end")
    need(ordered == cid.encode(), "the order is one of something else")
    return f"the account 0x{account.hex()} signed the order (call {call} of pallet {pallet}) of that CID, {size} bytes"


def check_custody(receipt: dict[str, Any], label: bytes) -> str:
    """See that the custody lines are those that were chained, and agree (step 6); return what is proven."""
    custody, order = keyed(receipt["custody"], "custody"), receipt["order"]
    head, file, cid = keyed(custody["head"], "head"), receipt["file"], receipt["archive"]["cid"]
    unhex(head["hash"])
    received = {"sha256": file["sha256"], "size": file["size"]}
    by, who = ("hash", "genesis") if order["by"] == "chain" else ("name", "service")
    bought = {"cid": cid, "market": order[who]}
    bought.update({name: order[name] for name in ("block", "blockHash") if order.get(name) is not None})
    says = {"received": received, "adopted": received, "packed": {"label": sha256(label).hex()}, "bought": bought}
    need(1 <= len(custody["chains"]) <= 2, "there are not one or two chains of custody lines")
    count = 0
    for chain, kind in zip(custody["chains"], ("file", "archive"), strict=False):
        need(keyed(chain, "lines")["of"] == kind and chain["lines"], f"the custody lines of the {kind} are missing")
        follows, position = bytes(32) if chain["after"] is None else unhex(chain["after"]), -1
        for shown in chain["lines"]:
            keyed(shown, "line")
            follows = sha256(unhex(shown["before"]), follows, shown["line"].encode())
            need(follows == unhex(shown["hash"]), f"the line behind {position} is not what was chained")
            line = json.loads(shown["line"])
            need(written(line).decode() == shown["line"], "a custody line is not as it was written")
            subject = {name: line[name] for name in ("file", "archive") if name in line}
            need(subject == {kind: receipt[kind]["id"]}, f"a custody line is of something else: {subject}")
            need(number(line["line"]) > position, "custody lines are not in their order")
            position, count = line["line"], count + 1
            if line["act"] == "bought" and line["facts"].get("extrinsic") != order[by]:
                continue  # another purchase
            for name, value in says.get(line["act"], {}).items():
                need(line["facts"].get(name, value) == value, f"custody line {position} says something else of {name}")
        path = [unhex(one) for one in chain["path"]]
        found = root(follows, position, number(head["size"]), path)
        need(found == unhex(head["root"]), f"the custody lines of the {kind} are not in the log of that head")
    return f"{count} custody lines hang together, in the log of {head['size']} lines with the root {head['root']}"


def check(content: bytes, digest: bytes, size: int) -> list[str]:
    """Return what a receipt proves of a file, by its SHA-256 and length; raise Wrong at what is not so."""
    try:
        return proven(read(content), digest, size)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Wrong(f"it is not written as receipts are: {error!r}") from None


def proven(receipt: dict[str, Any], digest: bytes, size: int) -> list[str]:
    """Return what a receipt proves."""
    file, archive = keyed(receipt["file"], "file"), keyed(receipt["archive"], "archive")
    need(number(file["size"]) == size and unhex(file["sha256"]) == digest, "the file is not the receipt's")
    label = check_directory(archive)
    count = check_tree(file, archive, label)
    return [
        f"the file has {size} bytes and SHA-256 {digest.hex()}",
        f"the archive {archive['cid']} has the label that is shown",
        f"the file, number {file['id']} by its name, is one of the {count} that were packed",
        check_order(receipt["order"], archive["cid"]),
        check_custody(receipt, label) if receipt["custody"] is not None else "nothing of custody: there are no lines",
    ]


def main(receipt: str, file: str) -> None:
    """Print what a receipt proves of a file."""
    digest, size = hashlib.sha256(), 0
    with Path(file).open("rb") as source:
        while piece := source.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    for line in check(Path(receipt).read_bytes(), digest.digest(), size):
        print("proven:", line)
    print("not proven by this: that the order is in its block; any node of the chain shows it")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Wrong, OSError, TypeError) as error:
        sys.exit(f"check_receipt.py: {error}")
