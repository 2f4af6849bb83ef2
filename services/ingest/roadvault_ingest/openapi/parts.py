"""What the document is put together from."""

from http import HTTPStatus
from typing import Any

from roadvault_common.sql.states import RequestStatus
from roadvault_ingest.access.refused import NotAllowed, Unknown
from roadvault_ingest.pages.words import ENGLISH
from roadvault_ingest.problems import Problem, Unavailable, errors

Node = dict[str, Any]
"""A piece of JSON."""

_ANYWHERE = (
    "bad_request",
    Unknown.error,
    NotAllowed.error,
    "other_site",
    "unknown_host",
    "compressed",
    "internal",
    "unavailable",
)
"""Words that any request may be answered with."""
TEXT: Node = {"type": "string"}
COUNT: Node = {"type": "integer", "minimum": 0}
NUMBER: Node = {"type": "integer", "minimum": 1, "maximum": (1 << 63) - 1}
FLAG: Node = {"type": "boolean"}
TIME: Node = {"type": "string", "format": "date-time"}
BYTES: Node = {"type": "string", "format": "binary"}
SHA256: Node = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
REQUEST_STATES = [status.name.lower().replace("_", " ") for status in RequestStatus]


def ref(name: str, kind: str = "schemas") -> Node:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def maybe(schema: Node) -> Node:
    """Return the schema of what may be null."""
    if "$ref" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **more}


def told(schema: Node, description: str) -> Node:
    """Return a schema with words to it."""
    return {**schema, "description": description}


def array(of: Node) -> Node:
    """Return the schema of a list."""
    return {"type": "array", "items": of}


def record(**properties: Node) -> Node:
    """Return the schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def ok(result: Node, description: str = "Done.", **headers: str) -> Node:
    """Return the answer of a success in the API's shape."""
    zero = {"type": "integer", "const": 0}
    schema = record(code=zero, status=zero, result=result)
    return answer(200, description, headers, {"application/json": {"schema": schema}})


def answer(status: int, description: str, headers: dict[str, str], content: Node | None = None) -> Node:
    """Return an answer, with what its headers say."""
    response: Node = {"description": description}
    if headers:
        response["headers"] = {
            name.replace("_", "-"): {"description": text, "schema": TEXT} for name, text in headers.items()
        }
    if content is not None:
        response["content"] = content
    return {str(status): response}


def refused(*kinds: type[Problem] | str) -> Node:
    """Return the answers of an operation that is refused for these reasons, or for those that hold everywhere."""
    words = {*_ANYWHERE, *(kind if isinstance(kind, str) else kind.error for kind in kinds)}
    by_status: dict[int, list[str]] = {}
    for word, (status, meaning) in errors().items():
        if word in words:
            by_status.setdefault(status, []).append(f"`{word}`: {meaning}")
    return {
        str(status): {
            "description": " ".join(meanings),
            "content": {"application/json": {"schema": ref("Error")}},
            **({"headers": _LATER} if status in _WAITS else {}),
        }
        for status, meanings in sorted(by_status.items())
    }


_WAITS = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INSUFFICIENT_STORAGE, int(Unavailable.status)}
_LATER = {"Retry-After": {"description": "Seconds after which a later try may succeed.", "schema": TEXT}}


def parameter(name: str, where: str, schema: Node, description: str, *, required: bool = False) -> Node:
    """Return a parameter; those of a path are always required."""
    return {
        "name": name,
        "in": where,
        "required": required or where == "path",
        "description": description,
        "schema": schema,
    }


def operation(name: str, tag: str, description: str, responses: Node, **more: object) -> Node:
    """Return an operation; what it is called in one line stands with the texts of the pages."""
    return {
        "operationId": name,
        "tags": [tag],
        "summary": ENGLISH[f"api_{name}"],
        "description": description,
        **more,
        "responses": responses,
    }


def body(content: Node, *, required: bool = True) -> Node:
    """Return a request's body."""
    return {"required": required, "content": content}
