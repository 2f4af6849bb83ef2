"""What the demo says when something is wrong: the reason, at once."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console as Screen
from servers_operator import Console
from servers_services import Services

from roadvault_common.work import repair
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import DROP, ORDER, PACK, PIN, PROVE, Stage
from roadvault_stack.demo.client import Client, Uploaded
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder, folders_of, follow


async def uploaded(client: Client, directory: Path) -> list[Folder]:
    path = directory / "camera.mp4"
    path.write_bytes(os.urandom(50_000))
    file: Uploaded = await client.upload(path, lambda _: None)
    return await folders_of(client, [file])


@pytest.mark.parametrize("stage", [PACK, PIN, ORDER, PROVE, DROP], ids=lambda stage: stage.name)
async def test_a_stage_that_failed_ends_the_demo_with_its_reason(
    console: Console, services: Services, tmp_path: Path, stage: Stage
) -> None:
    ingest = services("ingest", folder_files=1)
    await ingest.start()
    async with Client.open(ingest.url) as client:
        (folder,) = await uploaded(client, tmp_path)
        row_id = folder.folder_id
        if stage is not PACK:
            assert await console.packer.packing.work(folder.folder_id) == Done()
            row = await console.db.fetch_one("SELECT zip_id FROM zip_ipfs_info")
            assert row is not None
            row_id = row["zip_id"]
            await console.db.execute(f"UPDATE zip_ipfs_info SET {stage.name}_due = UTC_TIMESTAMP(6)")  # noqa: S608
        assert await repair.give_up(console.db, stage, row_id, "the reason on the row")
        with pytest.raises(DemoError, match=f"{stage.name} failed: the reason on the row"):
            await follow(client, console.db, [folder], Screen(file=io.StringIO()), 60)


async def test_what_will_be_tried_again_is_waited_for(console: Console, services: Services, tmp_path: Path) -> None:
    ingest = services("ingest", folder_files=1)
    await ingest.start()
    async with Client.open(ingest.url) as client:
        (folder,) = await uploaded(client, tmp_path)
        assert await console.packer.packing.work(folder.folder_id) == Done()
        await console.db.execute("UPDATE zip_ipfs_info SET pin_reason = 'Kubo is away'")
        with pytest.raises(DemoError, match=r"not all local copies were gone after 0 s: folder 1: archive 1 packed"):
            await follow(client, console.db, [folder], Screen(file=io.StringIO()), 0)


def test_a_directory_without_files_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "roadvault_stack.demo", "--files", tmp_path],
        env={**os.environ, "ROADVAULT_LOCAL_DIR": str(tmp_path / "stack")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"demo: {tmp_path} has no files to upload")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "stack").exists()
