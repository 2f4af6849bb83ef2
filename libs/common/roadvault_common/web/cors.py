"""Which pages of other origins may have a browser ask us for something, and read the answers (CORS)."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aiohttp import hdrs, web

_ORIGIN = re.compile(r"https?://[^/\s,]+")
"""As browsers send it: a scheme, a host and, unless it is the scheme's own, a port; no path."""
_FRESH_SECONDS = "86400"


def origins(value: str, *, all_may: bool = False) -> frozenset[str]:
    """Return the origins that a setting names; with `all_may` * stands for all.

    Raises:
        ValueError: One of them is none.
    """
    found = frozenset(part.strip().lower() for part in value.split(",") if part.strip())
    for one in found:
        if not (_ORIGIN.fullmatch(one) or (all_may and one == "*")):
            raise ValueError(
                f"must be {'* or ' if all_may else ''}origins such as https://portal.example, without a path"
            )
    return found


@dataclass(frozen=True)
class Cors:
    """What pages of other origins may do. Never with a browser's own cookies: no answer allows that."""

    origins: frozenset[str]
    methods: Callable[[web.Request], Collection[str]]
    """Returns what they may ask for at a request's path."""
    sent: Collection[str]
    """Headers that they may send."""
    read: Collection[str]
    """Headers of answers that they may read, besides those that any page may."""

    def allowed(self, request: web.Request) -> bool:
        """Tell whether a request comes from a page that may, as far as its origin goes."""
        return "*" in self.origins or request.headers.get(hdrs.ORIGIN, "").lower() in self.origins

    def headers(self, request: web.Request) -> dict[str, str]:
        """Return what an answer has to carry."""
        if not self.origins:
            return {}
        if not self.allowed(request):
            return {hdrs.VARY: hdrs.ORIGIN}
        return {
            hdrs.VARY: hdrs.ORIGIN,
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*" if "*" in self.origins else request.headers[hdrs.ORIGIN],
            hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: ", ".join(self.read),
        }

    def preflight(self, request: web.Request) -> dict[str, str]:
        """Return what the answer to a browser's question on behalf of a page has to carry."""
        return {
            **self.headers(request),
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(self.methods(request)),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(self.sent),
            hdrs.ACCESS_CONTROL_MAX_AGE: _FRESH_SECONDS,
        }


def is_preflight(request: web.Request) -> bool:
    """Tell whether a browser asks what a page may do, rather than somebody what there is."""
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
