"""The first page."""

import re
from functools import partial
from typing import Any

from aiohttp import web

from roadvault_common.work import repair
from roadvault_ingest.access.acts import note
from roadvault_ingest.fields import request_fields
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.overview.causes import TRIED, causes, give_up_all, retry_all, stage_named, trying
from roadvault_ingest.pages.overview.situation import situation
from roadvault_ingest.pages.overview.store import OverviewStore
from roadvault_ingest.pages.plots import days_of
from roadvault_ingest.problems import Problem

_OURS = re.compile(r"/(zip|file|requests)(/[0-9]{1,18})?")
"""Pages that a press leads back to."""
_REASON_LENGTH = 300


def overview_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of the first page."""
    page = Overview(office)
    return [web.get("/", page.show), web.post("/retry", page.retry), web.post("/give-up", page.give_up)]


class Overview:
    """What is going on, and what needs a person."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._store = OverviewStore(office.db)

    async def show(self, request: web.Request) -> web.Response:
        """Show the page."""
        store, settings = self._store, self._office.settings
        failures = await store.failures()
        values: dict[str, Any] = {
            "began": await store.began(),
            "away": await store.away(),
            "causes": causes(failures),
            "failed": sum(one.count for one in failures),
            "audits": await store.audit_problems(),
            "set_aside": await store.set_aside(),
            "left_out": await store.left_out(),
            "stopped": await store.stopped_sweeps(),
            "ends_ask": await store.ends_ask(settings.shred_archives),
            "waiting": await store.waiting(settings.waiting_days),
            "ends": await store.ends(),
            **await situation(self._office.db),
        }
        names = [step.name for step in values["steps"] if step.numbers.retrying]
        values["trying"] = await trying(store, [TRIED[name] for name in names if name in TRIED])
        values["asked"] = sum(
            (values["set_aside"][0], values["left_out"][0], len(values["stopped"]), bool(values["ends_ask"]))
        )
        values["days_of"] = partial(days_of, values["days"])
        values["threshold"] = await self._office.threshold()
        return self._office.render(request, "overview/home.html", notice=request.query.get("notice"), **values)

    async def retry(self, request: web.Request) -> web.StreamResponse:
        """Give a failed row a new start, or all that failed for one cause."""
        fields = await request_fields(request, self._office.settings)
        stage = stage_named(fields.text("stage"))
        if stage is not None and "cause" in fields.values:
            count = await retry_all(self._office.db, stage, fields.text("cause"))
            note(subject=f"{stage.name}: {count} rows")
            raise web.HTTPSeeOther("/?notice=" + ("retry_all_done" if count else "retry_gone"))
        row_id = fields.text("id")
        if stage is None or not row_id.isascii() or not row_id.isdigit():
            raise Problem("stage and id must name a failed row")
        revived = await repair.retry(self._office.db, stage, int(row_id[:18]))
        note(subject=f"{stage.name} {row_id[:18]}", outcome="done" if revived else "it had not failed")
        then = fields.values.get("then")
        page = then if isinstance(then, str) and _OURS.fullmatch(then) else "/"
        raise web.HTTPSeeOther(f"{page}?notice=" + ("retry_done" if revived else "retry_gone"))

    async def give_up(self, request: web.Request) -> web.StreamResponse:
        """Take what is tried again and again for one cause out of its stage, as failed."""
        fields = await request_fields(request, self._office.settings)
        stage, why = TRIED.get(fields.text("stage")), fields.text("reason")
        if stage is None or not why:
            raise Problem("stage, cause and reason must say what is given up, and why")
        count = await give_up_all(self._office.db, stage, fields.text("cause"), why[:_REASON_LENGTH])
        note(subject=f"{stage.name}: {count} rows: {why[:_REASON_LENGTH]}")
        raise web.HTTPSeeOther("/?notice=" + ("give_up_done" if count else "give_up_gone"))
