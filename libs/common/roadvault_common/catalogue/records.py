"""What stands in the catalogue: a head, and a record for each archive, in segments of fixed ranges of their numbers.

JSON without spaces, its keys in order, compressed, and sealed (`sealing.py`) before anybody sees it. Whoever reads
takes it for hostile all the same: a copy may be damaged, or made by somebody who has a master key that leaked.
"""

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.sealing import seal, unseal
from roadvault_common.errors import IntegrityError
from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_common.plain import first_fault

SEGMENT_ARCHIVES: Final = 1000
"""Numbers of archives in a segment: at 10**6 archives there are as many segments, and a head of the size of one."""
HEAD, SEGMENTS, CUSTODY = "head", "segments", "custody.json"
"""What is in the directory: the head; the directory of segments, each called by its number; and, in public, how far the
custody log had come, for receipts."""
MOST_BYTES = 1 << 20
"""Of a head or a segment as it is published: each is one block of IPFS, which is no longer."""
MOST_HOLDS: Final = 16
"""Of an archive that are in its record."""
MOST_DESTROYED: Final = 4096
"""Of period keys in a head: one for each month of three centuries."""
_MOST_PLAIN = 16 << 20
"""What one may have before it is compressed."""

_Number = Annotated[int, Field(ge=0, lt=1 << 53)]
_Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Text = Annotated[str, Field(max_length=255)]
_CidText = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[0-9A-Za-z]+$")]
_T = TypeVar("_T")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Purchase(_Strict):
    """A purchase that bought something, as in `order_info`. Heights are blocks, the price planck."""

    order_id: _Number
    market: _Text | None = None
    account: Annotated[str, Field(max_length=64)]
    term: Annotated[int, Field(ge=1, lt=1 << 31)]
    block: _Number | None = None
    extrinsic_hash: Annotated[str, Field(max_length=66)]
    extrinsic: Annotated[str, Field(max_length=2048)] | None = None
    """The signed bytes, hex; a receipt needs them. None: they are longer than any that was ever sent."""
    price: Annotated[str, Field(pattern=r"^[0-9]{1,39}$")]
    made: AwareDatetime
    """When it was recorded."""
    expires: _Number | None = None
    """Height at which what was bought ends, as the market last said (`zip_ipfs_info.expired_on`)."""


class Hold(_Strict):
    """A legal hold in force, as in `hold_info`: while there is one the archive does not end."""

    hold_id: _Number
    file_id: _Number | None = None
    """For whose sake; None: the whole archive."""
    reason: Annotated[str, Field(max_length=500)]
    made: AwareDatetime


class ArchiveRecord(_Strict):
    """An archive that is on IPFS, as in `zip_ipfs_info`. Sizes are bytes."""

    zip_id: Annotated[int, Field(ge=1, lt=1 << 53)]
    folder_id: _Number
    zip_name: Annotated[str, Field(min_length=1, max_length=100)]
    cid: _CidText
    format: Literal[1, 2]
    """1: the CID is the archive's, and `key`, `iv` open it. 2: the directory's, whose label says what opens it."""
    size: _Number
    dag_size: _Number
    files: _Number
    created: AwareDatetime
    pinned: AwareDatetime | None = None
    key: _Text | None = None
    """Of format 1: the archive's key, wrapped (Fernet) as its row has it."""
    iv: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    master_key: _Hex16 | None = None
    """Id of the master key that wraps `key`, if its row notes it."""
    period_key: _Text | None = None
    """Id of the period key that wraps the archive's key in a master key's place, of one that had an end when packed."""
    ends: AwareDatetime | None = None
    """When it ends, or was to; None: never."""
    ended: AwareDatetime | None = None
    """When its key was destroyed."""
    holds: Annotated[list[Hold], Field(min_length=1, max_length=MOST_HOLDS)] | None = None
    """Those in force, the first first; None: there is none. Readers from before this refuse the whole segment."""
    more_holds: Annotated[int, Field(ge=1)] | None = None
    """How many more there are, of which it says nothing."""
    purchase: Purchase | None = None
    first: Purchase | None = None
    """The first whose bytes are known, of an archive that was renewed since: what receipts show. Readers from before
    this refuse the whole segment."""

    def without_holds(self) -> Self:
        """Return the record with no more of its holds than how many there are."""
        count = len(self.holds or ()) + (self.more_holds or 0)
        return self.model_copy(update={"holds": None, "more_holds": count or None})

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if self.format == 1 and self.ended is None and (self.key is None or self.iv is None):
            raise ValueError("an archive of format 1 has no key")
        return self


class SegmentLink(_Strict):
    """A segment as the head knows it."""

    number: _Number
    """It has the archives from `number * SEGMENT_ARCHIVES` up to the next segment's first."""
    cid: _CidText
    """Of its one block: so it holds the SHA-256 of the sealed bytes."""
    size: Annotated[int, Field(ge=1, le=MOST_BYTES)]
    """Of the sealed bytes."""
    archives: Annotated[int, Field(ge=1, le=SEGMENT_ARCHIVES)]

    def check(self, sealed: bytes) -> None:
        """Raise IntegrityError unless these are the segment's sealed bytes."""
        if len(sealed) != self.size or not Cid.parse(self.cid).fits(sealed):
            raise IntegrityError(f"segment {self.number} of the catalogue is not the one that its head names")


