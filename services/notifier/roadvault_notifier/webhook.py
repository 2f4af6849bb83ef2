"""Calls a client's URL. The URL came from outside: where it leads is checked, and what answers is not trusted."""

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from yarl import URL

from roadvault_common.errors import PermanentError, SettingsError, TransientError, brief

_GONE = 410
_ANSWER_BYTES = 4096
_CARRYING = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
"""IPv6 networks whose addresses end in an IPv4 address: compatible, mapped, translated, and NAT64's (RFC 6052)."""


class CallbackNotTaken(TransientError):
    """The client is away, too slow, or answers with an error: tried again later."""


class CallbackRefused(PermanentError):
    """The URL leads where callbacks must not go, or the client says that it wants no more of them."""


class Callbacks:
    """Posts callbacks. Use `Callbacks.open`."""

    def __init__(self, session: aiohttp.ClientSession, secret: SecretStr | None, *, allow_private: bool) -> None:
        self._session = session
        self._signer = _signer(secret)
        self._allow_private = allow_private

    @classmethod
    @asynccontextmanager
    async def open(
        cls, timeout_seconds: float, secret: SecretStr | None, *, allow_private: bool
    ) -> AsyncIterator["Callbacks"]:
        """Make a client that resolves names itself, so that what was checked is what is called.

        Raises:
            SettingsError: The secret is not one.
        """
        connector = aiohttp.TCPConnector(resolver=_Resolver(allow_private=allow_private), use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            yield cls(session, secret, allow_private=allow_private)

    async def post(self, url: str, message_id: str, body: dict[str, object]) -> None:
        """Post a callback; return once the client took it.

        Raises:
            CallbackNotTaken: Worth another try.
            CallbackRefused: Not worth one.
        """
        data = orjson.dumps(body)
        try:
            self._check_literal(url)
            async with self._session.post(
                url, data=data, headers=self._headers(message_id, data), allow_redirects=False
            ) as response:
                await response.content.read(_ANSWER_BYTES)
                status = response.status
        except CallbackRefused:
            raise
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
            raise CallbackRefused(f"the callback URL can't be called: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CallbackNotTaken(f"the callback was not taken: {brief(error)}") from error
        if status == _GONE:
            raise CallbackRefused("the client answers 410: it wants no more of these callbacks")
        if not 200 <= status < 300:  # noqa: PLR2004 - success
            raise CallbackNotTaken(f"the client answers {status}")

    def _headers(self, message_id: str, data: bytes) -> dict[str, str]:
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._signer is not None:
            headers["webhook-signature"] = self._signer.sign(message_id, now, data.decode())
        return headers

    def _check_literal(self, url: str) -> None:
        """Check a URL whose host is an address: it is not resolved, so the resolver doesn't see it."""
        host = (URL(url).host or "").strip("[]")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        _refuse_private(str(address), allow_private=self._allow_private)


class _Resolver(AbstractResolver):
    """Resolves names as usual, and refuses those that lead to addresses callbacks must not go to."""

    def __init__(self, *, allow_private: bool) -> None:
        self._resolver = ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            _refuse_private(result["host"], allow_private=self._allow_private)
        return results

    async def close(self) -> None:
        await self._resolver.close()


def _refuse_private(host: str, *, allow_private: bool) -> None:
    outer = ipaddress.ip_address(host.partition("%")[0])
    address = _carried(outer) or outer
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        raise CallbackRefused(f"callbacks do not go to {address}")
    if not _is_public(address) and not allow_private:
        raise CallbackRefused(
            f"callbacks do not go to the private address {address}; ROADVAULT_CALLBACK_ALLOW_PRIVATE=true allows it"
        )


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which a packet for this IPv6 address may be handed on, if there is one."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return None
    if any(address in network for network in _CARRYING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.teredo[1] if address.teredo else address.sixtofour


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether the address is one of the public Internet's; of IPv6 only 2000::/3 was ever given out."""
    if isinstance(address, IPv6Address) and (address.is_reserved or address.is_site_local):
        return False
    return address.is_global


def _signer(secret: SecretStr | None) -> Webhook | None:
    if secret is None:
        return None
    try:
        return Webhook(secret.get_secret_value())
    except (ValueError, RuntimeError):
        raise SettingsError("ROADVAULT_CALLBACK_SECRET must be whsec_ and base64") from None
