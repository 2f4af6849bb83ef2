"""The Merkle tree: the vectors that implementations of RFC 6962 and 9162 share, and its laws at every size."""

import hashlib
import random

import pytest

from roadvault_common.archive import merkle

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""With the roots and paths below from the tests of Certificate Transparency's first implementation."""
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}


@pytest.mark.parametrize("count", range(1, 9))
def test_roots_are_those_of_the_standard(count: int) -> None:
    assert merkle.root(LEAVES[:count]).hex() == ROOTS[count - 1]


def test_paths_are_those_of_the_standard() -> None:
    for (index, count), path in PATHS.items():
        assert [one.hex() for one in merkle.path(LEAVES[:count], index)] == path
    assert merkle.root([]) == hashlib.sha256(b"").digest()


def by_definition(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 9162 defines it, word for word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


@pytest.mark.parametrize("count", [*range(1, 34), 63, 64, 65, 127, 500, 1000])
def test_every_leaf_is_shown_by_its_path_and_by_nothing_else(count: int) -> None:
    leaves = [number.to_bytes(4) for number in range(count)]
    root = merkle.root(leaves)
    assert root == by_definition(leaves)
    for index in range(count) if count < 40 else random.Random(count).sample(range(count), 10):
        path = merkle.path(leaves, index)
        assert merkle.includes(root, count, leaves[index], index, path)
        assert not merkle.includes(root, count, b"another", index, path)
        assert not merkle.includes(root, count, leaves[index], index, [*path, root])
        assert not merkle.includes(root, count, leaves[index], count, path)
        assert not merkle.includes(root, count, leaves[index], -1, path)
        for place in range(len(path)):
            wrong = [*path[:place], bytes(32), *path[place + 1 :]]
            assert not merkle.includes(root, count, leaves[index], index, wrong)
            assert not merkle.includes(root, count, leaves[index], index, path[:place] + path[place + 1 :])
        for other in range(count):
            assert merkle.includes(root, count, leaves[index], other, path) == (other == index)


def test_a_leaf_holds_salt_hash_size_number_and_name() -> None:
    salt = merkle.salt(b"k" * 32, 7)
    leaf = merkle.leaf(salt, "ab" * 32, 1 << 33, 7, "北环路.mp4")
    expected = salt + b"\xab" * 32 + (1 << 33).to_bytes(8, "big") + (7).to_bytes(8, "big") + "北环路.mp4".encode()
    assert leaf == expected
    assert len({salt, merkle.salt(b"k" * 32, 8), merkle.salt(b"l" * 32, 7)}) == 3
    # As `openssl dgst -sha256 -mac HMAC` has it.
    assert salt.hex() == "7b0c3b7a6addee833ad1a754b9d151d487e5b79b95a8f6597735c5d5ebea53ec"
