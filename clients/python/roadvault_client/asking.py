"""What is asked about files, and for them."""

import random
import time
from datetime import datetime

from roadvault_client.core import Core
from roadvault_client.errors import NeverReached, TookTooLong
from roadvault_client.states import File, Line, Stage
from roadvault_client.steps import Call, Sleep, Steps

Clip = tuple[float, float] | tuple[datetime, datetime]
"""From one time to another."""
_OVER = {"lost", "ended", "set aside", "packing failed"}
"""States of a file that goes no further by itself."""
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 30.0


def file(core: Core, file_id: int) -> Steps[File]:
    """Return where a file stands."""
    state: File = yield from core.ask(Call("GET", core.api(f"file/{file_id}"), core.ours()))
    return state


def custody(core: Core, file_id: int, before: int | None = None) -> Steps[list[Line]]:
    """Return up to 100 lines of the custody log of a file and its archive: the newest, or those before a line."""
    params = {} if before is None else {"before": str(before)}
    result = yield from core.ask(Call("GET", core.api(f"file/{file_id}/custody"), core.ours(), params))
    lines: list[Line] = result["lines"]
    return lines


def receipt(core: Core, file_id: int) -> Steps[bytes]:
    """Return a file's receipt.

    Raises:
        Conflict: There is none as things stand.
    """
    answer = yield from core.send(Call("GET", core.api(f"file/{file_id}/receipt"), core.ours()))
    return answer.content


def request(core: Core, file_id: int, cb_url: str, clip: Clip | None = None) -> Steps[None]:
    """Ask for a file, or for the `clip` between two times of it: seconds of the video, or times with a zone.

    To ask again is harmless: the same file, clip and address join the request that is open.

    Raises:
        ValueError: A time has no zone.
    """
    fields = {"fileID": str(file_id), "cbUrl": cb_url, **span(clip)}
    yield from core.ask(Call("POST", core.api("downFile"), core.ours(), fields))


def span(clip: Clip | None) -> dict[str, str]:
    """Return a clip as the API names it.

    Raises:
        ValueError: A time has no zone.
    """
    times = dict(zip(("from", "to"), clip or (), strict=False))
    if any(isinstance(at, datetime) and at.tzinfo is None for at in times.values()):
        raise ValueError("a time needs a time zone: 2026-11-28T08:30 is another moment in each")
    return {name: at.isoformat() if isinstance(at, datetime) else f"{at:.3f}" for name, at in times.items()}


def wait(core: Core, file_id: int, until: Stage = "packed", seconds: float | None = None) -> Steps[File]:
    """Wait until a file's archive has come so far; return where it stands then.

    Raises:
        NeverReached: It goes no further by itself.
        TookTooLong: It did not in so many seconds.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    pause = _FIRST_LOOK_SECONDS
    while True:
        state = yield from file(core, file_id)
        if state["archive"] is not None and state["archive"][until] is not None:
            return state
        if state["state"] in _OVER:
            reason = f": {state['reason']}" if state["reason"] else ""
            raise NeverReached(f"file {file_id} won't be {until}: {state['state']}{reason}")
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TookTooLong(f"file {file_id} was not {until} within {seconds} s: {state['state']}")
        yield Sleep(min(pause, left) * random.uniform(0.8, 1))  # noqa: S311 - many that wait look at different times
        pause = min(pause * 1.3, _LONGEST_LOOK_SECONDS)
