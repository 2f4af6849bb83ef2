"""What may be shown of a URL: its host and port. Keys and passwords stand in all the rest."""

import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@'\"]*@)?([^\s/?#'\"<>()]+)[^\s'\"<>()]*")
_SHORTEST_SECRET = 6
"""Characters; what is shorter, such as `ws` or `v1`, is no key, and would be cut out of many words."""
_HIDDEN = "…"


def host_of(url: str) -> str:
    """Return `host:port` of a URL, as it was written."""
    return urlsplit(url).netloc.rpartition("@")[2]


def has_host(url: str) -> bool:
    """Tell whether libraries find a host in a URL, and a port that is a number: else they quote it in their errors."""
    try:
        parts = urlsplit(url)
        return bool(parts.scheme and parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def shortened(text: str) -> str:
    """Return a text in which nothing is left of URLs but scheme, host and port."""
    return _URL.sub(r"\1\2", text)


def without_secrets(text: str, url: str) -> str:
    """Return a text that others wrote about `url`, such as a server's answer, without what may be secret of it."""
    text = shortened(text)
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def _secrets(url: str) -> set[str]:
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query, keep_blank_values=True)]
    pieces = {parts.username, parts.password, parts.query, *parts.path.split("/"), *values}
    known = {form for piece in pieces if piece for form in (piece, unquote(piece), quote(piece, safe=""))}
    return {piece for piece in known if len(piece) >= _SHORTEST_SECRET}
