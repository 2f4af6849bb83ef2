"""Single acts of the services, each in a process that kills itself at a point.

Reads lines of `ACT ROW POINT` (`-` for no point); settings come from the environment. Each act is done in a fork of
this process, which has everything imported already. It prints `CLAIM <stage>` for each lease that is taken, `ACK
<result>` when the act has told its caller that it is done, `POINT <point>` for each point passed if it gets to its end,
and at last `EXIT <code>`, negative for a signal.
"""

import asyncio
import os
import sys
import traceback
from contextlib import AsyncExitStack

from chaos.crash_acts import ACTS, Act, Servers, say
from chaos.points import install

from roadvault_common.events.bus import Bus
from roadvault_common.settings.config import DatabaseSettings, Settings
from roadvault_common.sql.db import Database
from roadvault_common.stores import MAIN
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.stages import Stage


def tell_of_claims() -> None:
    real = leases.claim

    async def claim(db: Database, stage: Stage, row_id: int, seconds: float, store: str = MAIN) -> Lease | None:
        lease = await real(db, stage, row_id, seconds, store)
        if lease is not None:
            say(f"CLAIM {stage.name}")
        return lease

    leases.claim = claim


async def run(act: Act, row_id: int) -> None:
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(DatabaseSettings().database_url))
        bus = await stack.enter_async_context(Bus.open(Settings().redis_url, "crash"))
        await act(Servers(stack, db, bus), row_id)


def in_fork(act: str, row_id: int, deadly: str) -> int:
    """Do an act in a child; return how it ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        tell_of_claims()
        points = install(deadly)
        asyncio.run(run(ACTS[act], row_id))
        say("\n".join(f"POINT {point}" for point in points.seen))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for command in sys.stdin:
        name, number, point = command.split()
        say(f"EXIT {in_fork(name, int(number), point)}")
