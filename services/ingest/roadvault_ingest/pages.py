"""The back-office."""

from aiohttp import web

from roadvault_common.db import Database
from roadvault_ingest.config import IngestSettings


def page_routes(db: Database, settings: IngestSettings) -> list[web.RouteDef]:
    """Return the routes of the pages."""
    return []
