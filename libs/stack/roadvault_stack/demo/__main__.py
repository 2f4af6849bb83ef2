"""`python -m roadvault_stack.demo [--files DIR] [--count N] [--keep]`: run the whole main job and check it.

It starts the stack if it is not up, and stops what it started. Exit code 1, with the reason, on any mismatch.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from rich.console import Console

from roadvault_client import RoadVaultError
from roadvault_common.plain import plain_lines
from roadvault_stack import plan, settings
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.run import Demo
from roadvault_stack.errors import StackError
from roadvault_stack.up import Stack

_LEAST_COUNT = 4


def main(argv: list[str] | None = None) -> None:
    """Run the demo."""
    arguments = _parser().parse_args(argv)
    console = Console(highlight=False, markup=False)
    try:
        _run(arguments, console)
    except (DemoError, StackError, RoadVaultError, aiohttp.ClientError, OSError) as error:
        sys.exit(plain_lines(f"demo: {str(error) or type(error).__name__}"))
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description="RoadVault's whole main job, end to end")
    parser.add_argument("--files", type=Path, help="directory of files to upload instead of generated videos")
    parser.add_argument("--count", type=int, default=28, help="how many videos to make (28)")
    parser.add_argument("--keep", action="store_true", help="leave the stack running afterwards")
    return parser


def _run(arguments: argparse.Namespace, console: Console) -> None:
    own = _files_in(arguments.files) if arguments.files else None
    loaded = settings.load()
    stack = Stack(loaded, console, plan.make)
    planned = plan.make(loaded)
    if not planned.environments.on_devnet:
        raise DemoError("it runs on the devnet only: unset ROADVAULT_CRUST_URL and ROADVAULT_MARKET")
    was_up = stack.supervisor.pid() is not None
    stack.up(detach=True)
    try:
        with TemporaryDirectory(prefix="roadvault-demo-") as scratch:
            demo = Demo(stack, planned, console, Path(scratch), was_up=was_up)
            asyncio.run(demo.run(own, max(arguments.count, _LEAST_COUNT)))
    finally:
        if not was_up and not arguments.keep:
            stack.down()
    if not was_up and not arguments.keep:
        console.print("\n`make run` brings the stack up again, with all this in its back-office.")


def _files_in(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.iterdir() if path.is_file())
    if not files:
        raise DemoError(f"{directory} has no files to upload (what lies in directories below it is not taken)")
    return files


if __name__ == "__main__":
    main()
