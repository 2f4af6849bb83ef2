"""Opens an archive with nothing but openssl and 7z, as somebody would who has the keys and not RoadVault."""

import hashlib
import json
import shlex
import subprocess
from pathlib import Path

from roadvault_stack.demo.errors import DemoError

_SECONDS = 300


def open_archive(commands: list[str], directory: Path) -> dict[int, str]:
    """Run the `openssl` and `7z` command lines in `directory`; return the SHA-256 of each file by its id. Blocks.

    Raises:
        DemoError: A command fails, or the manifest does not fit the files.
    """
    for command in commands:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603 - the two commands that the admin tool prints
            words, cwd=directory, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode:
            raise DemoError(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    manifest = json.loads((directory / "manifest.json").read_text())
    hashes = {}
    for file in manifest["files"]:
        content = (directory / file["member"]).read_bytes()
        hashes[file["fileID"]] = hashlib.sha256(content).hexdigest()
        if hashes[file["fileID"]] != file["sha256"]:
            raise DemoError(f"file {file['fileID']} does not have the SHA-256 of the manifest")
    return hashes
