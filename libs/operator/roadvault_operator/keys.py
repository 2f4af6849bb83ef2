"""`roadvault migrate`, `archive-key` and `new-master-key`."""

import asyncio
from typing import Annotated

import typer
from cryptography.fernet import Fernet

from roadvault_common import migrate as migrations
from roadvault_common.config import KeySettings
from roadvault_common.crypto import MasterKeys
from roadvault_common.db import Database
from roadvault_common.errors import PermanentError
from roadvault_operator import store
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, say


@blocking
async def migrate() -> None:
    """Bring the database's tables up to date."""
    url = OperatorSettings().database_url.get_secret_value()
    applied = await asyncio.to_thread(migrations.migrate, url)
    say(f"applied {', '.join(applied)}" if applied else "the tables are up to date")


@blocking
async def archive_key(zip_id: Annotated[int, typer.Argument(help="the archive's id")]) -> None:
    """Print what openssl needs to open an archive without RoadVault."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        row = await store.sealed_key(db, zip_id)
    if row is None:
        raise PermanentError(f"there is no archive {zip_id}")
    key = MasterKeys(KeySettings().master_keys).unwrap(row["key"], row["iv"])
    name, source = row["zip_name"], f"ipfs get {row['cid']} -o" if row["cid"] else "# the local copy of"
    say(f"{source} {name}")
    say(f"openssl enc -d -aes-256-ctr -K {key.key.hex()} -iv {key.iv.hex()} -in {name} -out {zip_id}.7z")
    say(f"7z x {zip_id}.7z")


def new_master_key() -> None:
    """Print a fresh master key."""
    say(Fernet.generate_key().decode())
