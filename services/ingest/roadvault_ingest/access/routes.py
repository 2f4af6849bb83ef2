"""Which route asks for what: the one table. A route that is not in it keeps ingest from starting."""

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

from roadvault_common.access.scopes import Scope


class Rule(NamedTuple):
    """What a route asks for."""

    scope: Scope | None
    """None: open to all, as there is nothing behind it."""
    page: bool = False
    """It is for people: who is not known is led to the log-in, and who may not is told on a page."""
    act: str | None = None
    """What is written down that somebody did; uploads and requests are in the custody log already."""
    logged_in: bool = False
    """No token does it, as it would outlive itself by another; nor anybody where nobody is asked who they are: they
    would let themselves in for later."""


OPEN = Rule(None)
_SEE = Rule(Scope.READ, page=True)
_UPKEEP = Rule(Scope.OPERATE, page=True)


def _act(what: str, *, logged_in: bool = False) -> Rule:
    return Rule(Scope.OPERATE, page=True, act=what, logged_in=logged_in)


RULES: Mapping[tuple[str, str], Rule] = {
    ("POST", "/api/open/upload"): Rule(Scope.UPLOAD),
    ("POST", "/api/open/upload/{name}"): Rule(Scope.UPLOAD),
    ("PUT", "/api/open/upload/{name}"): Rule(Scope.UPLOAD),
    # tus takes the method that X-HTTP-Method-Override names: all of its routes ask for the same.
    ("OPTIONS", "/api/open/files"): Rule(Scope.UPLOAD),
    ("POST", "/api/open/files"): Rule(Scope.UPLOAD),
    **{
        (method, "/api/open/files/{upload_id}"): Rule(Scope.UPLOAD)
        for method in ("OPTIONS", "GET", "POST", "PATCH", "DELETE")
    },
    ("POST", "/api/open/downFile"): Rule(Scope.REQUEST),
    ("POST", "/api/open/downFiles"): Rule(Scope.REQUEST),
    ("GET", "/api/open/batch/{batch_id}"): Rule(Scope.REQUEST),
    ("DELETE", "/api/open/batch/{batch_id}"): Rule(Scope.REQUEST),
    ("GET", "/api/open/files"): Rule(Scope.READ),
    ("GET", "/api/open/file/{file_id}"): Rule(Scope.READ),
    ("GET", "/api/open/file/{file_id}/custody"): Rule(Scope.READ),
    ("GET", "/api/open/file/{file_id}/receipt"): Rule(Scope.READ, act="receipt"),
    ("GET", "/"): _SEE,
    ("GET", "/file"): _SEE,
    ("GET", "/file/{file_id}"): _SEE,
    ("GET", "/file/{file_id}/picture/{number}"): _SEE,
    ("POST", "/file/{file_id}/ask"): Rule(Scope.REQUEST, page=True),
    ("GET", "/zip"): _SEE,
    ("GET", "/zip/{zip_id}"): _SEE,
    ("POST", "/zip/{zip_id}/hold"): Rule(Scope.OPERATE, page=True, act="hold"),
    ("POST", "/zip/{zip_id}/release"): Rule(Scope.OPERATE, page=True, act="released"),
    ("POST", "/zip/{zip_id}/pin"): Rule(Scope.OPERATE, page=True, act="pin again"),
    ("POST", "/zip/{zip_id}/end"): _act("end moved"),
    ("POST", "/zip/{zip_id}/pack"): _act("pack again"),
    ("POST", "/zip/{zip_id}/give-up"): _act("given up"),
    ("POST", "/file/{file_id}/hold"): _act("hold"),
    ("GET", "/requests"): _SEE,
    ("GET", "/requests/{download_id}"): _SEE,
    ("POST", "/requests/{download_id}/cancel"): Rule(Scope.OPERATE, page=True, act="cancel"),
    ("GET", "/upload"): Rule(Scope.UPLOAD, page=True),
    ("POST", "/upload"): Rule(Scope.UPLOAD, page=True),
    ("GET", "/money"): _SEE,
    ("GET", "/system"): _SEE,
    ("POST", "/retry"): Rule(Scope.OPERATE, page=True, act="retry"),
    ("POST", "/give-up"): Rule(Scope.OPERATE, page=True, act="given up"),
    ("GET", "/upkeep"): _UPKEEP,
    ("POST", "/upkeep/ends"): _act("ends allowed"),
    ("POST", "/upkeep/sweep"): _act("sweep allowed"),
    ("POST", "/upkeep/left-out"): _act("left out given up"),
    ("POST", "/upkeep/custody"): _act("custody accepted"),
    ("POST", "/upkeep/letters/retry"): _act("letter retried"),
    ("POST", "/upkeep/letters/discard"): _act("letter discarded"),
    ("POST", "/upkeep/seal"): _act("folder closed"),
    ("POST", "/upkeep/pin"): _act("pin again"),
    ("POST", "/upkeep/set-aside/retry"): _act("set aside retried"),
    ("POST", "/upkeep/set-aside/give-up"): _act("file given up"),
    ("GET", "/upkeep/quarantine"): _UPKEEP,
    ("POST", "/upkeep/quarantine/restore"): _act("restored"),
    ("POST", "/upkeep/quarantine/purge"): _act("purged"),
    ("GET", "/upkeep/retention"): _UPKEEP,
    ("POST", "/upkeep/retention/hold"): _act("hold"),
    ("POST", "/upkeep/retention/release"): _act("released"),
    ("GET", "/access"): _UPKEEP,
    ("POST", "/access/token"): _act("token created", logged_in=True),
    ("POST", "/access/token/revoke"): _act("token revoked", logged_in=True),
    ("POST", "/access/user"): _act("user added", logged_in=True),
    ("POST", "/access/user/password"): _act("password changed", logged_in=True),
    ("POST", "/access/user/role"): _act("role changed", logged_in=True),
    ("POST", "/access/user/remove"): _act("user removed", logged_in=True),
    ("GET", "/audit"): _UPKEEP,
    ("GET", "/static/{name}"): OPEN,
    ("GET", "/api"): OPEN,
    ("GET", "/api/openapi.json"): OPEN,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("GET", "/login/oidc"): OPEN,
    ("GET", "/login/callback"): OPEN,
    ("POST", "/logout"): OPEN,
}
"""By method and pattern. Besides these a listener has /metrics, /healthz and /readyz, which are open."""


def rule_of(route: web.RouteDef) -> Rule:
    """Return what a route asks for.

    Raises:
        LookupError: The table does not have it.
    """
    pattern = web.UrlDispatcher().add_resource(route.path).canonical
    return RULES[route.method, pattern]
