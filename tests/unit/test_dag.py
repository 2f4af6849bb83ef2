"""The nodes of a file's DAG: what Kubo makes of a file is read, what does not fit is refused."""

import hashlib

import pytest

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs import dag
from roadvault_common.ipfs.dag import DAG_PB, RAW, Cid, Node, Part
from roadvault_common.ipfs.path import Path, archive_path


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def raw_cid(data: bytes, codec: int = RAW) -> bytes:
    return bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(data).digest()


def node(links: list[bytes], sizes: list[int], *, total: int | None = None, kind: int = 2, own: bytes = b"") -> bytes:
    unixfs = field(1, kind) + (field(2, own) if own else b"") + field(3, sum(sizes) if total is None else total)
    unixfs += b"".join(field(4, size) for size in sizes)
    return b"".join(field(2, field(1, link) + field(2, b"") + field(3, 9)) for link in links) + field(1, unixfs)


A, B = raw_cid(b"a" * 10), raw_cid(b"b" * 7)
ROOT = Cid(DAG_PB, b"")


def test_a_cid_is_read_and_written() -> None:
    text = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"  # of no bytes
    cid = Cid.parse(text)
    assert (cid.codec, str(cid), cid.fits(b""), cid.fits(b"x")) == (RAW, text, True, False)
    for wrong in (
        "",
        "b",
        "bafkqaaa",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        text[:-3],
        "b!!!",
        text.upper(),
    ):
        with pytest.raises(IpfsUnavailable):
            Cid.parse(wrong)


def test_a_node_tells_where_its_children_are() -> None:
    found = dag.parse(node([A, B], [10, 7]))
    assert found == Node(17, (Part(Cid.decode(A), 0, 10), Part(Cid.decode(B), 10, 7)))
    assert found.within(Part(ROOT, 100, 17), 0, 200) == [Part(Cid.decode(A), 100, 10), Part(Cid.decode(B), 110, 7)]
    assert found.within(Part(ROOT, 100, -1), 110, 111) == [Part(Cid.decode(B), 110, 7)]
    with pytest.raises(IpfsUnavailable, match="its parent says 18"):
        found.within(Part(ROOT, 100, 18), 0, 200)
    packed = field(2, field(1, A)) + field(1, field(1, 2) + field(3, 10) + field(4, varint(10)))
    assert dag.parse(packed).children[0].size == 10


@pytest.mark.parametrize(
    "block",
    [
        node([A], [10, 7]),
        node([A, B], [10, 7], total=18),
        node([A, B], [17, 0]),
        node([A, B], [10, 7], kind=1),
        node([A, B], [10, 7], own=b"bytes of its own"),
        node([A[:-1]], [10]),
        node([bytes([1, 0x71]) + A[2:]], [10]),
        field(2, field(3, 1)) + field(1, field(1, 2) + field(3, 1) + field(4, 1)),
        node([A, B], [10, 7])[:-1],
        b"\xff" * 40,
        b"\x0a\x7f",
        b"\x0b",
        b"",
    ],
)
def test_a_node_that_does_not_fit_is_refused(block: bytes) -> None:
    with pytest.raises(IpfsUnavailable):
        dag.parse(block)


async def test_only_what_a_range_touches_is_looked_at_and_a_lie_about_sizes_is_found() -> None:
    inner = [node([A, B], [10, 7]), node([B, A], [7, 10])]
    links = [raw_cid(block, DAG_PB) for block in inner]
    root = node(links, [17, 17])
    blocks = {hashlib.sha256(block).digest(): block for block in (*inner, root)}
    seen: list[Part] = []

    async def look(part: Part) -> Node:
        seen.append(part)
        return dag.parse(blocks[part.cid.digest])

    def name(block: bytes) -> Cid:
        return Cid.decode(raw_cid(block, DAG_PB))

    async def found(root: bytes, begin: int, end: int) -> list[Part]:
        seen.clear()
        parts = []
        async for leaf in dag.leaves(look, name(root), begin, end):
            seen.append(leaf)
            parts.append(leaf)
        return parts

    assert [(leaf.offset, leaf.size) for leaf in await found(root, 12, 18)] == [(10, 7), (17, 7)]
    assert [part.offset for part in seen] == [0, 0, 10, 17, 17]  # each node just before its first leaf, as in a CAR
    assert [leaf.offset for leaf in await found(root, 30, 31)] == [24]
    assert len(seen) == 3
    with pytest.raises(IpfsUnavailable, match="ends at byte 34, before byte 35"):
        await found(root, 30, 35)
    liar = node(links, [18, 17])
    blocks[hashlib.sha256(liar).digest()] = liar
    with pytest.raises(IpfsUnavailable, match="its parent says 18"):
        await found(liar, 0, 1)


