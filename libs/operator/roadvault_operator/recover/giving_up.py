"""`roadvault recover --without`: a person gives up what a recovery left out."""

from collections.abc import Sequence

from roadvault_common.catalogue import left_out
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PUBLISH
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import say


async def give_up(cids: Sequence[str]) -> None:
    """Have the catalogue name these archives no more, or wait for these parts of an older one no longer.

    Raises:
        PermanentError: One was not left out; nothing was changed.
    """
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await check_schema(db)
        await left_out.give_up(db, cids)
        await db.transact(lambda tx: leases.make_due(tx, PUBLISH, 1))
        left = await left_out.count(db)
    say(f"given up: {', '.join(cids)}; that is a line of the custody log. {left} archives are still left out")
