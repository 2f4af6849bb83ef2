"""Makes a block at each interval."""

import asyncio

from roadvault_devnet.chain import Chain


class Producer:
    """The clock of the chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._turned = asyncio.Event()

    def turn(self) -> None:
        """Let a new block time count from now on."""
        self._turned.set()

    async def run(self) -> None:
        """Make blocks until cancelled."""
        while True:
            self._turned.clear()
            try:
                async with asyncio.timeout(self._chain.rules.block_seconds):
                    await self._turned.wait()
            except TimeoutError:
                if not self._chain.rules.hold_blocks:
                    self._chain.make_block()
