"""The label: what is written can be read, opens the archive, and nothing else is taken for one."""

import base64
import os

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys, Use
from roadvault_common.archive.label import MOST_BYTES, Label, Place
from roadvault_common.archive.local import beside
from roadvault_common.errors import IntegrityError, MasterKeyMissing

KEYS, KEY = MasterKeys(SecretStr(Fernet.generate_key().decode())), ArchiveKey.new()


def made(keys: MasterKeys = KEYS) -> Label:
    return Label.make(keys, KEY, 5_000_000_000, Place(offset=4_999_000_000, size=900_000), 20_000, os.urandom(32))


def test_a_label_opens_its_archive() -> None:
    label = made()
    read = Label.parse(label.encode())
    assert (read, read.open(KEYS)) == (label, KEY)
    assert len(label.encode()) < 450
    assert KEY.key.hex() not in label.encode().decode()


def test_each_master_key_opens_what_it_wrapped() -> None:
    fresh = Fernet.generate_key().decode()
    old = Fernet.generate_key().decode()
    label = made(MasterKeys(SecretStr(old)))
    assert label.open(MasterKeys(SecretStr(f"{fresh},{old}"))) == KEY
    with pytest.raises(MasterKeyMissing, match=label.masterKey):
        label.open(MasterKeys(SecretStr(fresh)))


def test_a_key_that_was_changed_is_found() -> None:
    label = made()
    wrapped = bytearray(base64.b64decode(label.key))
    for bit in range(len(wrapped) * 8):
        wrapped[bit // 8] ^= 1 << bit % 8
        spoilt = label.model_copy(update={"key": base64.b64encode(wrapped).decode()})
        with pytest.raises(IntegrityError, match="does not unwrap"):
            spoilt.open(KEYS)
        wrapped[bit // 8] ^= 1 << bit % 8


def test_keys_are_derived_for_each_use() -> None:
    derived = {KEYS.derive(use) for use in Use}
    assert len(derived) == len(Use)
    # RFC 5869 with the 32 bytes of the key, no salt; `openssl kdf` says the same.
    keys = MasterKeys(SecretStr(base64.urlsafe_b64encode(bytes(range(32))).decode()))
    assert keys.derive(Use.ARCHIVE_KEY).hex() == "64c2a5ac851b771e5c043a1a886eb21c6cf64277011e699eb7bf955d72ed9780"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"format":2', b'"format":3', "format: Input should be 2"),
        (b'"format":2,', b"", "not written as labels are"),
        (b'"files":20000', b'"files":20000.0', "files: Input should be a valid integer"),
        (b'"files":20000', b'"files":"20000"', "files"),
        (b'"files":20000', b'"files":0', "files"),
        (b'"files":20000', b'"files":true', "files"),
        (b'"files":20000', b'"files":1e999', "files"),
        (b'"files":20000', b'"files":20000,"files":20000', "not written as labels are"),
        (b'"files":20000', b'"files":20000,"more":1', "more: Extra inputs are not permitted"),
        (b'"size":5000000000', b'"size":4999800000', "its manifest ends behind the archive"),
        (b'"size":5000000000', b'"size":-1', "size"),
        (b'"size":5000000000', b'"size":99999999999999999999', "size"),
        (b'"cipher":"AES-256-CTR"', b'"cipher":"NULL"', "cipher"),
        (b'"wrap":"AES', b'"wrap":"DES', "wrap"),
        (b'"iv":"', b'"iv":"0', "iv"),
        (b'"key":"', b'"key":"A', "key"),
        (b'"made":"2', b'"made":"\xc3\xa9', "made"),
        (b'"made":"20', b'"made":"00', "is no time"),
        (b'":"', b'": "', "not written as labels are"),
        (b'"manifest":{', b'"manifest":{"a":1,', "manifest.a: Extra inputs"),
        (b"{", b"[", "the whole of it"),
        (b"{", b"{" * 5000, f"no label is longer than {MOST_BYTES}"),
        (b"{", b"[" * 500, "recursion"),
    ],
)
def test_nothing_else_is_taken_for_a_label(old: bytes, new: bytes, why: str) -> None:
    if why == "is no time":
        label = made().model_copy(update={"made": "0000-13-01T00:00:00Z"}).encode()
    else:
        label = made().encode()
        assert old in label
        label = label.replace(old, new, 1)
    with pytest.raises(IntegrityError, match=why):
        Label.parse(label)


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff\xfe", b"2", b"\0" * 100])
def test_nor_is_anything_else(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="a label can't be read"):
        Label.parse(data)


def test_a_label_lies_beside_its_archive() -> None:
    assert beside("archives/3-ab.7z.enc") == "archives/3-ab.label.json"
