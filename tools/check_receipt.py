#!/usr/bin/env python3
"""Checks a receipt of RoadVault with Python's standard library alone: `check_receipt.py RECEIPT FILE`.

Written from the description of the format (architecture/receipts.md), apart from the program that makes receipts: two
that agree are a reason to believe both. It says what is proven, or ends with 1 and the first thing that is not so.
"""

import base64
import hashlib
import json
import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

MOST = 32 << 20
"""Bytes of a receipt."""
LONGEST = 1000
"""Characters of a line that is shown."""


class Wrong(Exception):
    """Something is not so; the message says what."""


def need(true: object, otherwise: str) -> None:
    """Raise Wrong unless something is so."""
    if not true:
        raise Wrong(otherwise)


def shown(text: str) -> str:
    """Return one line of text, with U+FFFD for what a terminal would obey instead of showing it."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:LONGEST])


def sha256(*parts: bytes) -> bytes:
    """Return the SHA-256 of bytes in a row."""
    return hashlib.sha256(b"".join(parts)).digest()


def written(value: object) -> bytes:
    """Return JSON in the one way in which it is written here."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def keyed(value: Any, keys: str) -> dict[str, Any]:
    """Return an object that has just these keys."""
    need(" ".join(sorted(value)) == keys, f"other keys than {keys}")
    return dict(value)


def number(value: Any) -> int:
    """Return a whole number from 0 on."""
    need(type(value) is int and 0 <= value < 1 << 53, "there is something else where a number should be")
    return int(value)


def unhex(value: str, length: int = 32, start: str = "") -> bytes:
    """Return the bytes of lower-case hex behind `start`; of any length, if that is 0."""
    found = bytes.fromhex(value.removeprefix(start))
    need(start + found.hex() == value and len(found) == (length or len(found)), "there is something else than hex")
    return found


def unbase64(value: str) -> bytes:
    """Return the bytes of base64, which has one spelling."""
    found = base64.b64decode(value, validate=True)
    need(base64.b64encode(found).decode() == value, "there is something else where base64 should be")
    return found


def fields(message: bytes) -> list[tuple[int, Any]]:
    """Return the fields of a protobuf message: numbers and byte strings are all that a directory has."""
    found, data = list[tuple[int, Any]](), BytesIO(message)

    def value() -> int:
        read = shift = 0
        while True:
            need(shift < 64, "the directory's block has a number without an end")
            byte = take(data, 1)[0]
            read, shift = read | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return read

    while data.tell() < len(message):
        tag, told = value(), value()
        need(tag & 7 in {0, 2}, "the directory's block has fields of unknown kinds")
        found.append((tag >> 3, take(data, told) if tag & 7 else told))
    return found


def take(data: BytesIO, count: int) -> bytes:
    """Return the next so many bytes."""
    taken = data.read(count) if count < 1 << 31 else b""
    need(len(taken) == count, "something is cut short")
    return taken


def compact(data: BytesIO) -> int:
    """Return the next compact number of SCALE."""
    first = take(data, 1)
    mode = first[0] & 3
    if mode == 3:
        return int.from_bytes(take(data, (first[0] >> 2) + 4), "little")
    return int.from_bytes(first + take(data, (1, 2, 4)[mode] - 1), "little") >> 2


def root(leaf: bytes, index: int, count: int, path: list[str]) -> str:
    """Return the root of a tree of `count` leaves that a leaf leads to (RFC 9162, section 2.1.3.2), in hex."""
    need(index < count, "there is no such leaf")
    node, last = sha256(b"\0", leaf), count - 1
    for beside in path:
        need(last, "the path is too long")
        if index % 2 or index == last:
            node = sha256(b"\1", unhex(beside), node)
            while not index % 2 and index:
                index, last = index // 2, last // 2
        else:
            node = sha256(b"\1", node, unhex(beside))
        index, last = index // 2, last // 2
    need(last == 0, "the path is too short")
    return node.hex()


