"""Serves the document: as JSON, and as a page."""

from collections.abc import Callable

import orjson
from aiohttp import web

from roadvault_ingest.openapi.document import DOCUMENT, TAGS
from roadvault_ingest.problems import errors

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_JSON = orjson.dumps(DOCUMENT)

Render = Callable[..., web.Response]


def document_routes(render: Render) -> list[web.RouteDef]:
    """Return the routes of the document; `render` makes a page of a template."""

    async def document(_: web.Request) -> web.Response:
        return web.Response(body=_JSON, content_type="application/json")

    async def page(request: web.Request) -> web.Response:
        operations = [
            (path, method, {**one, "parameters": [*item.get("parameters", ()), *one.get("parameters", ())]})
            for path, item in DOCUMENT["paths"].items()
            for method, one in item.items()
            if method in _METHODS
        ]
        by_tag = {tag: [entry for entry in operations if tag in entry[2]["tags"]] for tag in TAGS}
        schemas = DOCUMENT["components"]["schemas"]
        return render(request, "api/document.html", by_tag=by_tag, schemas=schemas, errors=errors())

    return [web.get("/api/openapi.json", document), web.get("/api", page)]
