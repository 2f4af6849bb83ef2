"""Where uploads are put below the data directory."""

from collections import Counter
from pathlib import Path, PurePath

from roadvault_common.files.vault import FANOUT, Vault


def test_uploads_that_follow_each_other_share_a_directory_and_all_are_used_alike(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    names = [PurePath(vault.new_upload()) for _ in range(FANOUT * 128)]
    assert len(set(names)) == len(names)
    assert set(Counter(name.parent for name in names).values()) == {128}
    assert len({name.parent for name in names[:32]}) == 1
