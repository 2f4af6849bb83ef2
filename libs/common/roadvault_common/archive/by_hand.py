"""How an archive is opened without RoadVault: shell commands for `ipfs`, `openssl` and `7z`."""

from roadvault_common.archive.crypto import ArchiveKey, Use

_HEX = r"od -An -v -tx1 | tr -d ' \n'"
"""Turns bytes into hex."""
_WRAP_IV = "A6" * 8
"""RFC 3394's initial value, which openssl wants to be told."""


def from_master_key(cid: str, directory: str, master_key: str) -> list[str]:
    """Return the commands that open an archive of format 2, by its CID and the master key of that id alone.

    They take the key from the variable MASTER_KEY; what the archive says of itself is on its label.
    """
    label = f"{directory}/label.json"
    derive = f"-keylen 32 -kdfopt digest:SHA256 -kdfopt \"hexkey:$master\" -kdfopt 'info:{Use.ARCHIVE_KEY}'"
    unwrap = f'openssl enc -d -id-aes256-wrap -K "$wrapping" -iv {_WRAP_IV}'
    decrypt = f'openssl enc -d -aes-256-ctr -K "$key" -iv "$({_field("iv", label)})"'
    return [
        f"# MASTER_KEY has to be the master key {master_key}, as it stands in ROADVAULT_MASTER_KEYS",
        f"ipfs get {cid} -o {directory}",
        f'master=$(echo "$MASTER_KEY" | tr -- -_ +/ | openssl base64 -d -A | {_HEX})',
        f"wrapping=$(openssl kdf {derive} HKDF | tr -d ':\\n')",
        f"key=$({_field('key', label)} | openssl base64 -d -A | {unwrap} | {_HEX})",
        f"{decrypt} -in {directory}/archive.7z.enc -out {directory}.7z",
        f"7z x {directory}.7z",
    ]


def from_archive_key(path: str | None, name: str, stem: str, key: ArchiveKey) -> list[str]:
    """Return the commands that open the archive at `path` on IPFS by its own key; None: by the local copy's file."""
    return [
        f"ipfs get {path} -o {name}" if path else f"# {name} is the local copy's file",
        f"openssl enc -d -aes-256-ctr -K {key.key.hex()} -iv {key.iv.hex()} -in {name} -out {stem}.7z",
        f"7z x {stem}.7z",
    ]


def _field(name: str, label: str) -> str:
    """Return a command that prints a text of the label."""
    return rf"""sed 's/.*"{name}":"\([^"]*\)".*/\1/' {label}"""
