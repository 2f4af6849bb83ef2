"""`roadvault-admin`: what an operator does by hand.

roadvault-admin migrate              bring the database's tables up to date
roadvault-admin archive-key ZIP_ID   print what openssl needs to open an archive without RoadVault
roadvault-admin new-master-key       print a fresh master key
"""

import argparse
import asyncio
import sys

from cryptography.fernet import Fernet
from pydantic import ValidationError

from roadvault_common.config import DatabaseSettings, KeySettings, explain
from roadvault_common.crypto import MasterKeys
from roadvault_common.db import Database
from roadvault_common.errors import PermanentError, RoadVaultError, brief
from roadvault_common.migrate import migrate


def main(argv: list[str] | None = None) -> None:
    """Run a command; an error is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="roadvault-admin", description="RoadVault, for its operator")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("migrate", help="bring the database's tables up to date")
    key = commands.add_parser("archive-key", help="print what openssl needs to open an archive without RoadVault")
    key.add_argument("zip_id", type=int)
    commands.add_parser("new-master-key", help="print a fresh master key")
    arguments = parser.parse_args(argv)
    try:
        match arguments.command:
            case "migrate":
                _migrate()
            case "archive-key":
                asyncio.run(_archive_key(arguments.zip_id))
            case _:
                _say(Fernet.generate_key().decode())
    except ValidationError as error:
        sys.exit(f"roadvault-admin: {explain(error)}")
    except RoadVaultError as error:
        sys.exit(f"roadvault-admin: {brief(error)}")


def _migrate() -> None:
    applied = migrate(DatabaseSettings().database_url.get_secret_value())
    _say(f"applied {', '.join(applied)}" if applied else "the tables are up to date")


async def _archive_key(zip_id: int) -> None:
    async with Database.open(DatabaseSettings().database_url) as db:
        row = await db.fetch_one("SELECT zip_name, `key`, iv, cid FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
    if row is None:
        raise PermanentError(f"there is no archive {zip_id}")
    key = MasterKeys(KeySettings().master_keys).unwrap(row["key"], row["iv"])
    name, source = row["zip_name"], f"ipfs get {row['cid']} -o" if row["cid"] else "# the local copy of"
    _say(f"{source} {name}")
    _say(f"openssl enc -d -aes-256-ctr -K {key.key.hex()} -iv {key.iv.hex()} -in {name} -out {zip_id}.7z")
    _say(f"7z x {zip_id}.7z")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
