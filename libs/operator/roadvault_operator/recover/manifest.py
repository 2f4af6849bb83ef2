"""An archive's manifest, which lists its files; read when the rows that said so are lost. It may come from anybody."""

from itertools import pairwise
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from roadvault_common.archive import merkle
from roadvault_common.archive.crypto import ArchiveKey
from roadvault_common.archive.label import Label
from roadvault_common.errors import IntegrityError
from roadvault_common.files.facts import Facts
from roadvault_common.plain import first_fault

FIRST_OFFSET = 32
"""Where the first file begins in a 7z container: behind its signature header."""
_FILE_BYTES = 4096
"""More than it says of one file: its name twice, each at most 255 characters of 4 bytes, and some 2000 more."""
_MOST_BYTES = 64 << 20
"""No manifest that is read is longer: enough for 150 000 files."""

_Id = Annotated[int, Field(ge=1, lt=1 << 53)]
_Size = Annotated[int, Field(ge=0, lt=1 << 53)]


class File(Facts):
    """What a manifest says of a file. Sizes and offsets are bytes."""

    fileID: _Id  # noqa: N815 - as the JSON has it
    name: Annotated[str, Field(max_length=255)]
    size: _Size
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    offset: _Size
    received: AwareDatetime | None = None
    """When its row was written; manifests of version 1 don't say."""


class Manifest(BaseModel):
    """What a manifest says."""

    version: Annotated[int, Field(ge=1, le=2)]
    folder: _Id
    files: Annotated[list[File], Field(min_length=1)]

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest, and see that it can be one: each file once, one behind the other in the archive.

        Raises:
            IntegrityError: It is none.
        """
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise IntegrityError(f"the manifest can't be read: {first_fault(error)}") from None
        files = manifest.files
        for before, file in pairwise(files):
            if before.fileID >= file.fileID:
                raise IntegrityError(f"the manifest names file {file.fileID} behind {before.fileID}")
            if before.offset + before.size != file.offset:
                raise IntegrityError(f"the manifest has file {file.fileID} elsewhere than behind the one before it")
        if files[0].offset != FIRST_OFFSET:
            raise IntegrityError(f"the manifest has its first file at byte {files[0].offset}, not {FIRST_OFFSET}")
        return manifest

    @property
    def end(self) -> int:
        """Where the last file ends, and the manifest begins."""
        return self.files[-1].offset + self.files[-1].size

    def root(self, key: ArchiveKey) -> str:
        """Return the root of the tree over its files, hex."""
        salts = merkle.salt_key(key.key)
        leaves = [
            merkle.leaf(merkle.salt(salts, file.fileID), file.sha256, file.size, file.fileID, file.name)
            for file in self.files
        ]
        return merkle.root(leaves).hex()


def most_bytes(files: int) -> int:
    """Return how long the manifest of so many files can be."""
    return min(_MOST_BYTES, _FILE_BYTES * (files + 1))


def see_bounds(label: Label) -> None:
    """See that a label's manifest is not longer than one of so many files can be.

    Raises:
        IntegrityError: It is.
    """
    if label.manifest.size > most_bytes(label.files):
        raise IntegrityError(f"its manifest has {label.manifest.size} bytes, of {label.files} files")


def open_manifest(label: Label, key: ArchiveKey, ciphertext: bytes) -> Manifest:
    """Decrypt an archive's manifest, and see that it is the one that the label means.

    Raises:
        IntegrityError: It is not: the archive, or the label, is another's, or damaged.
    """
    manifest = Manifest.parse(key.stream(label.manifest.offset).update(ciphertext))
    if len(manifest.files) != label.files:
        raise IntegrityError(f"the manifest names {len(manifest.files)} files, the label says {label.files}")
    if manifest.end != label.manifest.offset:
        raise IntegrityError(f"the files end at byte {manifest.end}, the manifest begins at {label.manifest.offset}")
    if manifest.root(key) != label.merkleRoot:
        raise IntegrityError("the files are not those whose Merkle root stands on the label")
    return manifest