def directory(node: bytes) -> tuple[str, dict[Any, Any]]:
    """Return a directory's CID, and the CIDs that it links, by their names."""
    cid = "b" + base64.b32encode(b"\x01\x70\x12\x20" + sha256(node)).decode().rstrip("=").lower()
    links, data = dict[Any, Any](), b""
    for field, value in fields(node):
        if field == 1:
            data = value
        else:
            link = dict(fields(value))
            need(field == 2 and link.get(2) not in links, "the directory has a name twice")
            links[link.get(2)] = link.get(1)
    need(dict(fields(data)).get(1) == 1, "the block is not a directory's")
    return cid, links


def check_directory(archive: dict[str, Any]) -> bytes:
    """Return the label, seen to be the archive's (step 3)."""
    label = unbase64(archive["label"])
    cid, links = directory(unbase64(archive["node"]))
    need(archive["cid"] == cid, "the CID is not the directory's")
    need(links.keys() == {b"archive.7z.enc", b"label.json"}, "the directory has other names")
    need(links[b"label.json"] == b"\x01\x55\x12\x20" + sha256(label), "the directory links another label")
    return label


def check_order(order: dict[str, Any], cid: str) -> str:
    """See that the order is the archive's (step 5); return what is proven."""
    if order["by"] == "service":
        keyed(order, "at by name service")
        need(order["name"].startswith(cid + "."), "the service was asked for something else")
        need(len(order["name"]) <= 200 and len(order["service"]) <= 100, "the service is none")
        need(re.fullmatch("[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z", order["at"]), "the service's time is none")
        return f"nothing of the order: {order['service']} had it at {order['at']}, as it says"
    keyed(order, "block blockHash by extrinsic genesis hash")
    need(order["by"] == "chain" and number(order["block"]) >= 0, "the order is of an unknown kind")
    for name in ("genesis", "hash", *(["blockHash"] if order["blockHash"] is not None else [])):
        unhex(order[name], 32, "0x")
    if order["extrinsic"] is None:
        return "nothing of the order: its bytes were not kept"
    extrinsic = unhex(order["extrinsic"], 0, "0x")
    hashed = hashlib.blake2b(extrinsic, digest_size=32).hexdigest()
    need(order["hash"] == "0x" + hashed, "the order's hash is not that of its bytes")
    data = BytesIO(extrinsic)
    need(compact(data) == len(extrinsic) - data.tell(), "the order's extrinsic has another length than it says")
    need(take(data, 1) == b"\x84", "the order's extrinsic is not a signed one of version 4")
    account, kind = take(data, 32), take(data, 1)[0]
    need(kind <= 2, "the order's signature is of an unknown kind")
    take(data, (64, 64, 65)[kind])
    take(data, 0 if take(data, 1) == b"\0" else 1)
    compact(data), compact(data)
    pallet, call = take(data, 2)
    ordered, size = take(data, compact(data)), int.from_bytes(take(data, 8), "little")
    compact(data)
    take(data, compact(data))
    need(not data.read(), "the order's extrinsic goes on behind its end")
    need(ordered == cid.encode(), "the order is one of something else")
    named = f"names the account 0x{account.hex()}, whose signature is not checked"
    return f"the order (call {call} of pallet {pallet}) is one of that CID, {size} bytes, and {named}"


