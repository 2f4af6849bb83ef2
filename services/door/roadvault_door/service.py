"""The door: which file a link opens, if it does."""

import asyncio
import os
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from roadvault_common.errors import Outage, PermanentError
from roadvault_common.files.vault import DOWNLOADS, Vault
from roadvault_common.sql.db import Database
from roadvault_common.web.links import BadLink, Links
from roadvault_door.store import DoorStore


class Refused(PermanentError):
    """The link opens nothing here; `status` is the answer's, and `location` where it does."""

    def __init__(self, status: HTTPStatus, message: str, location: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.location = location


class Found(NamedTuple):
    """The file that a link opens, and its SHA-256 in hex."""

    path: Path
    name: str
    sha256: str


class Door:
    """What the handlers call."""

    def __init__(self, db: Database, vault: Vault, links: Links) -> None:
        self._store = DoorStore(db)
        self._vault = vault
        self._links = links

    async def find(self, token: str) -> Found:
        """Return the file of a link.

        Raises:
            Refused: The link is not ours, or over, or its file is gone.
        """
        try:
            download_id, expires_at = self._links.read(token)
        except BadLink as error:
            raise Refused(HTTPStatus.FORBIDDEN, str(error)) from None
        extraction = await self._store.extraction(download_id)
        if extraction is not None and extraction.now >= expires_at:
            raise Refused(HTTPStatus.FORBIDDEN, "this link has expired; ask for the file again")
        if extraction is None or extraction.path is None:
            raise gone()
        if extraction.store != self._vault.store:
            if extraction.link_url is None:
                raise Outage(f"the file is at the store {extraction.store}, whose door has no address of its own")
            there = f"{extraction.link_url.rstrip('/')}/d/{token}"
            raise Refused(HTTPStatus.TEMPORARY_REDIRECT, "this file is at another store", there)
        path = await asyncio.to_thread(self._vault.path, extraction.path)  # it looks at the disk
        if not path.is_relative_to(self._vault.root / DOWNLOADS):
            raise gone()  # uploads and archives are not for the outside, whatever a row says
        return Found(path, extraction.file_name, extraction.sha256)

    async def look_at_disk(self) -> None:
        """Raise an Outage if extracted files can't be read; a disk that hangs answers nothing: the caller times it."""
        try:
            await asyncio.to_thread(_look, self._vault.root / DOWNLOADS)
        except OSError as error:
            raise Outage(f"downloads/ in the data directory can't be read: {error.strerror}") from error


def gone() -> Refused:
    """Return the refusal of a link whose file is not there."""
    return Refused(HTTPStatus.NOT_FOUND, "this file is no longer here; ask for it again")


def _look(directory: Path) -> None:
    with os.scandir(directory) as entries:
        next(entries, None)
