"""Keys and ciphers."""

import os

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.crypto import ArchiveKey, MasterKeys
from roadvault_common.errors import IntegrityError, SettingsError


@pytest.mark.parametrize("offset", [0, 1, 15, 16, 17, 4095, 1 << 20, (1 << 20) + 7])
def test_a_stream_can_begin_anywhere(offset: int) -> None:
    key, plain = ArchiveKey.new(), os.urandom((1 << 20) + 100)
    cipher = key.stream().update(plain)
    assert key.stream(offset).update(cipher[offset:]) == plain[offset:]


def test_the_counter_wraps_like_openssls() -> None:
    key = ArchiveKey(bytes(32), b"\xff" * 16)
    whole = key.stream().update(bytes(64))
    assert key.stream(32).update(bytes(32)) == whole[32:]


def test_offsets_past_4_gib() -> None:
    key = ArchiveKey.new()
    far = 5 * (1 << 30) + 3
    assert key.stream(far).update(b"x" * 40)[13:] == key.stream(far + 13).update(b"x" * 27)


def test_two_archives_never_share_a_key() -> None:
    assert ArchiveKey.new() != ArchiveKey.new()


def test_master_keys_rotate() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    key = ArchiveKey.new()
    wrapped = MasterKeys(SecretStr(old)).wrap(key.key)
    assert MasterKeys(SecretStr(f"{new}, {old}")).unwrap(wrapped, key.iv.hex()) == key
    with pytest.raises(IntegrityError, match="MASTER_KEYS"):
        MasterKeys(SecretStr(new)).unwrap(wrapped, key.iv.hex())


def test_a_bad_master_key_is_named_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="ROADVAULT_MASTER_KEYS") as caught:
        MasterKeys(SecretStr("too-short-a-secret"))
    assert "too-short" not in str(caught.value)


def test_a_key_does_not_show_in_its_repr() -> None:
    key = ArchiveKey.new()
    assert key.key.hex() not in repr(key)
    assert repr(key.key) not in repr(key)
