"""Where uploads are put below the data directory, and on the disk."""

import subprocess
from collections import Counter
from pathlib import Path, PurePath

from roadvault_common.files.placement import spread
from roadvault_common.files.vault import FANOUT, Vault


def test_uploads_that_follow_each_other_share_a_directory_and_all_are_used_alike(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    names = [PurePath(vault.new_upload()) for _ in range(FANOUT * 128)]
    assert len(set(names)) == len(names)
    assert set(Counter(name.parent for name in names).values()) == {128}
    assert len({name.parent for name in names[:32]}) == 1


def test_ext4_is_told_to_spread_the_directories_of_uploads(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "data")
    vault.prepare()
    vault.prepare()
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True).stdout
    if kind.strip() != "ext2/ext3":  # what stat calls ext4; elsewhere it is enough that nothing went wrong
        return
    flags = subprocess.run(
        ["lsattr", "-d", tmp_path / "data/received", tmp_path / "data"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert ["T" in line.split()[0] for line in flags] == [True, False]


def test_a_file_system_without_such_a_hint_is_left_alone() -> None:
    spread(Path("/dev/shm"))  # noqa: S108 - a tmpfs that is always there; nothing is made in it
    spread(Path("/proc"))
