"""What the demo says when something is wrong: the reason, at once."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console as Screen
from servers_operator import Console
from servers_services import Services

from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.work import repair
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import DROP, ORDER, PACK, PIN, PROVE, Stage
from roadvault_stack.demo import drill
from roadvault_stack.demo.client import Client, Uploaded
from roadvault_stack.demo.drill import Drill
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder, folders_of, follow
from roadvault_stack.demo.loss import kept_by_us_alone
from roadvault_stack.kubo import Kubo


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


async def drilled(console: Console, client: Client, kubo: Kubo, directory: Path) -> Drill:
    """Return a drill about an archive that is packed."""
    (folder,) = await uploaded(client, directory)
    assert await console.packer.packing.work(folder.folder_id) == Done()
    folder.state = await client.state(folder.files[0].file_id)
    folder.archive["cid"] = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    (directory / "log").write_text("audit: what the log says\n")
    return Drill(client, folder, (kubo.rpc_url, ""), kubo.rpc_url, "", directory / "log")


async def test_a_loss_that_was_found_and_mended_between_two_looks_was_found(
    console: Console, services: Services, kubo: Kubo, tmp_path: Path
) -> None:
    ingest = services("ingest", folder_files=1)
    await ingest.start()
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    async with Client.open(ingest.url) as client:
        looks = await drilled(console, client, kubo, tmp_path)
        zip_id = looks.folder.archive["zipID"]
        async with console.db.transaction() as tx:
            await audits.audited(tx, zip_id, Place.NETWORK, Audit(0, 0, "", "nothing of it comes"))
            await record(tx, Line(Act.PROVEN, {"files": 1}, zip_id=zip_id))
            await audits.note(tx, zip_id, Place.NETWORK, Audit(1, 50_000, "proof"))
        found, mended = await looks.end(console.db, begun)
    assert found > 0
    assert 0 <= mended < found


async def test_a_loss_that_is_not_found_is_told_with_what_the_audit_did(
    console: Console, services: Services, kubo: Kubo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "_SECONDS", 0)
    ingest = services("ingest", folder_files=1)
    await ingest.start()
    async with Client.open(ingest.url) as client:
        looks = await drilled(console, client, kubo, tmp_path)
        async with console.db.transaction() as tx:
            await audits.audited(tx, looks.folder.archive["zipID"], Place.NETWORK, Audit(3, 3000, "the witness"))
        await console.db.execute("UPDATE zip_ipfs_info SET audit_reason = 'waits for the gateway'")
        with pytest.raises(DemoError, match="no audit found that it is lost") as caught:
            await looks.end(console.db, datetime(2026, 1, 1, tzinfo=UTC))
    told = str(caught.value)
    for words in ("does not hold it", "audit_reason: waits for the gateway", "sound: 1", "what the log says"):
        assert words in told


async def test_a_machine_with_what_the_network_does_not_have_is_not_thrown_away(
    console: Console, services: Services, network_kubo: Kubo, tmp_path: Path
) -> None:
    ingest = services("ingest", folder_files=1)
    await ingest.start()
    db, url = console.db, network_kubo.rpc_url
    async with Client.open(ingest.url) as client:
        assert await kept_by_us_alone(db, url) is None
        (folder,) = await uploaded(client, tmp_path)
        assert await kept_by_us_alone(db, url) == "1 uploads"
        assert await console.packer.packing.work(folder.folder_id) == Done()
        assert await kept_by_us_alone(db, url) == "1 archives"
        assert await console.pinner.pinning.work(1) == Done()
        await db.execute("UPDATE zip_ipfs_info SET dropped_at = UTC_TIMESTAMP(6)")
        cid = await db.fetch_value("SELECT cid FROM zip_ipfs_info")
        assert await kept_by_us_alone(db, url) == cid
        async with Ipfs.open(url, 30) as network:
            await network.fetch_and_pin(cid, lambda: None)
            assert await kept_by_us_alone(db, url) is None
            await network.unpin(cid)


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
