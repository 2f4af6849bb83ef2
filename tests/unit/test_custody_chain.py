"""The custody log's hashes and its tree, beside an implementation that shares nothing with them but SHA-256."""

import hashlib
import itertools
from datetime import datetime

import pytest

from roadvault_common.archive import merkle
from roadvault_common.custody import tree
from roadvault_common.custody.chain import NONE, Head, links, parse, text
from roadvault_common.errors import IntegrityError
from roadvault_common.sql.custody_lines import Act, Facts, dump
from roadvault_common.sql.db import Row

AT = datetime(2026, 11, 27, 10, 4, 30, 120000)  # noqa: DTZ001 - as the database gives times


def row(act: Act, facts: Facts, file_id: int | None = None, zip_id: int | None = None) -> Row:
    said = dump(facts).decode()
    return {"act": act.value, "file_id": file_id, "zip_id": zip_id, "done_at": AT, "facts": said, "salt": None}


def test_a_line_is_hashed_as_the_page_for_strangers_says() -> None:
    rows = [
        row(Act.RECEIVED, {"size": 5, "sha256": "ab", "from": "192.0.2.1"}, 7),
        row(Act.RECEIVED, {}, 8),
        row(Act.PACKED, {"files": 2}, None, 3),
        row(Act.ASKED, {"by": 'a "name" 测试'}, 7),
    ]
    first, second, third, fourth = links(Head(0, NONE), rows, {})
    line = (
        b'{"act":"received","at":"2026-11-27T10:04:30.120000Z","facts":{"from":"192.0.2.1","sha256":"ab","size":5},'
        b'"file":7,"line":0}'
    )
    assert text(rows[0], 0) == line
    assert first.hash == hashlib.sha256(bytes(64) + line).digest()
    assert second.hash == hashlib.sha256(first.hash + bytes(32) + text(rows[1], 1)).digest()
    assert third.hash == hashlib.sha256(second.hash + bytes(32) + text(rows[2], 2)).digest()
    assert b'"archive":3,"at"' in text(rows[2], 2)
    assert fourth.hash == hashlib.sha256(third.hash + first.hash + text(rows[3], 3)).digest()
    assert [one.follows for one in (first, second, third, fourth)] == [None, None, None, 0]
    for position, one in enumerate(rows):
        assert parse(text(one, position)) == {**one, "position": position}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b'{"act":"asked","at":"2026-11-27T10:04:30.120000Z","facts":{},"file":7}',
        b'{"act":"asked","at":"yesterday","facts":{},"file":7,"line":0}',
        b'{"act":"asked","at":"2026-11-27T10:04:30.120000Z","facts":{},"file":7,"line": 0}',
        b'{"act":"asked","at":"2026-11-27T10:04:30.120000Z","facts":{},"file":7,"line":0,"more":1}',
        b'{"act":"asked","act":"x","at":"2026-11-27T10:04:30.120000Z","facts":{},"file":7,"line":0}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse(line)


def test_roots_and_paths_of_any_size_are_those_of_rfc_9162() -> None:
    hashes = [hashlib.sha256(b"%d" % number).digest() for number in range(5 * tree.BLOCK + 3)]
    nodes: dict[tree.Node, bytes] = {}
    for node in tree.completed(0, len(hashes)):
        low, high = tree.span(node)
        nodes[node] = tree.root_of(hashes[low:high])
        if node[0] > tree.LOWEST:
            assert nodes[node] == tree.join(*(nodes[child] for child in tree.children(node)))
    assert max(nodes) == (tree.LOWEST + 2, 0)
    for size in (1, 2, 3, 5, 255, 256, 257, 512, 700, 1024, 1025, len(hashes)):
        root = merkle.root(hashes[:size])
        for position in {0, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
            spans = tree.beside(position, size)
            asked, stretches = tree.needed([*spans, (0, size)])
            read = {at: hashes[at] for first, last in stretches for at in range(first, last)}
            known = tree.Known({node: nodes[node] for node in asked}, read)
            assert len(read) < 2 * tree.BLOCK
            assert known.over(0, size) == root
            path = [known.over(*one) for one in spans]
            assert path == merkle.path(hashes[:size], position)
            assert merkle.includes(root, size, hashes[position], position, path)


def test_nodes_are_complete_once_whatever_the_batches() -> None:
    ends = [0, 1, 255, 256, 300, 1023, 1024, 1025, 4096, 5000]
    together = [node for first, last in itertools.pairwise(ends) for node in tree.completed(first, last)]
    assert sorted(together) == sorted(tree.completed(0, 5000))
    assert len(together) == len(set(together)) == 19 + 9 + 4 + 2 + 1
