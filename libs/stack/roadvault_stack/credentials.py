"""The secrets of this one local stack, made once and kept in its data directory."""

import base64
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from roadvault_stack.errors import StackError
from roadvault_stack.servers import private_file


class Credentials(NamedTuple):
    """What `secrets.env` holds."""

    database_password: str
    master_keys: str
    link_secret: str
    ipfs_rpc_token: str
    witness_rpc_token: str
    callback_master_keys: str
    view_secret: str


_WITHOUT_THE_PAST = ("ipfs_rpc_token", "witness_rpc_token", "callback_master_keys", "view_secret")
"""Secrets that no archive depends on: one that is missing, as in the file of an earlier version, is made anew."""


def load_or_create(path: Path) -> Credentials:
    """Read the secrets, or make them if there are none yet.

    They are never made anew over a file that is there: without its master key an archive is lost.

    Raises:
        StackError: The file is there, but a secret is missing in it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = _generate()._asdict()
        private_file(path, "".join(f"{name.upper()}={value}\n" for name, value in fresh.items()))
    lines = [line.partition("=") for line in path.read_text().splitlines() if "=" in line]
    found = {name.strip().lower(): value.strip() for name, _, value in lines}
    added = {name: getattr(_generate(), name) for name in _WITHOUT_THE_PAST if not found.get(name)}
    if added:
        private_file(path, path.read_text() + "".join(f"{name.upper()}={value}\n" for name, value in added.items()))
        found |= added
    missing = [name for name in Credentials._fields if not found.get(name)]
    if missing:
        raise StackError(f"{path} lacks {', '.join(missing).upper()}: restore it, since archives need its master key.")
    return Credentials(**{name: found[name] for name in Credentials._fields})


def _generate() -> Credentials:
    return Credentials(
        database_password=secrets.token_hex(16),  # hex: it stands in a URL and in SQL
        master_keys=base64.urlsafe_b64encode(os.urandom(32)).decode(),  # the form of a Fernet key
        link_secret=secrets.token_urlsafe(32),
        ipfs_rpc_token=secrets.token_hex(24),
        witness_rpc_token=secrets.token_hex(24),
        callback_master_keys=base64.urlsafe_b64encode(os.urandom(32)).decode(),
        view_secret=secrets.token_urlsafe(32),
    )
