"""Opens an archive with nothing but ipfs, openssl and 7z, as somebody would who has a master key and not RoadVault."""

import hashlib
import json
import subprocess
from pathlib import Path

from roadvault_stack.demo.errors import DemoError

_SECONDS = 300


def open_archive(commands: str, directory: Path, environment: dict[str, str]) -> dict[int, str]:
    """Run the commands that the admin tool prints in `directory`; return the SHA-256 of each file by its id. Blocks.

    Raises:
        DemoError: A command fails, or the manifest does not fit the files.
    """
    done = subprocess.run(
        ["/bin/sh", "-eu"], input=commands, cwd=directory, env=environment, capture_output=True, text=True,
        timeout=_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DemoError(f"the archive could not be opened by hand: {done.stderr.strip() or done.stdout.strip()}")
    manifest = json.loads((directory / "manifest.json").read_text())
    hashes = {}
    for file in manifest["files"]:
        content = (directory / file["member"]).read_bytes()
        hashes[file["fileID"]] = hashlib.sha256(content).hexdigest()
        if hashes[file["fileID"]] != file["sha256"]:
            raise DemoError(f"file {file['fileID']} does not have the SHA-256 of the manifest")
    return hashes
