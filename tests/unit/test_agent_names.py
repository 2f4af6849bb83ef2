"""Names of files as Windows, Linux and RoadVault have them, in the agent."""

import os
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from roadvault_agent import names
from roadvault_agent.config import BadConfig, Config, Folder, load
from roadvault_ingest.uploads.names import checked_name

FRONT = "前方/京A12345_20261128_083000.MP4"


def test_paths_are_alike_on_every_system() -> None:
    assert names.relative(PureWindowsPath(r"DCIM\Front\a.MP4")) == names.relative(PurePosixPath("DCIM/Front/a.MP4"))
    assert names.matches("DCIM/Front/a.MP4", ["*.mp4"])
    assert names.matches("DCIM/Front/a.MP4", ["dcim/front/*"])
    assert not names.matches("DCIM/Rear/a.MP4", ["front/*", "*.mkv"])


@pytest.mark.parametrize(("local", "at_the_server"), [
    (FRONT, "京A12345_20261128_083000.MP4"),
    ("a\udcff.mp4", "a%FF.mp4"),
    (os.fsdecode("前方.mp4".encode("gb18030")), "%C7%B0%B7%BD.mp4"),
    ("tab\there\nnew.mp4", "tab%09here%0Anew.mp4"),
    ("back\\slash:colon?.mp4", "back%5Cslash:colon?.mp4"),
    ("\ud83d.mp4", "%ED%A0%BD.mp4"),  # half of a pair, as NTFS allows
    ("CON.mp4", "CON.mp4"),
    ("trailing. ", "trailing. "),
])  # fmt: skip
def test_the_server_gets_a_name_that_it_takes(local: str, at_the_server: str) -> None:
    assert names.for_server(local) == at_the_server
    assert checked_name(names.for_server(local)) == at_the_server


def test_a_name_as_long_as_ntfs_allows_is_cut_and_stays_another_one() -> None:
    first, second = ("前" * 250 + end + ".mp4" for end in "甲乙")
    assert len(os.fsencode(first)) > 255
    cut = {names.for_server(first), names.for_server(second)}
    assert len(cut) == 2
    for name in cut:
        assert checked_name(name).endswith(".mp4")
    assert len(os.fsencode(names.of_mark("前" * 85))) <= 255
    assert len(os.fsencode(names.beside("前" * 85, "0123456789"))) <= 255


@pytest.mark.parametrize(("name", "anywhere"), [
    ("a.mp4", "a.mp4"), ('a<b>:"|?*.mp4', "a%3Cb%3E%3A%22%7C%3F%2A.mp4"), ("end.", "end%2E"), ("end ", "end%20"),
    ("con", "%63on"), ("COM1.mp4", "%43OM1.mp4"), ("LPT².txt", "%4CPT².txt"), ("NUL .mp4", "%4EUL .mp4"),
    ("CONTROL.mp4", "CONTROL.mp4"), ("COM10.mp4", "COM10.mp4"), ("\udcff.mp4", "%FF.mp4"),
])  # fmt: skip
def test_a_file_moves_to_a_windows_disk_too(name: str, anywhere: str) -> None:
    assert names.for_windows(name) == anywhere


@pytest.mark.parametrize(("path", "opened_as"), [
    (r"C:\cam\a.mp4", r"C:\cam\a.mp4"), (r"C:\cam\CON.mp4", r"\\?\C:\cam\CON.mp4"),
    (r"C:\cam\end. \a.mp4", r"\\?\C:\cam\end. \a.mp4"), (rf"C:\{'d' * 250}\a.mp4", rf"\\?\C:\{'d' * 250}\a.mp4"),
    (rf"\\nas\cam\{'d' * 250}.mp4", rf"\\?\UNC\nas\cam\{'d' * 250}.mp4"), (r"\\?\C:\a ", r"\\?\C:\a "),
    (r"cam\NUL", r"cam\NUL"),
])  # fmt: skip
def test_windows_opens_what_is_long_or_oddly_called(path: str, opened_as: str) -> None:
    assert names.reachable(PureWindowsPath(path)) == opened_as


def test_another_name_keeps_its_ending() -> None:
    assert [names.beside(name, "k" * 32) for name in ("a.mp4", "noend", ".hidden")] == [
        "a~kkkkkkkk.mp4", "noend~kkkkkkkk", "hidden~kkkkkkkk",
    ]  # fmt: skip


def folder(**more: object) -> Folder:
    return Folder(path=Path("/srv/nvr"), **more)  # type: ignore[arg-type] # by name


def test_a_path_tells_camera_and_time() -> None:
    told = folder(camera=r"^(?P<camera>[^/]+)/", recorded="%Y%m%d_%H%M%S", zone="Asia/Shanghai")
    assert told.camera_of(FRONT) == "前方"
    assert told.recorded_at(FRONT, 0) == datetime(2026, 11, 28, 0, 30, tzinfo=UTC)
    assert told.camera_of("a.mp4") is None
    mtime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for other in ("a.mp4", "20261399_083000.mp4"):
        assert told.recorded_at(other, int(mtime.timestamp()) * 10**9 + 5) == mtime
    assert folder(camera="gate 7").camera_of(FRONT) == "gate 7"
    assert folder(recorded="none").recorded_at(FRONT, 10**18) is None
    assert folder().recorded_at(FRONT, 0) is None  # a camera without a clock
    zoned = folder(recorded="%Y-%m-%dT%H.%M.%S%z").recorded_at("x/2026-11-28T08.30.00+0800.ts", 0)
    assert zoned == datetime(2026, 11, 28, 0, 30, tzinfo=UTC)


SETTINGS = """
url = "http://roadvault:7001"
bytes_per_second = 50_000
[[folder]]
path = "/srv/nvr"
include = ["*.mp4"]
then = "move"
move_to = "/srv/done"
"""


def read(tmp_path: Path, text: str, **environment: str) -> Config:
    (tmp_path / "agent.toml").write_text(text)
    return load(tmp_path / "agent.toml", environment)


def test_settings_come_from_a_file_and_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    told = read(
        tmp_path, SETTINGS, ROADVAULT_AGENT_POLL_SECONDS="2", ROADVAULT_AGENT_TOKEN_FILE=str(tmp_path / "token")
    )
    assert (told.url, told.poll_seconds, told.secret(), told.workers) == ("http://roadvault:7001", 2.0, "secret", 2)
    (one,) = told.folders
    assert (one.include, one.then, one.move_to) == (("*.mp4",), "move", Path("/srv/done"))


@pytest.mark.parametrize(("text", "said"), [
    ("", r"no \[\[folder\]\]"), ("[[folder]]", "path is missing"),
    ("url = 3\n" + SETTINGS.replace("url", "#"), "should be a str"), ("=", "can't be read"),
    (SETTINGS + "speed = 3", "speed is not a setting"), (SETTINGS.replace("url", "uri"), "uri is not a setting"),
    (SETTINGS.replace("50_000", '"fast"'), "fast"), (SETTINGS + 'wait_for = "gold"', "wait_for must be one of"),
    (SETTINGS + 'camera = "("', "no regular expression"), (SETTINGS + 'zone = "Mars/X"', "zone is not known"),
    (SETTINGS.replace("/srv/done", "/srv/nvr/done"), "must not lie in the folder"),
    (SETTINGS.replace('"move"', '"delete"'), "belong together"),
])  # fmt: skip
def test_settings_that_can_not_be_followed_are_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        read(tmp_path, text)
