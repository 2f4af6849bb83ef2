"""Reads the URL of a callback. Whoever asks for a file sends it: it is read strictly, and then called as it was given.

Ingest refuses here what the notifier could not call; where a URL's address may lead is for `reach.py` to say.
"""

import re
import string
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

from yarl import URL

from roadvault_common.errors import PermanentError

_LONGEST = 2048
"""Characters of `download_info.cb_url`."""
_BLANKS = string.whitespace + "\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NO-BREAK SPACE}"
"""What web pages, tables and editors leave around a URL that is copied."""
_URL = re.compile(
    r"(https?)://(?:\[([0-9a-f:.]+)\]|([^\[\]@%:/?#\\]+))(?::([0-9]{0,5}))?((?:[/?][^#]*)?)(?:#.*)?", re.IGNORECASE
)
_AUTHORITY = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
"""Such a host is an address to whoever resolves it (URL Standard, "ends in a number"): 127.1, 2130706433, 0x7f.1."""
_NAME = re.compile(r"[0-9a-z._-]+", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadCallbackUrl(PermanentError):
    """The URL is not one that a callback can go to."""

    code = "callback_url"


@dataclass(frozen=True)
class CallbackUrl:
    """A callback's URL in the parts that a client needs."""

    text: str
    """As it was given, without the blanks around it."""
    scheme: str
    host: str
    """In ASCII, as it is looked up; an address without brackets."""
    port: int
    target: str
    """Path and query, as they were given; only what isn't ASCII is encoded."""

    @property
    def authority(self) -> str:
        """The host, and the port unless it is the scheme's own: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def place(self) -> str:
        """Host and port: whom it is that a callback goes to."""
        return f"{self.host}:{self.port}"

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The host, if it is an address."""
        if ":" in self.host:
            return IPv6Address(self.host)
        return IPv4Address(self.host) if _ENDS_IN_A_NUMBER.fullmatch(self.host) else None


def read(text: str) -> CallbackUrl:
    """Read a URL.

    Raises:
        BadCallbackUrl: No callback could go there; the message is for whoever sent it.
    """
    text = text.strip(_BLANKS)
    if len(text) > _LONGEST:
        raise BadCallbackUrl(f"cbUrl must not be longer than {_LONGEST} characters")
    authority = _AUTHORITY.match(text)
    if authority is None or any(ord(c) <= 0x20 or ord(c) == 0x7F for c in text):  # noqa: PLR2004 - blanks, controls
        raise BadCallbackUrl("cbUrl must be an http or https URL, without blanks in it")
    if "@" in authority[1]:
        raise BadCallbackUrl("cbUrl must not carry a user name or a password")
    parts = _URL.fullmatch(text)
    if parts is None:
        raise BadCallbackUrl("cbUrl is not a URL: its host is no name and no address")
    scheme, address, name, port, rest = parts.groups()
    try:
        host = str(IPv6Address(address)) if address else _ascii(name)
        target = re.sub(r"[^\x00-\x7f]+", lambda found: quote(found[0]), rest)
    except ValueError:
        raise BadCallbackUrl("cbUrl is not a URL: its host is no name and no address") from None
    number = int(port) if port else _DEFAULT_PORTS[scheme.lower()]
    if not 0 < number < 1 << 16:
        raise BadCallbackUrl("cbUrl is not a URL: there is no such port")
    return CallbackUrl(text, scheme.lower(), host, number, target if target.startswith("/") else f"/{target}")


def _ascii(name: str) -> str:
    """Return a host as it is looked up: IDNA turns full-width digits and dots into plain ones, for example.

    Raises:
        ValueError: It is no name, nor an IPv4 address in four numbers.
    """
    url = URL(f"http://{name}/")
    host = url.raw_host or ""
    host.encode("idna")  # so is it looked up, which not every name survives; nor does every one this decoding
    if not url.host or not _NAME.fullmatch(host):
        raise ValueError(host)
    return str(IPv4Address(host)) if _ENDS_IN_A_NUMBER.fullmatch(host) else host