def check_custody(receipt: dict[str, Any], label: bytes) -> str:
    """See that the custody lines are those that were chained, and agree (step 6); return what is proven."""
    custody, order = keyed(receipt["custody"], "chains head"), receipt["order"]
    head, file, cid = keyed(custody["head"], "hash root size"), receipt["file"], receipt["archive"]["cid"]
    received, size, count = {"sha256": file["sha256"], "size": file["size"]}, number(head["size"]), 0
    by, who = ("hash", "genesis") if order["by"] == "chain" else ("name", "service")
    bought = {"cid": cid, "market": order[who]}
    bought.update({name: order[name] for name in ("block", "blockHash") if order.get(name) is not None})
    says = {"received": received, "packed": {"label": sha256(label).hex()}, "bought": bought}
    need(1 <= len(custody["chains"]) <= 2 and unhex(head["hash"]), "there are not one or two chains of custody lines")
    for chain, kind in zip(custody["chains"], ("file", "archive"), strict=False):
        need(keyed(chain, "after lines of path")["of"] == kind and chain["lines"], f"lines of the {kind} are missing")
        says["adopted"] = received if kind == "file" else {"cid": cid}
        need(chain["after"] is None, f"the first lines of the {kind} are left out: those shown follow another")
        follows, position = bytes(32), -1
        for shown in chain["lines"]:
            text = keyed(shown, "before hash line")["line"].encode()
            follows = sha256(unhex(shown["before"]), follows, text)
            need(follows.hex() == shown["hash"], f"the line behind {position} is not what was chained")
            line = json.loads(text)
            need(written(line) == text, "a custody line is not as it was written")
            subject = {name: line[name] for name in ("file", "archive") if name in line}
            need(subject == {kind: receipt[kind]["id"]}, f"a custody line is of something else: {subject}")
            need(number(line["line"]) > position, "custody lines are not in their order")
            position, count, facts = line["line"], count + 1, line["facts"]
            if line["act"] == "bought" and facts.get("extrinsic") != order[by]:
                continue  # another purchase
            for name, value in says.get(line["act"], {}).items():
                need(facts.get(name, value) == value, f"custody line {position} says something else of {name}")
        need(root(follows, position, size, chain["path"]) == head["root"], f"lines of the {kind} are not in that log")
    of = " and of the ".join(chain["of"] for chain in custody["chains"])
    return f"{count} custody lines, the first of the {of}, hang together, in the log of {size}, root {head['root']}"


def not_shown(receipt: dict[str, Any]) -> list[str]:
    """Return what no custody line of a receipt, which was checked, tells of."""
    chains, told, shown = (receipt["custody"] or {"chains": []})["chains"], list[str](), 0
    order, lines = receipt["order"], [json.loads(one["line"]) for chain in chains for one in chain["lines"]]
    bought = [line["facts"].get("extrinsic") for line in lines if line["act"] == "bought"]
    if order["hash" if order["by"] == "chain" else "name"] not in bought:
        told.append("that the order is the one that was bought for the archive: no custody line that is shown says so")
    for chain in chains:
        last, shown = json.loads(chain["lines"][-1]["line"])["line"], shown + len(chain["lines"])
        told.append(f"that there are more lines of the {chain['of']} behind its last that is shown, line {last}")
    if len(chains) < 2:
        told.append(f"what was done to the {' and the '.join(('file', 'archive')[len(chains) :])}: no line is shown")
    if chains:
        size = receipt["custody"]["head"]["size"]
        told.append(f"what the other {size - shown} of the {size} lines of the log say, which are not shown")
    return told


