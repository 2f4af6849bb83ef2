"""The label: what an archive says of itself in public, so that it opens with a master key and nothing else.

Compact JSON with its keys in order: `label.json` beside the archive on IPFS. It tells nothing of what is archived.
"""

import base64
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roadvault_common.archive.crypto import CIPHER, WRAP, ArchiveKey, MasterKeys
from roadvault_common.errors import IntegrityError

FORMAT: Final = 2
"""Of archives that have a label. Those of format 1 have none: their keys are in the database and in the catalogue."""
MOST_BYTES = 1024
"""No label is longer; one has some 400."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"

_Size = Annotated[int, Field(ge=0, lt=1 << 53)]
"""Bytes; no more than every reader of JSON takes for a whole number."""


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
    masterKey: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]  # noqa: N815 - as the JSON has it
    """Id of the master key that wraps the archive's key."""
    wrap: Literal["AES-256-KW, HKDF-SHA256"] = WRAP
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
        """Make the label of an archive that is encrypted with `key`; the first master key wraps that."""
        return cls(
            made=f"{datetime.now(UTC):{_TIME}}",
            iv=key.iv.hex(),
            masterKey=keys.ids[0],
            key=base64.b64encode(keys.seal(key.key)).decode(),
            size=size,
            manifest=manifest,
            files=files,
            merkleRoot=root.hex(),
        )

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
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise IntegrityError(f"a label can't be read: {where or 'the whole of it'}: {first['msg'][:100]}") from None
        except ValueError:
            raise IntegrityError(f"a label can't be read: made: {label.made} is no time") from None
        if label.manifest.offset + label.manifest.size > label.size:
            raise IntegrityError("a label can't be right: its manifest ends behind the archive")
        if label.encode() != data:
            raise IntegrityError("a label is not written as labels are: compact, its keys in order, each once")
        return label

    def encode(self) -> bytes:
        """Return the label's bytes."""
        return orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)

    def open(self, keys: MasterKeys) -> ArchiveKey:
        """Return the archive's key.

        Raises:
            MasterKeyMissing: The master key that wrapped it is not among ours.
            IntegrityError: It was not wrapped by that one, or is damaged.
        """
        return ArchiveKey(keys.unseal(base64.b64decode(self.key), self.masterKey), bytes.fromhex(self.iv))
