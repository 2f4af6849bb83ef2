"""Keys and ciphers."""

import os

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys
from roadvault_common.errors import IntegrityError, MasterKeyMissing, SettingsError


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
    both = MasterKeys(SecretStr(f"{new}, {old}"))
    assert both.unwrap(wrapped, key.iv.hex()) == key
    assert MasterKeys(SecretStr(new)).unwrap(both.rewrap(wrapped), key.iv.hex()) == key


@pytest.mark.parametrize("noted", [True, False])
def test_a_missing_master_key_is_no_rot_and_is_named(noted: bool) -> None:  # noqa: FBT001
    old, new = (MasterKeys(SecretStr(Fernet.generate_key().decode())) for _ in range(2))
    key = ArchiveKey.new()
    wrapped = old.wrap(key.key)
    with pytest.raises(MasterKeyMissing, match=old.ids[0] if noted else "not noted") as caught:
        new.unwrap(wrapped, key.iv.hex(), old.ids[0] if noted else None)
    assert new.ids[0] in str(caught.value)


def test_a_damaged_key_is_rot_and_no_missing_master_key() -> None:
    keys, key = MasterKeys(SecretStr(Fernet.generate_key().decode())), ArchiveKey.new()
    wrapped = keys.wrap(key.key)
    flipped = wrapped[:40] + ("A" if wrapped[40] != "A" else "B") + wrapped[41:]
    for damaged, noted in ((flipped, keys.ids[0]), (wrapped[:50], None), ("", "another key"), ("§", None)):
        with pytest.raises(IntegrityError, match="damaged"):
            keys.unwrap(damaged, key.iv.hex(), noted)


def test_an_id_tells_keys_apart_and_nothing_of_them() -> None:
    one, other = (Fernet.generate_key().decode() for _ in range(2))
    keys = MasterKeys(SecretStr(f"{one}, {other}"))
    assert len(set(keys.ids)) == 2
    assert keys.ids == MasterKeys(SecretStr(f"{one},{other}")).ids
    assert all(name not in one + other for name in keys.ids)
    assert keys.wrapped_by(MasterKeys(SecretStr(other)).wrap(b"k" * 32)) == keys.ids[1]
    assert keys.wrapped_by("no token") is None


def test_a_bad_master_key_is_named_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="ROADVAULT_MASTER_KEYS") as caught:
        MasterKeys(SecretStr("too-short-a-secret"))
    assert "too-short" not in str(caught.value)


def test_a_key_does_not_show_in_its_repr() -> None:
    key = ArchiveKey.new()
    assert key.key.hex() not in repr(key)
    assert repr(key.key) not in repr(key)