def check_published(receipt: dict[str, Any]) -> list[str]:
    """See that a catalogue was ordered that has a head with these lines (step 7); return what is proven."""
    published, chains = keyed(receipt["published"], "custody node order paths"), receipt["custody"]["chains"]
    custody, count = unbase64(published["custody"]), 0
    cid, links = directory(unbase64(published["node"]))
    need(links.get(b"custody.json") == b"\x01\x55\x12\x20" + sha256(custody), "the catalogue has another head")
    head, accepted = json.loads(custody), receipt["format"] == 3
    keyed(head, "accepted hash root size" if accepted else "hash root size")
    names = ("size", "hash", "root", *(["accepted"] if accepted else []))
    spelled = json.dumps({name: head[name] for name in names}, separators=(",", ":"))
    need(spelled.encode() == custody and unhex(head["hash"]), "the head is not as it was written")
    now, was = receipt["custody"]["head"], {name: head[name] for name in ("size", "hash", "root")}
    need(now["size"] > number(head["size"]) or now == was, "lines were cut off the log that the catalogue's head is of")
    need(published["order"].get("extrinsic", "") is not None, "the bytes of the catalogue's order are not there")
    need(len(published["paths"]) == len(chains), "there is not a path for each chain of custody lines")
    for chain, path in zip(chains, published["paths"], strict=True):
        lines = [one for one in chain["lines"] if json.loads(one["line"])["line"] < number(head["size"])]
        need((path is None) == (not lines), "a path to the catalogue's head is missing")
        need(lines or chain["of"] == "archive", "there are no lines of the file that are in the catalogue's head")
        if lines:
            last = json.loads(lines[-1]["line"])["line"]
            found = root(unhex(lines[-1]["hash"]), last, head["size"], path)
            need(found == head["root"], f"custody line {last} is not in the log whose head was published")
        count += len(lines)
    told = [
        check_order(published["order"], cid),
        f"{count} of these lines were in the log of {head['size']} lines whose head is in the catalogue {cid}",
    ]
    if accepted:
        need(head["accepted"], "the head names no lines that were accepted")
        where = ", ".join(f"{number(first)} to {number(last)}" for first, last in head["accepted"])
        told.append(f"lines of that log were accepted as they are, though lost, or not what was chained: {where}")
    return told


def proven(receipt: dict[str, Any], digest: bytes, size: int) -> list[str]:
    """Return what a receipt proves, that is as it was written (steps 2 to 7)."""
    formats = (1,) if receipt["published"] is None else (2, 3)
    need(number(receipt["format"]) in formats, "the receipt is of another format")
    archive, file = keyed(receipt["archive"], "cid id index label node path"), receipt["file"]
    need(keyed(file, "id name salt sha256 size")["sha256"] == digest.hex(), "the file is not the receipt's")
    need(number(file["size"]) == size, "the file is not as long as the receipt's")
    label = check_directory(archive)
    said = json.loads(label)
    leaf = unhex(file["salt"]) + digest + size.to_bytes(8, "big") + number(file["id"]).to_bytes(8, "big")
    found = root(leaf + file["name"].encode(), number(archive["index"]), number(said["files"]), archive["path"])
    need(number(archive["id"]) >= 0 and found == said["merkleRoot"], "the file is not in the tree of the label's root")
    told = [
        f"the file has {size} bytes and SHA-256 {digest.hex()}",
        f"the archive {archive['cid']} has the label that is shown",
        f"the file, number {file['id']} by its name, is one of the {said['files']} that were packed",
        check_order(receipt["order"], archive["cid"]),
        check_custody(receipt, label) if receipt["custody"] is not None else "nothing of custody: there are no lines",
    ]
    return told + (check_published(receipt) if receipt["published"] is not None else [])


def check(content: bytes, digest: bytes, size: int) -> list[str]:
    """Return what a receipt proves of a file, by its SHA-256 and length; raise Wrong at what is not so."""
    try:
        need(len(content) <= MOST, "the receipt is too long")
        receipt = keyed(json.loads(content), "archive custody digest file format order published")
        need(written(receipt) == content, "the receipt is not as it was written")
        summed = sha256(written({**receipt, "digest": "0" * 64})).hex()
        need(summed == receipt["digest"], "the receipt is damaged: it does not have its own digest")
        return proven(receipt, digest, size)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Wrong(f"it is not written as receipts are: {error!r}") from None


def main(receipt: str, file: str) -> None:
    """Print what a receipt proves of a file."""
    with Path(file).open("rb") as source:
        digest, size = hashlib.file_digest(source, "sha256").digest(), source.tell()
    with Path(receipt).open("rb") as source:
        content = source.read(MOST + 1)
    for line in check(content, digest, size):
        print("proven:", shown(line))
    for line in not_shown(json.loads(content)):
        print("not proven by this:", shown(line))
    print("not proven by this: that an order is in its block; any node of the chain shows it")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Wrong, OSError, TypeError) as error:
        sys.exit(shown(f"check_receipt.py: {error}"))
