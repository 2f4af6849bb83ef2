"""Calls a client's URL. The URL came from outside: where it leads is checked, and what answers is not trusted.

One POST for each connection, and of the answer its status line: whatever follows says nothing about whether the client
took the callback. Of what went wrong a closed set of words is kept, never what the other side said.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohappyeyeballs
import orjson
import structlog
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from roadvault_common.errors import PermanentError, SettingsError, TransientError, brief
from roadvault_common.tracing import spans
from roadvault_common.web.callback_url import CallbackUrl
from roadvault_common.web.reach import Reach

log = structlog.get_logger()

_GONE = 410
_LINE_BYTES = 1 << 16
_LINES = 200
"""Of an answer's head, as far as it is read."""
_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])? +([1-5][0-9][0-9])(?:[ \t][^\n]*)?\r?\n")
_LOCATION = re.compile(rb"(?i)location:[ \t]*([^\r\n]*)")
_ORIGIN = re.compile(r"https?://(?:[0-9a-z._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?(?=[/?#]|$)", re.IGNORECASE)
_NEXT_ADDRESS_SECONDS = 0.25
"""After this the host's next address is tried beside the one that has not answered (RFC 8305)."""


class CallbackNotTaken(TransientError):
    """The client answers with an error: tried again later."""

    code = "callback_not_taken"


class ClientAway(CallbackNotTaken):
    """The client gave no answer at all, or none in time: its host is away, which is no fault of the callback."""

    code = "client_away"


class CallbackRefused(PermanentError):
    """The client says that it wants no more of these callbacks."""

    code = "callback_refused"


class _NoHttpError(Exception):
    """What came is no answer in HTTP."""


class Callbacks:
    """Posts callbacks."""

    def __init__(self, reach: Reach, timeout_seconds: float, secret: SecretStr | None, ca_file: Path | None) -> None:
        """Prepare to call, within `timeout_seconds` each.

        Raises:
            SettingsError: The secret is none, or the file has no certificates.
        """
        self._reach = reach
        self._timeout_seconds = timeout_seconds
        self._signer = _signer(secret)
        self._tls = _tls(ca_file)

    async def post(
        self, url: CallbackUrl, message_id: str, body: dict[str, object], keys: Sequence[SecretStr] = ()
    ) -> None:
        """Post a callback, signed with each of some keys, or with the installation's; return once the client took it.

        Raises:
            CallbackNotTaken: Worth another try.
            CallbackRefused: Not worth one.
            AddressRefused: Likewise.
        """
        data = orjson.dumps(body)
        request = _head(url, {**self._headers(message_id, data, keys), "Content-Length": str(len(data))}) + data
        try:
            async with asyncio.timeout(self._timeout_seconds), self._connection(url) as (reader, writer):
                writer.write(request)
                status, redirect = await _answer(reader)
        except (OSError, EOFError, RuntimeError, _NoHttpError) as error:
            log.debug("callback not taken", error=brief(error))
            raise ClientAway(f"the callback was not taken: {_words(error)}", host=url.place) from error
        if status == _GONE:
            words = "the client answered 410: it wants no more of these callbacks"
            raise CallbackRefused(words, host=url.place, status=status)
        if not 200 <= status < 300:  # noqa: PLR2004 - success
            words = f"the callback was not taken: answered {status}{redirect}"
            raise CallbackNotTaken(words, host=url.place, status=status)

    @asynccontextmanager
    async def _connection(self, url: CallbackUrl) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect to the client. A name is resolved once: what is checked is what is connected to."""
        infos = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        await self._reach.look_up()
        for *_, address in infos:
            self._reach.check(str(address[0]), url.port)
        connected = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
        tls, name = (self._tls, url.host.rstrip(".")) if url.scheme == "https" else (None, None)
        try:
            reader, writer = await asyncio.open_connection(
                sock=connected, limit=_LINE_BYTES, ssl=tls, server_hostname=name
            )
        except BaseException:
            connected.close()
            raise
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def _headers(self, message_id: str, data: bytes, keys: Sequence[SecretStr]) -> dict[str, str]:
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if (parent := spans.current()) is not None:
            headers["traceparent"] = parent  # the client's own trace of it goes on from there
        signers = [Webhook(key.get_secret_value()) for key in keys] or ([self._signer] if self._signer else [])
        if signers:  # divided by blanks: the client takes any of them that is its own
            headers["webhook-signature"] = " ".join(one.sign(message_id, now, data.decode()) for one in signers)
        return headers


def _head(url: CallbackUrl, headers: dict[str, str]) -> bytes:
    own = {"Host": url.authority, "User-Agent": "RoadVault", "Accept": "*/*", "Connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in {**own, **headers}.items()]
    return f"POST {url.target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("ascii")


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Return an answer's status, and where a redirect leads, in words.

    Raises:
        EOFError: The connection ended before.
        _NoHttpError: It is no answer.
    """
    for _ in range(_LINES):
        line = await _line(reader)
        found = _STATUS.fullmatch(line)
        if found is None and line.strip():
            raise _NoHttpError
        if found is None:
            continue  # an empty line before the answer
        status = int(found[1])
        if status >= 300 and status < 400:  # noqa: PLR2004 - redirects
            return status, _redirect(await _location(reader))
        if status >= 200:  # noqa: PLR2004 - what is below has the real answer behind it
            return status, ""
        await _location(reader)
    raise _NoHttpError


async def _location(reader: asyncio.StreamReader) -> str:
    """Read to the end of a head; return what it names as the location."""
    location = b""
    for _ in range(_LINES):
        line = await _line(reader)
        if not line.strip():
            break
        found = _LOCATION.match(line)
        location = found[1] if found else location
    return location.decode("latin-1")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError:  # longer than _LINE_BYTES
        raise _NoHttpError from None
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _redirect(location: str) -> str:
    origin = _ORIGIN.match(location)
    if origin is not None:
        return f", a redirect to {origin[0]}, which is not followed"
    return ", a redirect on the same host, which is not followed" if location.startswith("/") else ", a redirect"


def _words(error: BaseException) -> str:  # noqa: PLR0911 - one for each kind
    """Return what went wrong in one of a few ways: not a word of it is the other side's."""
    match error:
        case ssl.SSLCertVerificationError():
            return "TLS certificate not verified"
        case ssl.SSLError():
            return "TLS failed"
        case socket.gaierror():
            return "name not found"
        case TimeoutError():
            return "timed out"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError() | EOFError():
            return "connection broke off"
        case _NoHttpError():
            return "answered, but not in HTTP"
        case _:
            return "not reachable"


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:  # an SSLError is one, too
        raise SettingsError(f"ROADVAULT_CALLBACK_CA_FILE has no certificates to read: {brief(error)}") from error
    return context


def _signer(secret: SecretStr | None) -> Webhook | None:
    if secret is None:
        return None
    try:
        return Webhook(secret.get_secret_value())
    except (ValueError, RuntimeError):
        raise SettingsError("ROADVAULT_CALLBACK_SECRET must be whsec_ and base64") from None
