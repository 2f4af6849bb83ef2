"""The back-office: server-rendered pages in English and Chinese, by rooms. Scripts only add to them."""

from aiohttp import web

from roadvault_common.sql.db import Database
from roadvault_ingest.openapi.views import document_routes
from roadvault_ingest.pages.archives.acts import act_routes
from roadvault_ingest.pages.archives.views import archive_routes
from roadvault_ingest.pages.files.views import file_routes
from roadvault_ingest.pages.money.views import money_routes
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.overview.views import overview_routes
from roadvault_ingest.pages.people.views import people_routes
from roadvault_ingest.pages.render import Renderer, static_file
from roadvault_ingest.pages.requests.views import request_routes
from roadvault_ingest.pages.system.views import system_routes
from roadvault_ingest.pages.upkeep.views import upkeep_routes
from roadvault_ingest.pages.upload.views import upload_routes
from roadvault_ingest.service import Ingest


def page_routes(ingest: Ingest, db: Database) -> list[web.RouteDef]:
    """Return the routes of the pages."""
    office = Office(ingest, db, Renderer(auth=ingest.settings.auth).render)
    return [
        *overview_routes(office),
        *file_routes(office),
        *archive_routes(office),
        *act_routes(office),
        *request_routes(office),
        *money_routes(office),
        *system_routes(office),
        *upload_routes(office),
        *upkeep_routes(office),
        *people_routes(office),
        web.get("/static/{name:.+}", _static),
        *document_routes(office.render),
    ]


async def _static(request: web.Request) -> web.StreamResponse:
    return static_file(request)
