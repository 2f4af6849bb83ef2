"""What no row names lies in quarantine for days; a sweep that would move more than is usual asks."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers_ingest import Door, Open
from servers_operator import Console

from roadvault_common import metrics
from roadvault_common.errors import PermanentError
from roadvault_common.files.identity import FILE
from roadvault_common.files.quarantine import Quarantine
from roadvault_ingest.pages.overview.store import OverviewStore


@pytest.fixture
def quarantine(console: Console) -> Quarantine:
    return console.vault.quarantine


def stray(root: Path, name: str, content: bytes = b"nobody's") -> str:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return name


async def sweep(console: Console, times: int = 2) -> None:
    """Sweep archives with no patience."""
    console.packer._sweeper._settings.orphan_hours = 1e-12
    for _ in range(times):
        await console.packer.sweep_orphans()


async def test_what_is_in_quarantine_is_listed_brought_back_and_purged(
    console: Console, quarantine: Quarantine
) -> None:
    root = console.vault.root
    origins = [stray(root, f"archives/90{number}-nobodys.7z.enc", os.urandom(100)) for number in range(3)]
    contents = [(root / origin).read_bytes() for origin in origins]
    await sweep(console)
    assert not any((root / origin).exists() for origin in origins)
    entries = sorted(quarantine.entries("archives"), key=lambda entry: entry.origin)
    assert [entry.origin for entry in entries] == origins
    assert [quarantine.path(entry.name).read_bytes() for entry in entries] == contents
    assert all(abs((datetime.now(UTC) - entry.since).total_seconds()) < 3600 for entry in entries)
    out = await console.says("quarantine", "list")
    assert all(entry.name in out for entry in entries)
    assert "3 files are in quarantine, 300 bytes" in out

    first, second, third = entries
    assert "1 of 1 files are back" in await console.says("quarantine", "restore", first.name)
    assert (root / origins[0]).read_bytes() == contents[0]
    stray(root, origins[1], b"another")
    code, out, _ = await console.run("quarantine", "restore", second.name)
    assert (code, "is there again" in out) == (1, True)
    assert (root / origins[1]).read_bytes() == b"another"
    assert "there is no" in await console.refuses("quarantine", "restore", "archives/../../etc/passwd")
    assert "name entries, or --all" in await console.refuses("quarantine", "restore")

    # What a row names, after all, stays; and the next sweep brings it back by itself.
    zip_id = await console.archive()
    await console.db.execute("UPDATE zip_ipfs_info SET path = %s WHERE zip_id = %s", (third.origin, zip_id))
    code, out, _ = await console.run("quarantine", "purge", "--all")
    assert (code, "1 files are named by rows and stay" in out, "1 files, 100 bytes, would be" in out) == (1, True, True)
    assert quarantine.path(second.name).exists()
    (root / FILE).rename(root / "elsewhere")  # the database is another directory's: its rows tell nothing of these
    assert "has no identity" in await console.refuses("quarantine", "purge", "--all", "--yes")
    (root / "elsewhere").rename(root / FILE)
    assert "1 files were removed" in await console.says("quarantine", "purge", "--all", "--yes")
    assert [entry.name for entry in quarantine.entries("archives")] == [third.name]
    await sweep(console, 1)
    assert (root / third.origin).read_bytes() == contents[2]


async def test_a_file_that_was_being_moved_when_the_process_was_killed_is_one_file(
    console: Console, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, origin = console.vault.root, stray(console.vault.root, "downloads/7/a-file")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    for after in ("link", "unlink"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            if after == "link":
                patch.setattr("roadvault_common.files.quarantine.sync_directory", killed)
            else:
                patch.setattr(Path, "unlink", killed)
            quarantine.set_aside(origin)
        assert (root / origin).exists()
        monkeypatch.setattr("roadvault_common.files.quarantine._TIME", f"%Y%m%dT%H%M{len(after):02}Z")  # another second
    monkeypatch.undo()
    quarantine.set_aside(origin)
    (entry,) = quarantine.entries("downloads")
    assert not (root / origin).exists()
    assert quarantine.path(entry.name).stat().st_nlink == 1
    (root / "downloads/7").rmdir()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "unlink", killed)
        quarantine.restore(entry.name)
    assert quarantine.restore(entry.name) == origin
    assert (root / origin).read_bytes() == b"nobody's"
    assert list(quarantine.entries("downloads")) == []
    with pytest.raises(PermanentError, match="there is no"):
        quarantine.restore(entry.name)


async def test_a_sweep_that_would_move_more_than_is_usual_asks(console: Console, quarantine: Quarantine) -> None:
    usual = console.packer._sweeper._settings.sweep_files
    origins = [stray(console.vault.root, f"archives/{number}-nobodys.7z.enc") for number in range(usual + 1)]
    await sweep(console)
    stopped = metrics.STOPPED_SWEEP.labels("archives")
    assert (list(quarantine.entries("archives")), stopped._value.get()) == ([], usual + 1)
    (row,) = await OverviewStore(console.db).stopped_sweeps()
    assert (row["directory"], row["files"], row["seen"], row["bytes"]) == ("archives", 11, 11, 88)
    assert "archives" in await console.says("quarantine", "list")
    assert "has not stopped" in await console.refuses("quarantine", "allow", "received")

    origins.append(stray(console.vault.root, "archives/99-nobodys.7z.enc"))
    await sweep(console, 1)  # this one is noted
    assert "may move 11 files" in await console.says("quarantine", "allow", "archives")
    assert await OverviewStore(console.db).stopped_sweeps() == []
    await sweep(console, 1)  # one more than the person was shown
    assert list(quarantine.entries("archives")) == []
    assert "may move 12 files" in await console.says("quarantine", "allow", "archives")
    await sweep(console, 1)
    assert {entry.origin for entry in quarantine.entries("archives")} == set(origins)
    assert stopped._value.get() == 0
    assert metrics.QUARANTINE_FILES.labels("archives")._value.get() == usual + 2
    assert await console.db.fetch_all("SELECT * FROM sweep_info") == []


async def test_a_small_share_goes_unasked_and_ten_times_as_much_never(open_door: Open) -> None:
    async with open_door(orphan_hours=1e-12, sweep_files=2, sweep_share=0.5) as door:
        for number in range(6):
            await door.upload(b"kept", f"{number}.mp4")
        await _strays(door, 3)
        assert len(list(door.vault.quarantine.entries("received"))) == 3
        for number in range(40):
            await door.upload(b"kept", f"{number}.mp4")
        await _strays(door, 21)  # of 67
        assert len(list(door.vault.quarantine.entries("received"))) == 3


async def _strays(door: Door, count: int) -> None:
    for number in range(count):
        stray(door.vault.root, f"received/aa/nobodys-{number}")
    for _ in range(2):
        await door.ingest.sweep_orphans()
