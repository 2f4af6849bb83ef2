"""Run one private server for the tests: started, stopped, killed and started again at will."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from forked import Forked

from roadvault_stack import programs
from roadvault_stack.servers import Server

S = TypeVar("S", bound=Server)

_START_SECONDS = 60
_STOP_SECONDS = 30
_LOG_LINES = 20

# The kernel ties a process to the *thread* that started it. A test may start a server in a worker thread, which ends
# with the test's event loop; so they all come from one thread that lives as long as the test run.
_SPAWNER = ThreadPoolExecutor(1, thread_name_prefix="spawner")


class Running(Generic[S]):
    """A server and its process. `server` tells its ports and URLs, which stay the same across restarts.

    One of our own is forked, as `module`.
    """

    def __init__(self, server: S, module: str | None = None) -> None:
        self.server = server
        self.module = module
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self.more: list[str] = []
        """Arguments besides those of the server's own command, from the next start on."""

    @property
    def log(self) -> Path:
        """What the server wrote."""
        return self.server.home.with_name(f"{self.server.home.name}.log")

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        self.server.prepare()
        # Tied to this process: a test run that is killed outright leaves no server behind.
        command = programs.tied_to_parent([*self.server.command(), *self.more], "KILL")
        self._process = _SPAWNER.submit(self._spawn, command).result()
        self._wait_until_it_answers(self._process)

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes] | Forked":
        environment = {**os.environ, **self.server.environment()}
        if self.module is not None:
            return Forked(self.module, self.more, environment, self.log)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes] | Forked") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.server.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                state = f"ended with {process.poll()}" if process.poll() is not None else "does not answer"
                self.kill()
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
                raise AssertionError(f"{self.server.name} {state}; its last words:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it in good order."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Have it stand still for a while: connections come about, and nothing comes over them."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        while not _stopped(self._process.pid):  # until then its other threads may still answer
            time.sleep(0.005)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it in good order and start it again."""
        self.stop()
        self.start()


def _stopped(pid: int) -> bool:
    """Tell whether every thread of a process stands still (state T or t in proc's stat)."""
    states = [path.read_text().rpartition(") ")[2][0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state in "Tt" for state in states)
