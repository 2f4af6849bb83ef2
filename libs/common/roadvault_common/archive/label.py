"""The label: what an archive says of itself in public, so that it opens with a master key and nothing else.

Compact JSON with its keys in order: `label.json` beside the archive on IPFS. It tells nothing of what is archived.
"""

import base64
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from roadvault_common.archive.crypto import CIPHER, PERIOD_WRAP, WRAP, ArchiveKey, MasterKeys, PeriodKey
from roadvault_common.errors import IntegrityError, MasterKeyMissing
from roadvault_common.plain import first_fault

FORMAT: Final = 2
"""Of archives that have a label. Those of format 1 have none: their keys are in the database and in the catalogue."""
MOST_BYTES = 1024
"""No label is longer; one has some 400."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"

_Size = Annotated[int, Field(ge=0, lt=1 << 53)]
"""Bytes; no more than every reader of JSON takes for a whole number."""
_KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Place(BaseModel):
    """Where something lies in the archive, in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    offset: _Size
    size: _Size


class Label(BaseModel):
    """What stands on a label. Its fields are the JSON's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[2] = FORMAT
    made: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    """When it was made, UTC."""
    cipher: Literal["AES-256-CTR"] = CIPHER
    iv: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """The initial counter block, hex."""
    masterKey: _KeyId | None = None  # noqa: N815 - as the JSON has it
    """Id of the master key that wraps the archive's key."""
    periodKey: _KeyId | None = None  # noqa: N815 - as the JSON has it
    """In its place, of an archive that has an end: id of the period key that does."""
    wrap: Literal["AES-256-KW, HKDF-SHA256", "AES-256-KW, HKDF-SHA256, period key"]
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{54}==$")]
    """The archive's key, wrapped: 40 bytes in base64, which openssl reads."""
    size: _Size
    """Length of the archive."""
    manifest: Place
    """Where the manifest lies, encrypted like all of the archive."""
    files: Annotated[int, Field(ge=1, lt=1 << 31)]
    merkleRoot: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # noqa: N815 - as the JSON has it

    @classmethod
    def make(cls, keys: MasterKeys, key: ArchiveKey, size: int, manifest: Place, files: int, root: bytes) -> Self:
        """Make the label of an archive that is encrypted with `key`; the first of `keys`, or a period key, wraps it."""
        ends = isinstance(keys, PeriodKey)
        return cls(
            made=f"{datetime.now(UTC):{_TIME}}",
            iv=key.iv.hex(),
            masterKey=None if ends else keys.ids[0],
            periodKey=keys.ids[0] if ends else None,
            wrap=PERIOD_WRAP if ends else WRAP,
            key=base64.b64encode(keys.seal(key.key)).decode(),
            size=size,
            manifest=manifest,
            files=files,
            merkleRoot=root.hex(),
        )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        named = [name for name in ("masterKey", "periodKey") if getattr(self, name) is not None]
        if named != ["masterKey" if self.wrap == WRAP else "periodKey"]:
            raise ValueError("it has to name one key, the one that its wrap says")
        return self

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a label, which may come from anybody.

        Raises:
            IntegrityError: It is none, or not written as we write them.
        """
        if len(data) > MOST_BYTES:
            raise IntegrityError(f"a label has {len(data)} bytes; no label is longer than {MOST_BYTES}")
        try:
            label = cls.model_validate_json(data)
            datetime.strptime(label.made, _TIME)  # noqa: DTZ007 - only whether it is a time
        except ValidationError as error:
            raise IntegrityError(f"a label can't be read: {first_fault(error)}") from None
        except ValueError:
            raise IntegrityError(f"a label can't be read: made: {label.made} is no time") from None
        if label.manifest.offset + label.manifest.size > label.size:
            raise IntegrityError("a label can't be right: its manifest ends behind the archive")
        if label.encode() != data:
            raise IntegrityError("a label is not written as labels are: compact, its keys in order, each once")
        return label

    def encode(self) -> bytes:
        """Return the label's bytes."""
        return orjson.dumps(self.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS)

    def open(self, keys: MasterKeys) -> ArchiveKey:
        """Return the archive's key; of one that has an end `keys` is its period key.

        Raises:
            MasterKeyMissing: The key that wrapped it is not among `keys`.
            IntegrityError: It was not wrapped by that one, or is damaged.
        """
        if self.periodKey is not None and self.periodKey not in keys.ids:
            raise MasterKeyMissing(
                f"the archive has an end: the period key {self.periodKey} opens it, which is in the keyring and on"
                " recovery sheets, and nowhere once it was destroyed"
            )
        wraps = self.periodKey or self.masterKey or ""
        return ArchiveKey(keys.unseal(base64.b64decode(self.key), wraps), bytes.fromhex(self.iv))
