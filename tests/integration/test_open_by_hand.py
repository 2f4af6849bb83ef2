"""An archive opens with a master key, its CID, and stock `ipfs`, `openssl` and `7z`: as `archive-key` prints it."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from servers_operator import Console

from roadvault_common.work.outcome import Done
from roadvault_stack.kubo import Kubo
from roadvault_stack.ports import HOST


def run(commands: str, directory: Path, kubo: Kubo, master_key: str) -> subprocess.CompletedProcess[str]:
    """Run what was printed, on a machine that has a Kubo node and nothing of ours."""
    node = directory / "node"
    node.mkdir(parents=True)
    (node / "api").write_text(f"/ip4/{HOST}/tcp/{kubo.ports[0]}")  # where `ipfs` finds the node
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": programs, "IPFS_PATH": str(node), "MASTER_KEY": master_key}
    command = ["/bin/sh", "-eu"]
    return subprocess.run(
        command, input=commands, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


async def test_the_printed_commands_open_it(console: Console, kubo: Kubo, tmp_path: Path) -> None:
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    master_key = console.environment.pop("ROADVAULT_MASTER_KEYS")
    out = await console.says("archive-key", zip_id)  # which needs no master key for that
    assert master_key not in out
    assert console.packer._keys.ids[0] in out
    done = run(out, tmp_path / "here", kubo, master_key)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "here" / "manifest.json").read_text())
    rows = await console.db.fetch_all("SELECT file_id, sha256 FROM file_upload_info")
    assert {file["fileID"]: file["sha256"] for file in manifest["files"]} == {
        row["file_id"]: row["sha256"] for row in rows
    }
    for file in manifest["files"]:
        content = (tmp_path / "here" / file["member"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    other = await console.says("new-master-key")
    assert run(out, tmp_path / "other", kubo, other.strip()).returncode != 0


async def test_one_that_is_not_on_ipfs_yet_opens_with_its_own_key(console: Console, kubo: Kubo, tmp_path: Path) -> None:
    zip_id = await console.archive()
    out = await console.says("archive-key", zip_id)
    (row,) = await console.db.fetch_all("SELECT path, zip_name FROM zip_ipfs_info")
    (tmp_path / row["zip_name"]).write_bytes((console.vault.root / row["path"]).read_bytes())
    done = run(out, tmp_path, kubo, "")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "manifest.json").read_text())["files"]) == 2
