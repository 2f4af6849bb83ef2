"""Our own programs as forks of one process that has imported them: real processes, each with settings of its own.

To import a service takes a second of processor time, and the tests start hundreds of them.
"""

import asyncio
import ctypes
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SERVICES = ("crust_orderer", "door", "ingest", "notifier", "packer", "pinner", "retriever", "devnet")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([f"roadvault_{name}.__main__" for name in _SERVICES])


class _Fork:
    """A process, which lives until it ends or is ended."""

    def __init__(self, module: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._process = _context.Process(target=_run, args=(module, arguments, environment, log))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forked(_Fork):
    """A fork, with what callers use of `subprocess.Popen`."""

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.returncode


class AwaitedFork(_Fork):
    """A fork, with what callers use of `asyncio.subprocess.Process`."""

    async def wait(self) -> int:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self.returncode is not None
        return self.returncode


def _run(module: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
    # A test run that is killed outright leaves nobody behind: the server that forks ends with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()
