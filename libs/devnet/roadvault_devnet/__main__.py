"""`roadvault-devnet`: runs the stand-in network until SIGTERM or SIGINT."""

import asyncio
import signal
import sys

import structlog
from pydantic import ValidationError

from roadvault_devnet.config import DevnetSettings
from roadvault_devnet.devnet import running
from roadvault_devnet.errors import CannotStart

_log = structlog.get_logger()


async def _run(settings: DevnetSettings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with running(settings) as devnet:
        _log.info("devnet is up", url=devnet.url, head=devnet.chain.head.number, genesis=devnet.chain.genesis.hex())
        await devnet.wait(stop)
    _log.info("devnet has stopped")


def main() -> None:
    """Run the devnet with the settings of the environment."""
    try:
        settings = DevnetSettings()
    except ValidationError as error:
        sys.exit(f"The devnet's settings are not valid:\n{error}")
    try:
        asyncio.run(_run(settings))
    except CannotStart as error:
        sys.exit(f"The devnet cannot start: {error}")


if __name__ == "__main__":
    main()
