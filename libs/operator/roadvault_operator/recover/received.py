"""Adopts the uploads that wait to be packed into a database that has lost them, by their tags, under their old numbers.

May be killed and run again: what has its row by then is left as it is. Each of their folders becomes a new one, so none
is larger than folders may be, and no archive that was packed from the old one is taken for remains of the new.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from roadvault_common.archive.verify import READ_BYTES
from roadvault_common.files.tags import Adoptable, Tag, adoptable
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_operator.recover import store
from roadvault_operator.recover.store import Upload

Progress = Callable[[int], None]


@dataclass
class Report:
    """What became of the files in `received/`."""

    adopted: int = 0
    known: int = 0
    """That had their rows already."""
    kept: int = 0
    """Of those, beside archives that the network is not proven to hold."""
    folders: list[int] = field(default_factory=list)
    """New ones, that wait to be packed."""
    set_aside: list[str] = field(default_factory=list)
    """Adopted, though their bytes are not what they were: which, and why."""
    left: list[str] = field(default_factory=list)
    """Not adopted: which, and why."""


def highest(uploads: Sequence[tuple[str, Tag]]) -> dict[str, int]:
    """Return the highest numbers on the tags of uploads, by the names of their columns."""
    return {
        "file_id": max((tag.file_id for _, tag in uploads), default=0),
        "folder_id": max((tag.folder_id for _, tag in uploads), default=0),
    }


class Adoption:
    """Adopts what lies in one data directory into one database."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self.report = Report()

    async def uploads(self) -> list[tuple[str, Tag]]:
        """Return the uploads that have a tag, by path."""
        return self._tagged(await asyncio.to_thread(lambda: list(adoptable(self._vault))))

    async def adopt(self, uploads: Sequence[tuple[str, Tag]], progress: Progress) -> None:
        """Write the rows of uploads, folder by folder; `progress` is told of bytes."""
        folders: dict[int, list[tuple[str, Tag]]] = defaultdict(list)
        for path, tag in uploads:
            folders[tag.folder_id].append((path, tag))
        for _, members in sorted(folders.items()):
            missing = await self._missing(members, progress)
            checked = [await asyncio.to_thread(self._checked, path, tag, progress) for path, tag in missing]
            if whole := [upload for upload in checked if upload is not None]:
                self.report.folders.append(await store.adopt(self._db, whole))
                self.report.adopted += len(whole)
                self.report.set_aside += [f"file {one.tag.file_id}: {one.fault}" for one in whole if one.fault]

    def _tagged(self, found: Sequence[Adoptable]) -> list[tuple[str, Tag]]:
        """Return those that have a tag, each number once; the others are left where they are."""
        paths: dict[int, list[str]] = defaultdict(list)
        for one in found:
            if one.tag is None:
                self.report.left.append(f"{one.path}: {one.trouble}")
            else:
                paths[one.tag.file_id].append(one.path)
        for file_id, several in paths.items():
            if len(several) > 1:
                self.report.left.append(f"{', '.join(several)}: each has the tag of file {file_id}")
        return [(one.path, one.tag) for one in found if one.tag is not None and len(paths[one.tag.file_id]) == 1]

    async def _missing(self, members: Sequence[tuple[str, Tag]], progress: Progress) -> list[tuple[str, Tag]]:
        """Return those that have no row; one whose number another file has is left."""
        missing = []
        for begin in range(0, len(members), store.AT_ONCE):
            some = members[begin : begin + store.AT_ONCE]
            rows = await store.known(self._db, [tag.file_id for _, tag in some])
            for path, tag in some:
                row = rows.get(tag.file_id)
                if row is None:
                    missing.append((path, tag))
                    continue
                if row["sha256"] != tag.sha256:
                    self.report.left.append(f"{path}: the database has another file as number {tag.file_id}")
                    progress(tag.size)
                    continue
                self.report.known += 1
                await self._keep(path, tag, progress) if row["kept"] else progress(tag.size)
        return missing

    async def _keep(self, path: str, tag: Tag, progress: Progress) -> None:
        """Keep an upload beside its archive, if its bytes are what they were."""
        upload = await asyncio.to_thread(self._checked, path, tag, progress)
        if upload is not None and upload.fault is None:
            await store.keep(self._db, upload)
            self.report.kept += 1

    def _checked(self, path: str, tag: Tag, progress: Progress) -> Upload | None:
        """Read an upload and compare it with its tag; None if the disk does not give it out, which is told."""
        digest, size = hashlib.sha256(), 0
        try:
            with (self._vault.root / path).open("rb", buffering=0) as file:
                while data := file.read(READ_BYTES):
                    digest.update(data)
                    size += len(data)
                    progress(len(data))
        except OSError as error:
            self.report.left.append(f"{path}, file {tag.file_id}: it can't be read: {error.strerror or error}")
            return None
        if size != tag.size:
            return Upload(path, tag, f"{path} has {size} bytes, its tag says {tag.size}")
        if digest.hexdigest() != tag.sha256:
            return Upload(path, tag, f"{path} does not have the SHA-256 of its tag")
        return Upload(path, tag, None)
