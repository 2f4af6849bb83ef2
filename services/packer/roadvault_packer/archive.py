"""Writes an archive: a 7z container with the COPY method, encrypted on the way with AES-256-CTR; and its label.

Packing, checking each file's SHA-256 and encrypting are one pass, and there is no temporary file. Because COPY stores
each member in one piece and CTR can start anywhere, an offset and a size are all it takes to read one file back.
"""

import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import orjson
import py7zr

from roadvault_common.archive import merkle
from roadvault_common.archive.crypto import ArchiveKey, MasterKeys
from roadvault_common.archive.label import Label, Place
from roadvault_common.archive.local import beside
from roadvault_common.files.facts import NOTHING, Facts, told
from roadvault_common.files.new_file import create, write_all
from roadvault_packer.helper import Helper
from roadvault_packer.uploads import Progress, Upload, compare, opened, read

MANIFEST = "manifest.json"
MANIFEST_VERSION = 2
_SIGNATURE_HEADER_BYTES = 32
"""The 7z signature header, which py7zr writes twice: as a placeholder, and when all else is known."""
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]')
_NAME_BYTES = 180
"""Of a member's safe name; with its number it stays under the 255 bytes of common file systems."""

_MEMBER_BYTES, _NAME_TOLD = 512, 5
"""More than the 7z header and the manifest say of a file besides its name, or of nothing; and how long its name is in
them: twice in the manifest, once with each character escaped, once in the header, which has UTF-16."""
_FACTS_BYTES, _TAG_BYTES = 256, 16
"""More than the manifest needs for what is known of a file, besides camera and tags; and around each of these."""
_FLUSH_BYTES = 64 << 20
_PIECE_BYTES = 1 << 18
"""What is read at a time: small enough for a processor's cache, long enough to be worth a word to a helper."""
_HELPED_BYTES = 1 << 16
"""A shorter piece is hashed sooner than a helper could be told to."""
_IN_HAND = 8
"""Pieces that a helper may be behind; with one, threads sleep and wake at each piece, which took an eighth longer."""


@dataclass(frozen=True)
class Packed:
    """What came out: the archive's length in bytes, where each file begins in it, by file id, its key, its label."""

    size: int
    offsets: dict[int, int]
    key: ArchiveKey
    label: bytes


def pack(
    folder_id: int, uploads: Sequence[Upload], root: Path, target: Path, keys: MasterKeys, progress: Progress
) -> Packed:
    """Write the archive of `uploads` (read below `root`) to the new file `target`, and its label beside it.

    The first of `keys` wraps the archive's key on the label, or the period key does if it is one. Blocks; run it in
    a thread.

    Raises:
        Spoilt: A file is missing, or is not what its row says.
        Unreadable: The disk does not give it out.
        DiskFull: There was no room for the archive.
        FileExistsError: `target` exists already.
    """
    key, offsets = ArchiveKey.new(), dict[int, int]()
    # Hashing, writing and the disk's taking what was written go on side by side, while the next piece is read.
    with create(target) as file, Helper(_IN_HAND) as hashing, Helper(_IN_HAND) as writing, Helper(1) as flushing:
        writer = _EncryptedWriter(file, key, writing, flushing)
        with py7zr.SevenZipFile(
            cast("IO[bytes]", writer), "w", filters=[{"id": py7zr.FILTER_COPY}], blocksize=_PIECE_BYTES
        ) as container:
            for upload in uploads:
                offsets[upload.file_id] = writer.tell()
                _write_member(container, upload, root, progress, hashing)
            manifest, offset = _manifest(folder_id, uploads, offsets), writer.tell()
            container.writef(io.BytesIO(manifest), MANIFEST)
        writer.finish()
        place = Place(offset=offset, size=len(manifest))
        label = Label.make(keys, key, writer.length, place, len(uploads), _merkle_root(uploads, key)).encode()
        # Before the archive is whole: what is left of a label takes no room.
        with create(target.with_name(beside(target.name))) as other:
            write_all(other, label)
        return Packed(writer.length, offsets, key, label)


def most_bytes(uploads: Sequence[Upload]) -> int:
    """Return how long the archive of `uploads` can become."""
    names = sum(_MEMBER_BYTES + _NAME_TOLD * len(upload.file_name.encode()) for upload in uploads)
    known = sum(_facts_bytes(upload.facts) for upload in uploads if upload.facts is not NOTHING)
    return sum(upload.size for upload in uploads) + names + known + _MEMBER_BYTES


def _facts_bytes(facts: Facts) -> int:
    words = [facts.camera or "", *facts.tags]
    return _FACTS_BYTES + sum(_TAG_BYTES + 2 * len(word.encode()) for word in words)


