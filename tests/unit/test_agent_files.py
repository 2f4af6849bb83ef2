"""The agent's hands: what is finished, and that nothing is touched but the very file that was sent."""

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from roadvault_agent import files, names
from roadvault_agent.bucket import Bucket
from roadvault_agent.config import Folder
from roadvault_agent.files import Changed, Vanished
from roadvault_agent.rest import Rest
from roadvault_agent.state import InUse, Row, State, Version
from roadvault_agent.tally import Tally
from roadvault_agent.todo import Todo
from roadvault_agent.watch import FolderAway, Watch

FAST = Bucket(0)
ODD = os.fsdecode(b"\xff odd\n\xe5\x89\x8d:?.mp4")


@pytest.fixture(params=[True, False], ids=["by directories", "as on Windows"])
def root(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "_BY_DIRECTORY", request.param)
    (tmp_path / "cam" / "inner").mkdir(parents=True)
    return tmp_path / "cam"


def row_of(root: Path, path: str, content: bytes = b"frames") -> Row:
    (root / path).write_bytes(content)
    state = (root / path).stat()
    version = Version(str(root), path, state.st_size, state.st_mtime_ns, b"")
    return Row(1, version, "0123456789abcdef", None, hashlib.sha256(content).hexdigest(), 17, "sent", 0.0)


def looked(watch: Watch) -> set[str]:
    return {found.path for found in watch.look()}


def test_a_file_is_finished_once_it_is_left_alone(root: Path) -> None:
    watch = Watch(Folder(path=root, settle_seconds=0.2))
    (root / "inner" / ODD).write_bytes(b"x")
    (root / "empty.mp4").touch()
    assert looked(watch) == set()
    assert watch.unsettled
    time.sleep(0.25)
    (root / "late.mp4").write_bytes(b"x")
    assert looked(watch) == {f"inner/{ODD}"}
    (root / "inner" / ODD).write_bytes(b"xy")
    assert f"inner/{ODD}" not in looked(watch)


def test_what_is_not_wanted_or_leads_elsewhere_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.mp4").write_bytes(b"x")
    (root / "link.mp4").symlink_to(tmp_path / "other" / "b.mp4")
    (root / "linked").symlink_to(tmp_path / "other")
    os.mkfifo(root / "pipe.mp4")
    for name in ("a.MP4", "a.mp4.part", "a.txt", f"{names.OURS}x.mp4", names.of_mark("a.mp4")):
        (root / name).write_bytes(b"x")
    assert looked(Watch(Folder(path=root, settle_seconds=0, include=("*.mp4", "*.part")))) == {"a.MP4"}
    with pytest.raises(FolderAway):
        Watch(Folder(path=root / "not there")).look()


def test_a_file_waits_for_its_marker_and_for_whoever_writes_it(root: Path) -> None:
    watch = Watch(Folder(path=root, settle_seconds=0, include=("*.mp4",), marker="{stem}.ok"))
    (root / "inner" / "a.mp4").write_bytes(b"x")
    assert looked(watch) == set()
    (root / "inner" / "a.ok").touch()
    with (root / "inner" / "a.mp4").open("ab"):
        assert looked(watch) == set()
    with (root / "inner" / "a.mp4").open("rb"):
        assert looked(watch) == {"inner/a.mp4"}


def test_a_directory_that_can_not_be_read_hides_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a.mp4").write_bytes(b"x")
    whole = os.scandir

    def broken(path: Path) -> object:
        if path.name == "inner":
            raise OSError(5, "Input/output error")
        return whole(path)

    monkeypatch.setattr(os, "scandir", broken)
    watch = Watch(Folder(path=root, settle_seconds=0))
    assert looked(watch) == {"a.mp4"}
    assert watch.troubles == [f"{root / 'inner'}: Input/output error"]


def test_a_file_that_is_written_to_is_not_read_on(root: Path) -> None:
    row = row_of(root, "a.mp4", b"frames" * 100_000)
    with files.opened(row.version, FAST) as file:
        assert file.sha256() == row.sha256
        assert file.read(10) == b"framesfram"
        with (root / "a.mp4").open("ab") as writer:
            writer.write(b"more")
        with pytest.raises(Changed):
            file.read(10)
    with pytest.raises(Changed), files.opened(row.version, FAST):
        pass


def test_a_link_on_the_way_is_not_followed(root: Path, tmp_path: Path) -> None:
    row = row_of(root, "inner/a.mp4")
    (root / "inner").rename(tmp_path / "elsewhere")
    (root / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Vanished):
        files.mark(row)
    with pytest.raises(Vanished):
        files.remove(row, None)
    with pytest.raises(Vanished), files.opened(row.version, FAST):
        pass
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["a.mp4"]


def test_a_mark_says_which_file_it_is(root: Path) -> None:
    row = row_of(root, f"inner/{ODD}")
    files.mark(row)
    files.mark(row)
    told = json.loads((root / "inner" / names.of_mark(ODD)).read_text())
    assert told == {"fileID": 17, "sha256": row.sha256, "size": 6}
    assert len(list((root / "inner").iterdir())) == 2


def test_a_file_is_removed_only_if_it_is_the_one(root: Path) -> None:
    row = row_of(root, f"inner/{ODD}")
    files.remove(row, None)
    files.remove(row, None)
    assert list((root / "inner").iterdir()) == []
    (root / "inner" / ODD).write_bytes(b"another")
    with pytest.raises(Changed):
        files.remove(row, None)
    assert (root / "inner" / ODD).read_bytes() == b"another"


