"""Chains lines of the custody log, and says so, until it is killed: `custody_child.py DATABASE_URL`."""

import asyncio
import sys

from roadvault_common.custody import chainer
from roadvault_common.errors import TransientError
from roadvault_common.sql.db import Database


async def main() -> None:
    async with Database.open(sys.argv[1], size=1) as db:
        while True:
            try:
                if await chainer.chain_some(db):
                    sys.stdout.write("chained\n")
                    sys.stdout.flush()
            except TransientError:
                await asyncio.sleep(0.01)


asyncio.run(main())
