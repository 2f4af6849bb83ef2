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
import tempfile
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SERVICES = ("crust_orderer", "door", "ingest", "notifier", "packer", "pinner", "retriever", "devnet")
_context = multiprocessing.get_context("forkserver")
# Of the command line what it imports: its own modules ask for the terminal as they are imported.
_COMMANDS = ("typer", "rich.progress", "rich.table", "py7zr", "segno", "shamir_mnemonic")
_context.set_forkserver_preload([*(f"roadvault_{name}.__main__" for name in _SERVICES), *_COMMANDS])


class _Fork:
    """A process, which lives until it ends or is ended."""

    def __init__(
        self, module: str, arguments: list[str], environment: dict[str, str], log: Path, errors: Path | None = None
    ) -> None:
        """Start one; what it says on standard error goes to `log` as well, if `errors` names no other file."""
        self._process = _context.Process(target=_run, args=(module, arguments, environment, log, errors or log))
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


async def completed(module: str, arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a program to its end, within a minute; return how it ended, and what it said on output and error."""
    with tempfile.TemporaryDirectory() as directory:
        out, errors = Path(directory, "out"), Path(directory, "errors")
        process = AwaitedFork(module, arguments, environment, out, errors)
        try:
            code = await asyncio.wait_for(process.wait(), 60)
        finally:
            process.kill()
        return code, await asyncio.to_thread(out.read_text), await asyncio.to_thread(errors.read_text)


def _run(module: str, arguments: list[str], environment: dict[str, str], log: Path, errors: Path) -> None:
    # A test run that is killed outright leaves nobody behind: the server that forks ends with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    for descriptor, path in ((1, log), (2, errors)):
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, descriptor)
        os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()
