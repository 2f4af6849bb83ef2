"""The bytes themselves: opens archives with openssl's cipher and the rows' keys, and compares hashes."""

import hashlib
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from chaos.arena import Arena
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from roadvault_stack.ports import HOST

Row = dict[str, Any]


class Contents:
    """Reads what the rows name, from the disk and from the network."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        packer = next(program for program in arena.plan.programs() if program.name == "packer")
        self.master_keys = packer.environment["ROADVAULT_MASTER_KEYS"].split(",")
        self._unwrap = MultiFernet([Fernet(key) for key in self.master_keys])

    def on_disk(self, path: str) -> bytes | None:
        """Return the bytes of what a row names, None if it is not there."""
        try:
            return Path(self._arena.layout.vault, path).read_bytes()
        except FileNotFoundError:
            return None

    def on_network(self, path: str) -> bytes | None:
        """Return what the network's own node holds of a file."""
        return _held(self._arena.settings.network_ipfs_gateway_port, path)

    def on_our_node(self, path: str) -> bytes | None:
        """Return what our own node holds of a file."""
        return _held(self._arena.settings.ipfs_gateway_port, path)

    def members(self, archive: Row, files: list[Row], encrypted: bytes | None, where: str) -> list[str]:
        """Return which files an archive's bytes do not give."""
        if encrypted is None or len(encrypted) != archive["size"]:
            return [f"archive {archive['zip_id']}: {where} does not give its {archive['size']} bytes"]
        key = self._unwrap.decrypt(archive["key"].encode())
        cipher = Cipher(algorithms.AES256(key), modes.CTR(bytes.fromhex(archive["iv"])))
        plain = cipher.decryptor().update(encrypted)
        wrong: list[str] = []
        for row in files:
            wrong += compare(row, plain[row["zip_offset"] : row["zip_offset"] + row["size"]], where)
        return wrong


def _held(gateway_port: int, path: str) -> bytes | None:
    url = f"http://{HOST}:{gateway_port}/ipfs/{path}"
    try:
        with urlopen(Request(url, headers={"Cache-Control": "only-if-cached"}), timeout=30) as response:
            content: bytes = response.read()
            return content
    except (OSError, HTTPException):
        return None


def compare(row: Row, content: bytes | None, where: str) -> list[str]:
    """Compare bytes with the SHA-256 that a file's row says."""
    if content is None:
        return [f"file {row['file_id']}: {where} is missing"]
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        return [f"file {row['file_id']}: {where} has other bytes"]
    return []
