"""Commands, run as a person would in the services' environment; each in its own process."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.screen import Screen


class Commands:
    """Runs them in one directory, with the settings in `environment`."""

    def __init__(self, screen: Screen, environment: Mapping[str, str], directory: Path) -> None:
        self._screen = screen
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), **environment}
        self._directory = directory

    async def roadvault(self, *arguments: str) -> str:
        """Run `roadvault` and return what it prints.

        Raises:
            DemoError: It failed.
        """
        return await self._run(str(Path(sys.executable).with_name("roadvault")), *arguments, env=self._environment)

    async def shown(self, *arguments: str) -> None:
        """Run `roadvault` and show what it prints.

        Raises:
            DemoError: It failed.
        """
        self._screen.ran(f"roadvault {' '.join(arguments)}", await self.roadvault(*arguments))

    async def script(self, path: Path, *arguments: str) -> None:
        """Run a script, which gets no settings, and show what it prints.

        Raises:
            DemoError: It failed.
        """
        output = await self._run(sys.executable, str(path), *arguments, env={})
        self._screen.ran(f"python3 {path.parent.name}/{path.name} {' '.join(arguments)}", output)

    async def _run(self, *command: str, env: Mapping[str, str]) -> str:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self._directory, env=env,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
        if process.returncode:
            told = (errors.decode(errors="replace").strip(), output.decode(errors="replace").strip())
            raise DemoError(f"{Path(command[0]).name} {' '.join(command[1:])} failed: {'; '.join(filter(None, told))}")
        return output.decode(errors="replace")
