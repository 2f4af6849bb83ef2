"""What is going on: the nine stages with their numbers, which services live, and the days that plots are of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from roadvault_common.errors import Value
from roadvault_common.history import days, heartbeats
from roadvault_common.history.heartbeats import Beat
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog
from roadvault_common.work.backlog import Numbers
from roadvault_ingest.pages.plots import filled
from roadvault_ingest.pages.states import AMBER, GREEN, RED

SERVICES = ("ingest", "packer", "pinner", "crust-orderer", "retriever", "notifier")
"""That have to live; each says so."""
_STAGES_HREFS = {
    "receive": "/file?state=waiting+in+an+open+folder",
    "pack": "/file?state=waiting+to+be+packed",
    "fetch": "/requests?state=open",
    "callback": "/requests?state=open",
}
DAYS = 30


class Step(NamedTuple):
    """One of the nine stages, as the picture has it."""

    name: str
    numbers: Numbers
    href: str

    @property
    def in_hand(self) -> int:
        """How many are to be done, are being done, or rest until they are tried again."""
        return self.numbers.waiting + self.numbers.running + self.numbers.retrying

    @property
    def tone(self) -> str:
        """Red if something failed, amber if something waits or works."""
        return RED if self.numbers.failed else AMBER if self.in_hand else ""


class Life(NamedTuple):
    """A service, whether it lives, and what it said last."""

    service: str
    tone: str
    beat: Beat | None
    """None: nothing was heard of it for a day."""
    others: int
    """Processes of it that live, besides."""

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self.beat is not None and self.beat.stopped


def lives(beats: Sequence[Beat]) -> list[Life]:
    """Return how each service is, by the process of it that was heard last."""
    found: list[Life] = []
    for service in [*SERVICES, *sorted({beat.service for beat in beats} - {*SERVICES})]:
        own = [beat for beat in beats if beat.service == service]
        heard = [one for one in own if one.lives]
        latest = min(heard or own, key=lambda beat: beat.seconds_silent, default=None)
        tone = GREEN if heard else RED
        found.append(Life(service, tone, latest, max(len(heard) - 1, 0)))
    return found


def known(beats: Sequence[Beat]) -> dict[str, Value]:
    """Return what the services that live know just now of what they stand on."""
    return {name: value for beat in reversed(beats) for name, value in beat.facts.items() if beat.lives}


async def situation(db: Database) -> dict[str, Any]:
    """Return the values of the first page's upper part."""
    beats = await heartbeats.all(db)
    steps = [
        Step(name, numbers, _STAGES_HREFS.get(name, f"/zip?stage={name}"))
        for name, numbers in await backlog.pipeline(db)
    ]
    services = lives(beats)
    return {
        "steps": steps,
        "lives": services,
        "missed": [life for life in services if life.tone == RED],
        "facts": known(beats),
        "in_hand": [step for step in steps if step.in_hand],
        "days": filled(await days.last(db, DAYS), DAYS),
    }
