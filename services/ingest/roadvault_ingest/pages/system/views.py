"""The page of the system: services, settings, schema, streams, and what happened last."""

from aiohttp import web
from pydantic import SecretStr

from roadvault_common.history import event_log, heartbeats
from roadvault_common.settings.config import PREFIX
from roadvault_common.work.stages import STAGES
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.pages.office import Office, number
from roadvault_ingest.pages.overview.situation import known, lives
from roadvault_ingest.pages.system.store import SystemPageStore
from roadvault_ingest.pages.system.stores import shown

_EVENTS = 50
_HREFS = {"zip_ipfs_info": "/zip/{}", "retention_info": "/zip/{}", "download_info": "/requests/{}"}
_SECRETS = frozenset({"database_url", "redis_url"})
"""Settings that hold a password in a text."""
_HIDDEN = "•••"


def system_routes(office: Office) -> list[web.RouteDef]:
    """Return the route of the page."""
    store = SystemPageStore(office.db)
    tables = {stage.name: stage.table for stage in STAGES}

    async def system(request: web.Request) -> web.Response:
        beats = await heartbeats.all(office.db)
        before = number(request, "before")
        events = await event_log.latest(office.db, _EVENTS + 1, before)
        rows = [(one, tables.get(one.stage, ""), _href(tables.get(one.stage, ""), one.row_id)) for one in events]
        values = {
            "beats": beats,
            "lives": lives(beats),
            "stores": await shown(office.db, beats),
            "facts": known(beats),
            "server": await store.server(),
            "schema": await store.schema(),
            "streams": await office.ingest.streams(),
            "settings": settings_shown(office.settings),
            "events": rows[:_EVENTS],
            "older": events[_EVENTS - 1].event_id if len(events) > _EVENTS else None,
        }
        return office.render(request, "system/system.html", **values)

    return [web.get("/system", system)]


def settings_shown(settings: IngestSettings) -> list[tuple[str, str, str]]:
    """Return the settings in force: variable, title and value, but for secrets, of which only whether they are set."""
    shown: list[tuple[str, str, str]] = []
    for name, field in sorted(type(settings).model_fields.items()):
        value = getattr(settings, name)
        secret = isinstance(value, SecretStr) or name in _SECRETS
        text = "" if value is None else _HIDDEN if secret else str(value)
        shown.append((f"{PREFIX}{name.upper()}", field.title or name, text))
    return shown


def _href(table: str, row_id: int) -> str | None:
    href = _HREFS.get(table)
    return None if href is None else href.format(row_id)
