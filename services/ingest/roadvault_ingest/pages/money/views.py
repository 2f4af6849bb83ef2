"""The page of money: what there is, what things cost, what was spent, and what is to be renewed."""

from collections.abc import Mapping
from functools import partial

from aiohttp import web

from roadvault_common.errors import Value
from roadvault_common.history import days, heartbeats
from roadvault_common.sql.db import Row
from roadvault_ingest.pages.money.store import BLOCKS, MoneyPageStore
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.plots import days_of, filled

_DAYS = 90
_SHOWN_RENEWALS = 30


def money_routes(office: Office) -> list[web.RouteDef]:
    """Return the route of the page."""
    store = MoneyPageStore(office.db)

    async def money(request: web.Request) -> web.Response:
        beats = [beat for beat in await heartbeats.all(office.db) if beat.service == "crust-orderer"]
        latest = min(beats, key=lambda beat: beat.seconds_silent, default=None)
        facts = latest.facts if latest is not None else {}
        known = filled(await days.last(office.db, _DAYS), _DAYS)
        values = {
            "facts": facts,
            "latest": latest,
            "days_of": partial(days_of, known),
            "spent_30": sum(day.spent_planck for day in known[-30:]),
            "renewals": due(await store.renewals(_SHOWN_RENEWALS), facts),
            "purchases": await store.latest(),
        }
        return office.render(request, "money/money.html", **values)

    return [web.get("/money", money)]


def due(rows: list[Row], facts: Mapping[str, Value]) -> list[Row]:
    """Return renewals with their first block and, as far as the orderer has told height and block time, how soon it is.

    `begin` and `end` are the seconds until the first and the last of them is due.
    """
    found = [{**row, "block": row["day"] * BLOCKS, "begin": None, "end": None} for row in rows]
    height, seconds = facts.get("chain_height"), facts.get("block_seconds")
    if isinstance(height, int) and isinstance(seconds, int | float):
        for row in found:
            left = row["block"] - height
            row |= {"begin": left * seconds, "end": (left + BLOCKS) * seconds}
    return found