async def test_a_dag_without_end_is_left() -> None:
    async def look(part: Part) -> Node:  # noqa: ARG001 - as it is called
        return Node(10, (Part(ROOT, 0, 10),))

    with pytest.raises(IpfsUnavailable, match="levels"):
        [leaf async for leaf in dag.leaves(look, ROOT, 0, 5)]


def listing(*links: tuple[str, bytes], kind: int = 1) -> bytes:
    """Return a directory's block."""
    return b"".join(field(2, field(1, cid) + field(2, name.encode()) + field(3, 9)) for name, cid in links) + field(
        1, field(1, kind)
    )


ARCHIVE = raw_cid(b"an archive", DAG_PB)
TWO = listing(("archive.7z.enc", ARCHIVE), ("label.json", A))


def test_a_directory_is_the_node_above_its_file() -> None:
    cid = Cid.decode(raw_cid(TWO, DAG_PB))
    path = Path.parse(f"{cid}/archive.7z.enc")
    assert (str(path), path.root, path.name) == (f"{cid}/archive.7z.enc", cid, "archive.7z.enc")
    found = path.node(cid, TWO)
    assert found.within(Part(cid, 0, -1), 5_000_000, 5_000_001) == [Part(Cid.decode(ARCHIVE), 0, -1)]
    assert path.key(cid) != Path.parse(f"{cid}/label.json").key(cid)
    assert path.key(Cid.decode(ARCHIVE)) == Cid.decode(ARCHIVE)
    file = node([A, B], [10, 7])
    assert path.node(Cid.decode(raw_cid(file, DAG_PB)), file) == dag.parse(file)
    plain = Path.parse(str(cid))
    assert (str(plain), plain.name) == (str(cid), None)
    with pytest.raises(IpfsUnavailable, match="not a file's"):
        plain.node(cid, TWO)
    assert (archive_path("bafy", 1), archive_path("bafy", 2)) == ("bafy", "bafy/archive.7z.enc")


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (listing(("label.json", A)), "there is no archive.7z.enc"),
        (listing(), "there is no archive.7z.enc"),
        (listing(("archive.7z.enc", A), ("archive.7z.enc", ARCHIVE)), "a name twice"),
        (listing(("archive.7z.enc", A), kind=5), "a shard of a directory"),
        (listing(("archive.7z.enc", A), kind=2), "not a directory"),
        (listing(("archive.7z.enc", A[:-1])), "not version 1 with SHA2-256"),
        (node([A], [10]), "not a directory"),
        (TWO[:-1], "cut short"),
        (b"\xff" * 40, "broken number"),
        (b"", "not a directory"),
    ],
)
def test_what_is_no_directory_with_the_file_is_refused(block: bytes, why: str) -> None:
    path = Path(Cid.decode(raw_cid(block, DAG_PB)), "archive.7z.enc")
    with pytest.raises(IpfsUnavailable, match=why):
        path.node(path.root, block)


@pytest.mark.parametrize("text", ["", "/", "/a", "{}/", "{}//a", "{}/a/b", "{}/..", "bafkqaaa/a", "{raw}/a"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(IpfsUnavailable):
        Path.parse(text.format(Cid.decode(ARCHIVE), raw=Cid.decode(A)))
