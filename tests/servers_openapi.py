"""Holds answers of the API against the document that describes them."""

from functools import cache
from typing import Any

import jsonschema_rs
import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from roadvault_common.web.cors import is_preflight
from roadvault_ingest.openapi.document import DOCUMENT

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


@cache
def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the operations of the document that are ingest's, by method and path."""
    return {
        (method.upper(), path): item[method]
        for path, item in DOCUMENT["paths"].items()
        for method in _METHODS
        if method in item and "servers" not in item
    }


class Watcher:
    """Sees each answer of a server; `wrong` has those that the document does not have."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            resource = request.match_info.route.resource
            method = request.headers.get("X-HTTP-Method-Override", request.method).upper()
            operation = operations().get((method, "" if resource is None else resource.canonical))
            if is_preflight(request):  # a browser's own question
                return response
            if operation is not None and (fault := _fault(operation, response)):
                self.wrong.append(f"{request.method} {request.path} answered {response.status}: {fault}")
            return response

        self.middleware = middleware


def _fault(operation: dict[str, Any], response: web.StreamResponse) -> str:
    answer = operation["responses"].get(str(response.status))
    if answer is None:
        return "the document has no such answer"
    missing = answer.get("headers", {}).keys() - {*response.headers, "Retry-After"}
    if missing:
        return f"it lacks {missing}"
    for kind, content in answer.get("content", {}).items():
        if response.content_type != kind:
            return f"it is {response.content_type}"
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        for error in _validator(orjson.dumps(content["schema"])).iter_errors(orjson.loads(response.body)):
            return f"{error.message} at {error.instance_path}"
    return ""


@cache
def _validator(schema: bytes) -> jsonschema_rs.Validator:
    whole = {**orjson.loads(schema), "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole, validate_formats=True)
