"""Writes down, in the log of acts, what a person did with `roadvault`."""

import getpass
import os
import socket

from roadvault_common.access import acts
from roadvault_common.access.acts import Act
from roadvault_common.sql.db import Database, Transaction


async def note(tx: Transaction, act: str, subject: str) -> None:
    """Write down an act, in its transaction."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        user = f"user {os.getuid()}"
    await acts.record(tx, Act("console", f"{user}@{socket.gethostname()}", None, act, subject, "done"))


async def noted(db: Database, act: str, subject: str) -> None:
    """Write down an act that has taken place."""
    await db.transact(lambda tx: note(tx, act, subject))
