"""Many files: lists of them, and batches that are asked for at once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from roadvault_client.asking import Clip, span
from roadvault_client.core import Core
from roadvault_client.states import Batch, BatchBegun, Page
from roadvault_client.steps import Call, Steps

_NAMES = {
    "name": "name",
    "camera": "camera",
    "recorded_from": "recordedFrom",
    "recorded_to": "recordedTo",
    "received_from": "receivedFrom",
    "received_to": "receivedTo",
    "state": "state",
    "archive": "archive",
    "tag": "tag",
}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What files have in common. Times have a zone: from the one on, before the other."""

    name: str | None = None
    """What their names begin with."""
    camera: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None
    state: str | None = None
    """As `File` has it: `packed`."""
    archive: int | None = None
    tag: str | None = None

    def fields(self) -> dict[str, str]:
        """Return it as the API names it.

        Raises:
            ValueError: A time has no zone.
        """
        given = {_NAMES[name]: value for name, value in vars(self).items() if value is not None}
        if any(isinstance(value, datetime) and value.tzinfo is None for value in given.values()):
            raise ValueError("a time needs a time zone: 2026-11-28T08:30 is another moment in each")
        return {name: value.isoformat() if isinstance(value, datetime) else str(value) for name, value in given.items()}


def page(core: Core, of: Filter | None, after: str | None, size: int, *, oldest_first: bool) -> Steps[Page]:
    """Return some files of a list, and where it goes on."""
    params = {} if of is None else of.fields()
    params |= {"limit": str(size), "order": "oldest" if oldest_first else "newest"}
    params |= {} if after is None else {"after": after}
    found: Page = yield from core.ask(Call("GET", core.api("files"), core.ours(), params))
    return found


def request_many(core: Core, files: Sequence[int] | Filter, cb_url: str, clip: Clip | None = None) -> Steps[BatchBegun]:
    """Ask for many files, or clips of them, at once: each gets its callback, and the batch one when all have ended."""
    wanted = {"filter": files.fields()} if isinstance(files, Filter) else {"fileIDs": list(files)}
    body = json.dumps({**wanted, "cbUrl": cb_url, **span(clip)}).encode()
    call = Call("POST", core.api("downFiles"), core.ours(), body=body)
    begun: BatchBegun = yield from core.ask(call, repeatable=False)
    return begun


def batch(core: Core, batch_id: int, after: int = 0, size: int = 100) -> Steps[Batch]:
    """Return where a batch stands, and up to `size` of its requests, those for files behind the number `after`."""
    params = {"after": str(after), "limit": str(size)}
    found: Batch = yield from core.ask(Call("GET", core.api(f"batch/{batch_id}"), core.ours(), params))
    return found


def cancel(core: Core, batch_id: int) -> Steps[Batch]:
    """Have what of a batch has not ended end soon; return where it stands."""
    found: Batch = yield from core.ask(Call("DELETE", core.api(f"batch/{batch_id}"), core.ours()))
    return found
