import subprocess
from configparser import RawConfigParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from supervisor.datatypes import dict_of_key_value_pairs

from roadvault_common.process.app import FORCE_SECONDS
from roadvault_stack import processes, programs
from roadvault_stack.environment import SERVICES
from roadvault_stack.errors import StackError
from roadvault_stack.layout import Layout
from roadvault_stack.plan import make
from roadvault_stack.readiness import tail
from roadvault_stack.servers import socket_path
from roadvault_stack.settings import StackSettings
from roadvault_stack.supervisor import Supervisor, configuration


def parsed(root: Path) -> RawConfigParser:
    parser = RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(configuration(make(StackSettings(dir=root))))
    return parser


def test_every_program_is_there_in_starting_order(tmp_path: Path) -> None:
    conf = parsed(tmp_path)
    groups = sorted((s for s in conf.sections() if s.startswith("group:")), key=lambda s: conf[s]["priority"])
    members = [conf[group]["programs"].split(",") for group in groups]
    assert members == [["mariadb", "redis", "ipfs", "network-ipfs", "witness-ipfs"], ["devnet"], list(SERVICES)]


def test_services_have_time_to_drain_before_they_are_killed(tmp_path: Path) -> None:
    conf = parsed(tmp_path)
    for service in SERVICES:
        options = conf[f"program:{service}"]
        drain = dict_of_key_value_pairs(options["environment"])["ROADVAULT_DRAIN_SECONDS"]
        assert int(options["stopwaitsecs"]) > float(drain) + FORCE_SECONDS
        assert (options["stopasgroup"], options["killasgroup"]) == ("true", "true")


def test_values_arrive_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "it's mine, all"
    environment = dict_of_key_value_pairs(parsed(root)["program:packer"]["environment"])
    assert environment["ROADVAULT_DATA_DIR"] == str(root / "vault")


@pytest.mark.parametrize("name", ["a;b", "100%", "a#b", 'a"b', "a\\b"])
def test_a_path_that_the_configuration_can_not_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StackError, match="can't hold"):
        parsed(tmp_path / name)


def test_settings_meant_for_another_system_are_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_CRUST_SEED", "a seed that holds real money")
    given = Supervisor(Layout(tmp_path))._environment()
    assert "ROADVAULT_CRUST_SEED" not in given
    assert given[processes.MARK] == str(tmp_path)


def test_a_missing_program_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(StackError, match=r"mariadbd was not found on this machine: run `make setup`"):
        programs.find("mariadbd")


def test_a_pid_file_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        layout.supervisor_pid.write_text(str(stranger.pid))
        assert Supervisor(layout).pid() is None
        Supervisor(layout).stop(seconds=0.1)
        assert stranger.poll() is None
        stranger.kill()


def test_only_marked_processes_are_found_and_stopped(tmp_path: Path) -> None:
    ours = subprocess.Popen(["sleep", "60"], env={processes.MARK: str(tmp_path)})
    other = subprocess.Popen(["sleep", "60"], env={processes.MARK: f"{tmp_path}2"})
    with ours, other:
        assert [found.pid for found in processes.find(tmp_path)] == [ours.pid]
        processes.stop(processes.find(tmp_path), tmp_path)
        assert ours.wait(5) < 0
        assert other.poll() is None
        other.kill()


def test_what_does_not_end_politely_is_killed(tmp_path: Path) -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; wait; sleep 60"],
        env={processes.MARK: str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
    )
    with stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        while processes.find(tmp_path):
            processes.stop(processes.find(tmp_path), tmp_path, seconds=0.2)
        assert stubborn.wait(5) == -9


def test_the_end_of_a_log_is_short_however_long_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("\n".join(f"line {number}" for number in range(100_000)))
    lines = tail(log).splitlines()
    assert (len(lines), lines[-1].strip()) == (20, "line 99999")
    assert "no log" in tail(tmp_path / "missing.log")


def test_a_socket_path_is_never_longer_than_linux_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's own directories are long, and longer the more workers there are.
    with TemporaryDirectory(prefix="rv-") as name:
        directory = Path(name)
        assert socket_path(directory / "s") == directory / "s"
        monkeypatch.setattr("tempfile.tempdir", name)
        one, other = (socket_path(directory / (letter * 120) / "supervisor.sock") for letter in "ab")
        assert one.parent.parent == directory
        assert one != other
        assert len(str(one)) <= 100
        assert one.parent.stat().st_mode & 0o077 == 0
