"""The page that shows operators who did what."""

from aiohttp import web

from roadvault_common.access import acts
from roadvault_common.sql.db import Database
from roadvault_ingest.pages.render import Renderer


class AuditPage:
    """Shows the log of acts, newest first."""

    def __init__(self, db: Database, renderer: Renderer) -> None:
        self._db = db
        self._renderer = renderer

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the page."""
        return [web.get("/audit", self._page)]

    async def _page(self, request: web.Request) -> web.Response:
        before = request.query.get("before", "")
        rows = await acts.page(self._db, int(before[:18]) if before.isascii() and before.isdigit() else None)
        more, rows = len(rows) > acts.PAGE, rows[: acts.PAGE]
        return self._renderer.render(
            request, "access/audit.html", rows=rows, older=rows[-1]["act_id"] if more else None, later=bool(before)
        )
