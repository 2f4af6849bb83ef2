import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from roadvault_stack.credentials import load_or_create
from roadvault_stack.errors import StackError


def test_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secrets.env"
    first = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert load_or_create(path) == first
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_master_key_is_one_that_fernet_takes(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "secrets.env").master_keys
    cipher = Fernet(key)
    assert cipher.decrypt(cipher.encrypt(b"archive key")) == b"archive key"


def test_two_stacks_have_different_secrets(tmp_path: Path) -> None:
    pair = zip(load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b"), strict=True)
    assert all(first != second for first, second in pair)


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    load_or_create(path)
    damaged = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("MASTER"))
    path.write_text(damaged)
    with pytest.raises(StackError, match="MASTER_KEYS"):
        load_or_create(path)
    assert path.read_text() == damaged


def test_a_secret_that_an_earlier_version_did_not_have_is_added(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    before = load_or_create(path)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "IPFS" not in line))
    after = load_or_create(path)
    assert after.ipfs_rpc_token not in ("", before.ipfs_rpc_token)
    assert after._replace(ipfs_rpc_token=before.ipfs_rpc_token) == before
    assert load_or_create(path) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
