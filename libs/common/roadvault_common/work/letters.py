"""What becomes of a dead letter that a person gives a new start: by the command line, or on a page."""

from roadvault_common.errors import PermanentError
from roadvault_common.events.letters import DeadLetters
from roadvault_common.sql.db import Database
from roadvault_common.work import repair
from roadvault_common.work.stages import STAGES


async def again(letters: DeadLetters, db: Database, entry: str) -> str:
    """Start the row of a dead letter anew, or send its event again; return what was done.

    Raises:
        PermanentError: There is no such letter, or nothing can be started by it.
    """
    letter = await letters.letter(entry)
    for stage in STAGES:
        if letter["source"] == stage.name:
            row_id = letter.get("row")
            if not isinstance(row_id, int):
                raise PermanentError(f"{entry} names no row of {stage.name}; discard the letter")
            if not await repair.retry(db, stage, row_id):
                raise PermanentError(f"{stage.name} {row_id} has not failed any more; discard the letter")
            await letters.discard(entry)
            return f"{stage.name} {row_id} is due again"
    if letter["source"] == "set-aside":
        raise PermanentError(f"{entry} tells of uploads: `roadvault set-aside` decides about them; discard the letter")
    return f"{entry} was put back on {await letters.send_again(entry, letter)}"
