"""The catalogue's head and segments: what goes in comes out, by the master key alone; whatever else is refused."""

import zlib
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.records import (
    HEAD,
    ArchiveRecord,
    CustodyHead,
    GivenOut,
    Head,
    Purchase,
    Sealed,
    SegmentLink,
    encode_segment,
    open_head,
    open_segment,
    seal_head,
    seal_segment,
)
from roadvault_common.catalogue.sealing import seal
from roadvault_common.errors import IntegrityError, MasterKeyMissing
from roadvault_common.ipfs.dag import DAG_PB, RAW, Cid, directory, encode_directory

ONE, OTHER = (Fernet.generate_key().decode() for _ in range(2))
KEYS = MasterKeys(SecretStr(ONE))
MADE = datetime(2026, 11, 27, 9, 0, 0, 123456, tzinfo=UTC)


def record(zip_id: int, **more: object) -> ArchiveRecord:
    fields = {
        "zip_id": zip_id, "folder_id": zip_id + 5, "zip_name": f"{zip_id}.7z", "cid": str(Cid.of(DAG_PB, b"x")),
        "format": 2, "size": 5 << 30, "dag_size": (5 << 30) + 400, "files": 90, "created": MADE, "pinned": MADE,
    }  # fmt: skip
    return ArchiveRecord(**{**fields, **more})  # type: ignore[arg-type]


BOUGHT = Purchase(
    order_id=9, market="0x" + "ab" * 32, account="5F" + "x" * 46, term=2, block=77, extrinsic_hash="0x" + "cd" * 32,
    extrinsic="0x" + "01" * 180, price="2000000001", made=MADE, expires=2_592_077,
)  # fmt: skip
RECORDS = [
    record(1001, format=1, key="gAAAA", iv="00" * 16, master_key=KEYS.ids[0], purchase=BOUGHT),
    record(1002, period_key="2031-07"),
    record(1999, pinned=None),
]
LINK_OF = {"number": 1, "archives": 3}


def link(sealed: Sealed, **more: int) -> SegmentLink:
    return SegmentLink(**{**LINK_OF, "cid": str(sealed.cid), "size": len(sealed.data), **more})  # type: ignore[arg-type]


def head(*segments: SegmentLink) -> Head:
    numbers = GivenOut(file_id=1, folder_id=2, zip_id=3, download_id=4, order_id=5)
    custody = CustodyHead(size=17, hash="ab" * 32, root="ef" * 32)
    return Head(
        made=MADE, identity="0" * 32, given_out=numbers, account="5Fx", market="m", custody=custody,
        segments=list(segments),
    )  # fmt: skip


def test_what_goes_in_comes_out() -> None:
    sealed = seal_segment(1, encode_segment(RECORDS), KEYS)
    assert open_segment(link(sealed), sealed.data, KEYS) == RECORDS
    assert open_head(seal_head(head(link(sealed)), KEYS).data, KEYS) == head(link(sealed))


def test_the_same_segment_has_the_same_bytes_and_another_shares_no_nonce() -> None:
    first, again = (seal_segment(1, encode_segment(RECORDS), MasterKeys(SecretStr(ONE))) for _ in range(2))
    assert first == again
    elsewhere, changed = (
        seal_segment(2, encode_segment(RECORDS), KEYS),
        seal_segment(1, encode_segment(RECORDS[1:]), KEYS),
    )
    assert len({sealed.data[12:24] for sealed in (first, elsewhere, changed)}) == 3


def test_any_master_key_that_sealed_opens_and_no_other() -> None:
    sealed = seal_segment(1, encode_segment(RECORDS), KEYS)
    assert open_segment(link(sealed), sealed.data, MasterKeys(SecretStr(f"{OTHER},{ONE}"))) == RECORDS
    with pytest.raises(MasterKeyMissing, match=KEYS.ids[0]):
        open_segment(link(sealed), sealed.data, MasterKeys(SecretStr(OTHER)))


def test_every_changed_byte_is_found_whatever_the_cid() -> None:
    sealed = seal_segment(1, encode_segment(RECORDS[1:2]), KEYS)
    for at in range(len(sealed.data)):
        data = sealed.data[:at] + bytes([sealed.data[at] ^ 1]) + sealed.data[at + 1 :]
        with pytest.raises(IntegrityError, match="not the one that its head names"):
            open_segment(link(sealed, archives=1), data, KEYS)
        with pytest.raises((IntegrityError, MasterKeyMissing)):
            open_segment(link(Sealed("1", data), archives=1), data, KEYS)


def test_no_part_takes_the_place_of_another() -> None:
    sealed = seal_segment(1, encode_segment(RECORDS), KEYS)
    with pytest.raises(IntegrityError, match="another part"):
        open_segment(link(sealed, number=2), sealed.data, KEYS)
    with pytest.raises(IntegrityError, match="another part"):
        open_head(sealed.data, KEYS)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([record(999)], "archives of another"),
        ([record(2000)], "archives of another"),
        ([record(1002), record(1001)], "archives of another, or one twice"),
        ([record(1001), record(1001)], "one twice"),
        ([record(1001), record(1002)], "has 2 archives, not 3"),
    ],
)
def test_archives_that_do_not_belong_there_are_refused(records: list[ArchiveRecord], said: str) -> None:
    sealed = seal_segment(1, encode_segment(records), KEYS)
    with pytest.raises(IntegrityError, match=said):
        open_segment(link(sealed), sealed.data, KEYS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cut short"),
        (b"no zlib", "not compressed"),
        (zlib.compress(b"[]")[:-1], "cut short"),
        (zlib.compress(b"[]") + b"x", "too much"),
        (zlib.compress(bytes(17 << 20)), "too much"),
        (zlib.compress(b"[" * 100_000), "can't be read"),
        (zlib.compress(b"{}"), "can't be read: made: Field required"),
        (zlib.compress(b"\xff"), "can't be read"),
    ],
)
def test_what_a_leaked_master_key_may_seal_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        open_head(seal(HEAD, content, KEYS), KEYS)


@pytest.mark.parametrize("data", [b"", b"RVC1", b"RVC0" + bytes(60), bytes((1 << 20) + 1)])
def test_what_is_no_part_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_head(data, KEYS)


def test_segments_stand_in_their_order() -> None:
    sealed = seal_segment(1, encode_segment(RECORDS), KEYS)
    with pytest.raises(ValueError, match="order of their numbers"):
        head(link(sealed), link(sealed))


def test_a_directory_reads_as_it_was_written() -> None:
    leaf = Cid.of(RAW, b"leaf")
    links = [("head", leaf, 4), ("10", leaf, 4), ("9", leaf, 1 << 40)]
    assert directory(encode_directory(links)) == {"head": leaf, "10": leaf, "9": leaf}
