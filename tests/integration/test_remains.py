"""What attempts that were cut short have left on the disk: gone with the next attempt, and never more than that."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from clocks import Clock
from evidence_rows import prove
from servers_operator import Console

from roadvault_common.archive.local import beside
from roadvault_common.errors import TransientError
from roadvault_common.files.new_file import create
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import Vault
from roadvault_common.settings.config import SweepSettings
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Retry
from roadvault_common.work.stages import PACK
from roadvault_packer.uploads import Upload


async def full_folder(console: Console) -> int:
    await console.file()
    return await console.file()


def archives(console: Console) -> set[str]:
    return {path.name for path in (console.vault.root / "archives").iterdir()}


async def named(console: Console) -> set[str]:
    paths = [row["path"] for row in await console.db.fetch_all("SELECT path FROM zip_ipfs_info")]
    return {Path(path).name for path in [*paths, *map(beside, paths)]}


def leave(console: Console, name: str) -> Path:
    path = console.vault.root / "archives" / name
    path.write_bytes(b"half an archive")
    return path


async def test_what_killed_packers_left_goes_with_the_next_attempt(console: Console) -> None:
    folder_id = await full_folder(console)
    assert await leases.claim(console.db, PACK, folder_id, 60) is not None  # it was killed
    for token in ("a" * 32, "b" * 32):
        leave(console, f"{folder_id}-{token}.7z.enc")
    others = {leave(console, f"{folder_id}{other}-{'c' * 32}.7z.enc").name for other in range(10)}
    # An archive that was finished may be good, and belong to a row that a restored database lacks; with its label.
    finished = {
        f"archives/{folder_id}-{'d' * 32}.7z.enc": b"an archive",
        f"archives/{folder_id}-{'d' * 32}.label.json": b"its label",
    }
    for path, content in finished.items():
        with create(console.vault.root / path) as file:
            file.write(content)
    await console.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")
    assert await console.packer.packing.work(folder_id) == Done()
    assert archives(console) == others | await named(console)
    quarantine = console.vault.quarantine
    found = {entry.origin: quarantine.path(entry.name).read_bytes() for entry in quarantine.entries("archives")}
    assert found == finished


async def test_a_worker_that_woke_late_leaves_its_successors_file_alone(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_id = await full_folder(console)
    files = console.packer._store.uploads

    async def stand_still(row_id: int) -> list[Upload]:
        members = await files(row_id)
        await console.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")
        successor = await leases.claim(console.db, PACK, row_id, 60)
        assert successor is not None
        leave(console, f"{row_id}-{successor.token}.7z.enc")
        return members

    monkeypatch.setattr(console.packer._store, "uploads", stand_still)
    assert isinstance(await console.packer.packing.work(folder_id), Retry)
    assert len(archives(console)) == 1


async def test_an_archive_that_a_row_names_is_no_remains(console: Console) -> None:
    folder_id = await full_folder(console)
    await console.packer.packing.work(folder_id)
    sealed = await named(console)
    await console.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")
    assert isinstance(await console.packer.packing.work(folder_id), Retry)  # it has its archive
    assert sealed <= archives(console)


async def test_the_disk_is_never_waited_for_by_the_event_loop(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    removers: list[threading.Thread] = []
    remove = Vault.remove

    def noted(vault: Vault, relative: str) -> None:
        removers.append(threading.current_thread())
        remove(vault, relative)

    monkeypatch.setattr(Vault, "remove", noted)
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    await prove(console.db)
    assert await console.pinner.dropping.work(zip_id) == Done()
    assert archives(console) == set()

    folder_id, seal = await full_folder(console), console.packer._store.seal

    async def seal_late(*args: object) -> int:
        await console.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE pack_token IS NOT NULL")
        assert await leases.claim(console.db, PACK, folder_id, 60) is not None
        return await seal(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(console.packer._store, "seal", seal_late)
    assert isinstance(await console.packer.packing.work(folder_id), Retry)
    assert archives(console) == set()
    assert len(removers) == 6  # two uploads, two archives, two labels
    assert threading.main_thread() not in removers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("roadvault_common.files.ages.time", clock)
    return clock


async def nothing_named(_: list[str]) -> set[str]:
    return set()


async def sweep(console: Console) -> set[str]:
    """Sweep as a process does that has just begun; return what it leaves."""
    settings = SweepSettings.model_validate(
        {"database_url": "x", "redis_url": "redis://x", "data_dir": console.vault.root}
    )
    await Sweeper(settings, console.db, console.vault, "archives", nothing_named).sweep()
    return archives(console)


async def test_unnamed_files_keep_their_age_over_restarts(
    console: Console, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "still-written"):
        leave(console, name)
    assert await sweep(console) == {"old", "still-written"}
    (console.vault.root / "archives/still-written").write_bytes(b"more of it")
    clock.now += 3 * 3600
    assert await sweep(console) == {"old", "still-written"}
    clock.now += 3 * 3600
    assert await sweep(console) == {"still-written"}
    # What the clock of another run of the machine says is not compared with this one's.
    boot = tmp_path / "boot_id"
    boot.write_text("another-run-of-the-machine")
    monkeypatch.setattr("roadvault_common.files.ages._BOOT", boot)
    clock.now += 24 * 3600
    assert await sweep(console) == {"still-written"}
    clock.now += 6 * 3600
    assert await sweep(console) == set()


@pytest.mark.parametrize("go", [Path.unlink, lambda path: path.rename(path.with_name("quarantined"))])
async def test_an_archive_that_was_removed_while_it_was_written_is_not_sealed(
    tmp_path: Path, go: Callable[[Path], object]
) -> None:
    with pytest.raises(TransientError, match="was removed"), create(tmp_path / "archive") as file:
        file.write(b"content")
        go(tmp_path / "archive")