class CustodyHead(_Strict):
    """How far the custody log had come: its lines, the hash of the last, and the root of the tree over all."""

    size: _Number
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    root: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class GivenOut(_Strict):
    """The highest number of each kind that was ever given out: new ones have to be higher."""

    file_id: _Number
    folder_id: _Number
    zip_id: _Number
    download_id: _Number
    order_id: _Number


class DestroyedKey(_Strict):
    """A period key that was destroyed, by its id: no old recovery sheet, or copy of the keyring, brings it back."""

    period_key: _Hex16
    period: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}$")]
    """The month that it was made for."""
    at: AwareDatetime


class Head(_Strict):
    """What the catalogue begins with."""

    version: Literal[1] = 1
    made: AwareDatetime
    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Of database and data directory."""
    given_out: GivenOut
    segment_archives: Literal[1000] = SEGMENT_ARCHIVES
    account: Annotated[str, Field(max_length=64)] | None = None
    """Who paid for the latest purchase, and at which market (as in `order_info.market`)."""
    market: _Text | None = None
    custody: CustodyHead | None = None
    destroyed: Annotated[list[DestroyedKey], Field(min_length=1, max_length=MOST_DESTROYED)] | None = None
    """All that ever were; None: none was. Readers from before this refuse the catalogue."""
    segments: Annotated[list[SegmentLink], Field(max_length=1 << 15)]
    """By their numbers."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        numbers = [segment.number for segment in self.segments]
        if any(later <= former for former, later in pairwise(numbers)):
            raise ValueError("the segments are not in the order of their numbers")
        return self


class Sealed(NamedTuple):
    """Bytes that may be published, as one block of IPFS."""

    name: str
    """In the catalogue's directory."""
    data: bytes

    @property
    def cid(self) -> Cid:
        """The block's."""
        return Cid.of(RAW, self.data)


_SEGMENT: TypeAdapter[list[ArchiveRecord]] = TypeAdapter(list[ArchiveRecord])
_HEAD: TypeAdapter[Head] = TypeAdapter(Head)


def segment_of(zip_id: int) -> int:
    """Return the number of the segment that an archive is in."""
    return zip_id // SEGMENT_ARCHIVES


def encode_segment(records: Sequence[ArchiveRecord]) -> bytes:
    """Return a segment's JSON: the same records give the same bytes."""
    return _SEGMENT.dump_json(list(records), exclude_none=True)


def seal_segment(number: int, encoded: bytes, keys: MasterKeys) -> Sealed:
    """Return a segment as it is published; the same JSON and master key give the same bytes, and so the same CID.

    Raises:
        IntegrityError: It is longer than a block.
    """
    return _sealed(str(number), encoded, keys)


def seal_head(head: Head, keys: MasterKeys) -> Sealed:
    """Return a head as it is published.

    Raises:
        IntegrityError: It is longer than a block.
    """
    return _sealed(HEAD, _HEAD.dump_json(head, exclude_none=True), keys)


def open_head(sealed: bytes, keys: MasterKeys) -> Head:
    """Read a head.

    Raises:
        MasterKeyMissing: The master key that sealed it is not among ours.
        IntegrityError: It is damaged, or none.
    """
    return _parsed(_HEAD, HEAD, sealed, keys)


def open_segment(link: SegmentLink, sealed: bytes, keys: MasterKeys) -> list[ArchiveRecord]:
    """Read the segment that a head links to; the records are in the order of their numbers, each once.

    Raises:
        MasterKeyMissing: The master key that sealed it is not among ours.
        IntegrityError: It is damaged, another one, or not what the head says.
    """
    link.check(sealed)
    records = _parsed(_SEGMENT, str(link.number), sealed, keys)
    numbers = [record.zip_id for record in records]
    if numbers != sorted(set(numbers)) or any(segment_of(number) != link.number for number in numbers):
        raise IntegrityError(f"segment {link.number} of the catalogue has archives of another, or one twice")
    if len(numbers) != link.archives:
        raise IntegrityError(f"segment {link.number} of the catalogue has {len(numbers)} archives, not {link.archives}")
    return records


def _sealed(name: str, encoded: bytes, keys: MasterKeys) -> Sealed:
    data = seal(name, zlib.compress(encoded), keys)
    if len(data) > MOST_BYTES or len(encoded) > _MOST_PLAIN:
        raise IntegrityError(
            f"{name} of the catalogue has {len(data)} bytes, {len(encoded)} before they are compressed: too many for a"
            f" block of IPFS, which has at most {MOST_BYTES}"
        )
    return Sealed(name, data)


def _parsed(kind: TypeAdapter[_T], name: str, sealed: bytes, keys: MasterKeys) -> _T:
    if len(sealed) > MOST_BYTES:
        raise IntegrityError(f"{name} of the catalogue has {len(sealed)} bytes; none is longer than {MOST_BYTES}")
    inflating = zlib.decompressobj()
    try:
        encoded = inflating.decompress(unseal(name, sealed, keys), _MOST_PLAIN)
    except zlib.error as error:
        raise IntegrityError(f"{name} of the catalogue is not compressed as it should be: {error}") from error
    if not inflating.eof or inflating.unused_data:
        raise IntegrityError(f"{name} of the catalogue has too much in it, or is cut short")
    try:
        return kind.validate_json(encoded)
    except ValidationError as error:
        raise IntegrityError(f"{name} of the catalogue can't be read: {first_fault(error)}") from None
