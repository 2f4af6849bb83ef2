"""The page of money: what there is, what things cost, what was spent, and what is to be renewed."""

from functools import partial

from aiohttp import web

from roadvault_common.history import days, heartbeats
from roadvault_common.sql.db import Row
from roadvault_ingest.pages.money.store import BLOCKS_A_DAY, MoneyPageStore
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
        height = facts.get("chain_height")
        known = filled(await days.last(office.db, _DAYS), _DAYS)
        values = {
            "facts": facts,
            "latest": latest,
            "days_of": partial(days_of, known),
            "spent_30": sum(day.spent_planck for day in known[-30:]),
            "renewals": _by_day(await store.renewals(_SHOWN_RENEWALS), height if isinstance(height, int) else None),
            "purchases": await store.latest(),
        }
        return office.render(request, "money/money.html", **values)

    return [web.get("/money", money)]


def _by_day(rows: list[Row], height: int | None) -> list[Row]:
    """Return renewals with in how many days they are due, as far as the chain's height is known."""
    today = None if height is None else height // BLOCKS_A_DAY
    return [{**row, "in_days": None if today is None else row["day"] - today} for row in rows]
