"""`roadvault dead-letters`: what could not be handled, and what becomes of it."""

from typing import Annotated

import typer

from roadvault_common.errors import SettingsError
from roadvault_common.events.letters import DeadLetters
from roadvault_common.sql.db import Database
from roadvault_common.work.letters import again as start_again
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, say, show


@blocking
async def dead_letters(
    limit: Annotated[int, typer.Option(min=1, help="letters shown, the latest first")] = 20,
    again: Annotated[
        str | None, typer.Option("--retry", help="an entry: its row starts anew, or its event is sent again")
    ] = None,
    discard: Annotated[str | None, typer.Option(help="an entry: removed for good")] = None,
) -> None:
    """Show dead letters, or retry or discard one."""
    if again is not None and discard is not None:
        raise SettingsError("either --retry or --discard, not both")
    settings = OperatorSettings()
    if settings.redis_url is None:
        raise SettingsError("ROADVAULT_REDIS_URL is not set")
    async with DeadLetters.open(settings.redis_url) as letters:
        if again is not None:
            async with Database.open(settings.database_url, size=1) as db:
                say(await start_again(letters, db, again))
        elif discard is not None:
            await letters.letter(discard)
            await letters.discard(discard)
            say(f"{discard} was discarded")
        else:
            await _show(letters, limit)


async def _show(letters: DeadLetters, limit: int) -> None:
    rows = [
        (entry, letter["source"], letter.get("row", ""), letter["reason"])
        for entry, letter in await letters.latest(limit)
    ]
    show("dead_letters", "Dead letters", ("entry", "from", "row", "reason"), rows)
    count = await letters.count()
    say(f"{count} dead letters", dead_letters=count)
