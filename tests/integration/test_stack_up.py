"""The local stack as a person meets it: processes, signals, exit codes. All servers are real; see the reduced stack."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from free_ports import pick_free

from roadvault_stack import processes
from roadvault_stack.layout import Layout
from roadvault_stack.ports import is_free
from roadvault_stack.settings import StackSettings
from roadvault_stack.supervisor import Supervisor

TESTS = Path(__file__).parents[1]
PORTS = [name for name in StackSettings.model_fields if name.endswith("_port")]


class LocalStack:
    """Runs commands of the reduced stack in a data directory of its own."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.ports = dict(zip(PORTS, pick_free(len(PORTS)), strict=True))
        self.stand_in = "healthy"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "servers_reduced_stack", *arguments],
            env={
                **os.environ,
                **{f"ROADVAULT_LOCAL_{name.upper()}": str(port) for name, port in self.ports.items()},
                "ROADVAULT_LOCAL_DIR": str(self.layout.root),
                "STAND_IN": self.stand_in,
            },
            cwd=TESTS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def up(self) -> "subprocess.Popen[str]":
        """Start it in the foreground and return once it says that it is up."""
        process = self.start("up")
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                return process
        raise AssertionError(f"it did not come up: {process.communicate()}")

    def alive(self) -> list[processes.Found]:
        return processes.find(self.layout.root)

    def redis(self, *command: str) -> str:
        arguments = ["redis-cli", "-p", str(self.ports["redis_port"]), *command]
        return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@pytest.fixture
def local(servers_dir: Path) -> Iterator[LocalStack]:
    stack = LocalStack(servers_dir / f"stack-{time.monotonic_ns()}")
    yield stack
    for process in stack.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    left = stack.alive()
    processes.stop(left, stack.layout.root, seconds=0.5)
    assert not left, "the test left processes behind"


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_reverse_order(local: LocalStack, number: signal.Signals) -> None:
    process = local.up()
    names = {found.name for found in local.alive()}
    assert {"mariadbd", "redis-server", "ipfs", "supervisord"} <= names
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert local.alive() == []
    assert all(is_free(port) for port in local.ports.values())
    log = (local.layout.logs / "supervisord.log").read_text()
    assert log.index("stopped: stand-in") < log.index("stopped: mariadb")


def test_it_goes_on_with_the_same_data_and_secrets(local: LocalStack) -> None:
    assert local.run("up", "--detach")[0] == 0
    local.redis("SET", "kept", "7")
    secrets = local.layout.secrets.read_text()
    assert local.run("down")[0] == 0
    assert local.run("up", "--detach")[0] == 0
    assert local.redis("GET", "kept") == "7"
    assert local.layout.secrets.read_text() == secrets
    assert local.run("down")[0] == 0


def test_detached_it_is_found_again(local: LocalStack) -> None:
    assert local.run("status")[0] == 1
    assert local.run("up", "--detach")[0] == 0
    code, out, _ = local.run("status")
    assert code == 0
    assert all(name in out for name in ("mariadb", "redis", "network-ipfs", "stand-in"))
    code, out, _ = local.run("up", "--detach")
    assert (code, out.strip()) == (0, "the stack is up already")
    code, _, err = local.run("up")
    assert code == 1
    assert "is up already" in err
    assert local.run("down")[0] == 0
    assert local.alive() == []


def test_killing_the_runner_leaves_nothing_behind(local: LocalStack) -> None:
    process = local.up()
    process.kill()
    process.communicate(timeout=10)
    assert eventually(lambda: not local.alive())


def test_killing_supervisor_leaves_nothing_behind(local: LocalStack) -> None:
    assert local.run("up", "--detach")[0] == 0
    pid = Supervisor(local.layout).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not local.alive())


def test_leftovers_of_an_earlier_run_are_named_and_stopped(local: LocalStack) -> None:
    with subprocess.Popen(["sleep", "300"], env={processes.MARK: str(local.layout.root), "PATH": os.defpath}) as left:
        code, out, _ = local.run("up", "--detach")
        assert code == 0
        assert f"left behind: sleep ({left.pid})" in out
        assert left.wait(10) == -signal.SIGTERM
    assert local.run("down")[0] == 0


def test_a_program_that_ends_is_named_with_its_last_words(local: LocalStack) -> None:
    local.stand_in = "broken"
    code, _, err = local.run("up")
    assert code == 1
    assert "stand-in ended" in err
    assert "broken on purpose" in err
    assert local.alive() == []


def test_a_program_that_does_not_get_ready_is_named(local: LocalStack) -> None:
    local.stand_in = "deaf"
    code, _, err = local.run("up")
    assert code == 1
    assert "stand-in is not ready after 6 s" in err
    assert "/readyz does not answer" in err
    assert local.alive() == []


def test_a_port_in_use_is_named_and_nothing_is_started(local: LocalStack) -> None:
    with socket.create_server(("127.0.0.1", local.ports["redis_port"])):
        code, _, err = local.run("up")
    assert code == 1
    assert f"Port {local.ports['redis_port']}, for Redis, is in use" in err
    assert "ROADVAULT_LOCAL_REDIS_PORT" in err
    assert not local.layout.mariadb.exists()


def test_a_setting_that_can_not_be_taken_is_named_and_nothing_is_started(
    local: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADVAULT_REDIS_URL", "redis://elsewhere:6379/0")
    monkeypatch.setenv("ROADVAULT_CRUST_ULR", "wss://node.example")
    code, _, err = local.run("up")
    assert code == 1
    assert "ROADVAULT_REDIS_URL can't be set for the local stack" in err
    assert "did you mean ROADVAULT_CRUST_URL?" in err
    assert not local.layout.mariadb.exists()


def test_a_setting_that_wins_is_told(local: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_REPLICA_THRESHOLD", "3")
    code, out, _ = local.run("up", "--detach")
    assert code == 0
    assert "from the environment: ROADVAULT_REPLICA_THRESHOLD=3 for crust-orderer" in out
    assert local.run("down")[0] == 0
