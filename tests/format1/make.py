"""Makes what is in this directory: a database dump and a data directory, by the code from before archives had labels.

To be run as a test of a checkout of commit 0a32ecb, with its own packer and pinner:

    cp make.py <checkout>/tests/integration/test_make.py && cd <checkout>
    FORMAT1=<this directory> pytest tests/integration/test_make.py
"""

import json
import os
import shutil
from pathlib import Path

import dumps
from servers_operator import Console

from roadvault_common.files.identity import Identity
from roadvault_common.work.outcome import Done


async def test_make(console: Console) -> None:
    """Two archives: the first is on IPFS, its uploads are gone; the second was just packed. And an open folder."""
    target, db = Path(os.environ["FORMAT1"]), console.db
    for pinned in (True, False):
        await console.file(1500)
        folder_id = await console.file(2500)
        assert await console.packer.packing.work(folder_id) == Done()
        if pinned:
            (archive,) = await db.fetch_all("SELECT * FROM zip_ipfs_info")
            assert await console.pinner.pinning.work(archive["zip_id"]) == Done()
            assert await console.pinner.dropping.work(archive["zip_id"]) == Done()
    await console.file(700)
    await Identity(db, console.vault.root, moves_on=True).move_on()
    url = console.environment["ROADVAULT_DATABASE_URL"]
    (target / "dump.sql").write_bytes(await dumps.dump(url))
    shutil.rmtree(target / "data", ignore_errors=True)
    shutil.copytree(console.vault.root, target / "data", ignore=shutil.ignore_patterns("ledger", "quarantine"))
    files = await db.fetch_all("SELECT file_id, size, sha256 FROM file_upload_info ORDER BY file_id")
    about = {"masterKeys": console.environment["ROADVAULT_MASTER_KEYS"], "files": files}
    (target / "about.json").write_text(json.dumps(about, indent=1) + "\n")
