"""A receipt, as it is written: `architecture/receipts.md` describes it for strangers."""

import hashlib
from base64 import b64decode
from typing import Annotated, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from roadvault_common.custody.tie import Tie
from roadvault_common.errors import IntegrityError
from roadvault_common.plain import first_fault

MOST_BYTES = 32 << 20
"""No receipt is longer: two thousand lines of custody, as long as lines can be."""

_Number = Annotated[int, Field(ge=0, lt=1 << 53)]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_ChainHash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
_Base64 = Annotated[str, Field(max_length=2048)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(_Shape):
    """The file, and the salt of its leaf."""

    id: _Number
    name: Annotated[str, Field(max_length=1024)]
    salt: _Hash
    sha256: _Hash
    size: _Number


class Archive(_Shape):
    """The archive: its number and CID, its label and the directory's block (base64), and the way of the file's leaf."""

    cid: Annotated[str, Field(max_length=100)]
    id: _Number
    index: _Number
    """Of the leaf, from 0."""
    label: _Base64
    node: _Base64
    path: Annotated[list[_Hash], Field(max_length=64)]
    """From the hash beside the leaf upwards (RFC 9162, section 2.1.3)."""


class ChainOrder(_Shape):
    """An order on a chain. `extrinsic` is None where its bytes were not kept, `blockHash` where it was not noted."""

    by: Literal["chain"] = "chain"
    block: _Number
    blockHash: _ChainHash | None  # noqa: N815 - as the JSON has it
    extrinsic: Annotated[str, Field(pattern=r"^0x([0-9a-f]{2})+$", max_length=4096)] | None
    genesis: _ChainHash
    hash: _ChainHash


class ServiceOrder(_Shape):
    """A pin that a pinning service was asked for: its host, the name that the request has there, and when (UTC)."""

    by: Literal["service"] = "service"
    at: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    name: Annotated[str, Field(max_length=200)]
    service: Annotated[str, Field(max_length=100)]


Order = Annotated[ChainOrder | ServiceOrder, Field(discriminator="by")]


class Published(_Shape):
    """What ties the custody lines to a catalogue that was ordered: its public part, and the order."""

    custody: _Base64
    """The head of the log, as it lies in the catalogue (`custody.json`)."""
    node: _Base64
    """The block of the catalogue's directory, which links that."""
    order: Order
    paths: Annotated[list[Annotated[list[_Hash], Field(max_length=64)] | None], Field(min_length=1, max_length=2)]
    """For each chain of the custody lines the way to that head's root, of its last line in it; None: none is."""

    @property
    def names_accepted(self) -> bool:
        """Whether the head names lines of the log that a person accepted as they are."""
        return b'"accepted":' in b64decode(self.custody)


class Receipt(_Shape):
    """All of it. Its fields are the JSON's."""

    archive: Archive
    custody: Tie | None
    """None: the log has nothing of the file that has a place in the chain."""
    digest: _Hash = "0" * 64
    """SHA-256 of the receipt with 64 zeros in this place: finds damage, proves nothing."""
    file: File
    format: Literal[1, 2, 3] = 1
    """1 without `published`, 2 with it, 3 if that names lines of the log that a person accepted as they are."""
    order: Order
    published: Published | None = None
    """What ties the custody log's head to a catalogue that was ordered; None: the head was not published."""

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        if self.format != (1 if self.published is None else 3 if self.published.names_accepted else 2):
            raise ValueError("it says another format than it has")
        return self

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read a receipt, which may come from anybody.

        Raises:
            IntegrityError: It is none, or is not as it was written.
        """
        if len(content) > MOST_BYTES:
            raise IntegrityError(f"a receipt has {len(content)} bytes; none is longer than {MOST_BYTES}")
        try:
            receipt = cls.model_validate_json(content)
        except ValidationError as error:
            raise IntegrityError(f"the receipt can't be read: {first_fault(error)}") from None
        if receipt.encode() != content:
            raise IntegrityError("the receipt is not as it was written: compact, its keys in order, each once")
        if receipt.summed().digest != receipt.digest:
            raise IntegrityError("the receipt is damaged: it does not have its own digest")
        return receipt

    def encode(self) -> bytes:
        """Return the receipt's bytes."""
        return orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)

    def summed(self) -> Self:
        """Return the receipt with its digest."""
        blank = self.model_copy(update={"digest": "0" * 64})
        return blank.model_copy(update={"digest": hashlib.sha256(blank.encode()).hexdigest()})