def test_what_is_written_to_at_the_last_moment_is_put_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, whole = row_of(root, "a.mp4"), os.rename

    def late(source: str, target: str, **where: int | None) -> None:
        if source.endswith("a.mp4"):
            (root / "a.mp4").write_bytes(b"frames and more")
        whole(source, target, **where)

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(Changed):
        files.remove(row, None)
    assert (root / "a.mp4").read_bytes() == b"frames and more"


def test_what_was_killed_half_way_is_finished(root: Path, tmp_path: Path) -> None:
    row, done = row_of(root, "inner/a.mp4"), tmp_path / "done"
    (root / "inner" / "a.mp4").rename(root / "inner" / f"{names.OURS}{row.key}")
    files.remove(row, done)
    assert (done / "inner" / "a.mp4").read_bytes() == b"frames"
    (done / "inner" / "a.mp4").rename(done / f"{names.OURS}{row.key}")
    files.remove(row, done)
    assert (done / "inner" / "a.mp4").read_bytes() == b"frames"
    assert [path.name for path in done.iterdir()] == ["inner"]


def no_room(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_moved_file_replaces_none_and_goes_to_other_disks(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tmp_path / "done"
    (done / "inner").mkdir(parents=True)
    (done / "inner" / "a.mp4").write_bytes(b"before")
    files.remove(row_of(root, "inner/a.mp4"), done)
    assert {path.name: path.read_bytes() for path in (done / "inner").iterdir()} == {
        "a.mp4": b"before",
        "a~01234567.mp4": b"frames",
    }
    elsewhere = Path("/dev/shm") / f"roadvault-{os.getpid()}"  # noqa: S108 - another file system
    assert elsewhere.parent.stat().st_dev != root.stat().st_dev
    try:
        row = row_of(root, f"inner/{ODD}")
        files.remove(row, elsewhere)
        moved = elsewhere / "inner" / ODD
        assert (moved.read_bytes(), moved.stat().st_mtime_ns) == (b"frames", row.version.mtime_ns)
        wrong = row_of(root, "b.mp4")
        (root / "b.mp4").write_bytes(b"sector")  # rotted: neither size nor time tells
        os.utime(root / "b.mp4", ns=(wrong.version.mtime_ns, wrong.version.mtime_ns))
        with pytest.raises(OSError, match="is not what was sent"):
            files.remove(wrong, elsewhere)
        full = row_of(root, "c.mp4")
        monkeypatch.setattr(os, "fsync", no_room)
        with pytest.raises(OSError, match="No space left"):
            files.remove(replace(full, key="fedcba9876543210"), elsewhere)
        monkeypatch.undo()
        assert [path.name for path in elsewhere.iterdir()] == ["inner"]
        files.remove(replace(full, key="fedcba9876543210"), elsewhere)
        assert (elsewhere / "c.mp4").read_bytes() == b"frames"
        (elsewhere / "c.mp4").unlink()
        assert (root / f"{names.OURS}{wrong.key}").read_bytes() == b"sector"
    finally:
        for path in sorted(elsewhere.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        elsewhere.rmdir()


def test_the_state_outlives_a_process_and_has_one_owner(tmp_path: Path) -> None:
    version = Version("/cam", f"inner/{ODD}", 6, 1, b"print")
    state = State(tmp_path)
    (row,) = state.take([(version, "key")])
    state.note_url(row.row_id, "http://r/api/open/files/1")
    with pytest.raises(InUse):
        State(tmp_path)
    state.close()
    again = State(tmp_path)
    (same,) = again.take([(version, "another key")])
    assert (same.version, same.key, same.url) == (version, "key", "http://r/api/open/files/1")
    again.note_sent(row.row_id, 17, "0" * 64)
    again.note_done(row.row_id)
    again.forget_done(time.time() + 1, {row.row_id})
    assert again.counts() == {"done": 1}
    again.forget_done(time.time() + 1, set())
    assert again.row(row.row_id) is None
    again.close()


def test_a_bucket_lets_so_much_through() -> None:
    slept: list[float] = []
    bucket = Bucket(100_000, slept.append)
    for _ in range(40):
        bucket.take(bucket.piece)
    assert bucket.piece == 12_500
    assert sum(slept[-1:]) == pytest.approx(39 * 12_500 / 100_000, abs=0.1)


def test_work_rests_while_the_server_is_away_and_each_row_has_one_worker() -> None:
    rest = Rest()
    todo = Todo(rest)
    todo.offer([1, 2, 1])
    assert rest.begin("away", None)
    assert not rest.begin("away", None)
    assert 0.5 < rest.left <= 1
    rest.begin("full", 120)
    assert rest.left <= 1  # one failure of several that came together
    assert rest.end()
    assert (todo.next(), todo.next()) == (1, 2)
    todo.offer([1])
    todo.release(2)
    todo.put_off(2)
    todo.offer([2])
    idle = [todo.idle]
    todo.release(1)
    assert [*idle, todo.idle] == [False, True]
    todo.end()
    assert todo.next() is None


def test_what_waits_is_measured() -> None:
    tally = Tally()
    tally.folder_away("/cam", away=True)
    tally.look({"waiting": 3, "done": 4}, {1: time.time() - 100, 2: time.time()}, 7.0)
    text = generate_latest(tally.registry).decode()
    assert 'roadvault_agent_files{step="waiting"} 3.0' in text
    assert "roadvault_agent_missing_files 1.0" in text
    assert 'roadvault_agent_folder_away{folder="/cam"} 1.0' in text
    assert 99 < tally.oldest_seconds < 102