def member_name(file_id: int, file_name: str) -> str:
    """Return a name that is safe on any file system, and unique by its number."""
    safe = _UNSAFE.sub("_", file_name).rstrip(". ")
    return f"{file_id}-" + safe.encode()[:_NAME_BYTES].decode(errors="ignore")


def _write_member(
    container: py7zr.SevenZipFile, upload: Upload, root: Path, progress: Progress, hashing: Helper
) -> None:
    with opened(upload, root) as source:
        reader = _CheckedReader(upload, source, progress, hashing)
        container.writef(cast("IO[bytes]", reader), member_name(upload.file_id, upload.file_name))
        reader.check()


def _manifest(folder_id: int, uploads: Sequence[Upload], offsets: dict[int, int]) -> bytes:
    files = [
        {
            "fileID": upload.file_id,
            "name": upload.file_name,
            "member": member_name(upload.file_id, upload.file_name),
            "size": upload.size,
            "sha256": upload.sha256,
            "offset": offsets[upload.file_id],
            "received": f"{upload.create_time:%Y-%m-%dT%H:%M:%S.%fZ}",
            **told(upload.facts),
        }
        for upload in uploads
    ]
    body = {"version": MANIFEST_VERSION, "folder": folder_id, "files": files}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2)


def _merkle_root(uploads: Sequence[Upload], key: ArchiveKey) -> bytes:
    salts = merkle.salt_key(key.key)
    return merkle.root(
        [
            merkle.leaf(
                merkle.salt(salts, upload.file_id), upload.sha256, upload.size, upload.file_id, upload.file_name
            )
            for upload in uploads
        ]
    )


class _CheckedReader(io.BufferedIOBase):
    """Reads a file for py7zr, which first measures it by seeking, and has a helper hash what passes."""

    def __init__(self, upload: Upload, source: io.FileIO, progress: Progress, hashing: Helper) -> None:
        self._upload = upload
        self._source = source
        self._progress = progress
        self._hashing = hashing
        self._hash = hashlib.sha256()
        self._length = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def read(self, size: int | None = -1) -> bytes:
        data = read(self._upload, self._source, -1 if size is None else size)
        if len(data) < _HELPED_BYTES:
            self._hashing.wait()
            self._hash.update(data)
        else:
            self._hashing.add(self._hash.update, data)
        self._length += len(data)
        self._progress(len(data))
        return data

    def check(self) -> None:
        """Raise Spoilt unless what passed is the file that the row names."""
        self._hashing.wait()
        compare(self._upload, self._length, self._hash.hexdigest())


class _EncryptedWriter(io.RawIOBase):
    """A seekable file for py7zr that encrypts what is written.

    The signature header is held back and encrypted once, when it is final: the key stream is used once for each byte.
    """

    def __init__(self, file: io.FileIO, key: ArchiveKey, writing: Helper, flushing: Helper) -> None:
        self._file = file
        self._key = key
        self._writing = writing
        self._flushing = flushing
        self._unflushed = 0
        self._stream = key.stream(_SIGNATURE_HEADER_BYTES)
        self._head = bytearray(_SIGNATURE_HEADER_BYTES)
        self._position = 0
        self.length = 0
        file.seek(_SIGNATURE_HEADER_BYTES)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = origin + offset
        return self._position

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]  # no other buffers come
        end = self._position + len(data)
        if end <= _SIGNATURE_HEADER_BYTES:
            self._head[self._position : end] = data
        elif self._position == max(self.length, _SIGNATURE_HEADER_BYTES):
            self._append(bytes(data))
        else:
            raise io.UnsupportedOperation(f"a write at {self._position} in an archive of {self.length} bytes")
        self._position = end
        self.length = max(self.length, end)
        return len(data)

    def _append(self, data: bytes) -> None:
        if len(data) < _HELPED_BYTES:
            self._writing.wait()
            self._encrypt(data)
        else:
            self._writing.add(self._encrypt, data)
        self._unflushed += len(data)
        if self._unflushed >= _FLUSH_BYTES:
            # The disk takes what is written so far, so that the sync at the end has little left to do.
            self._flushing.add(os.fdatasync, self._file.fileno())
            self._unflushed = 0

    def _encrypt(self, data: bytes) -> None:
        write_all(self._file, self._stream.update(data))

    def finish(self) -> None:
        """Write the head; the archive is complete after this."""
        self._writing.wait()
        self._flushing.wait()
        self._file.seek(0)
        write_all(self._file, self._key.stream().update(bytes(self._head)))
