"""Logs people in by an OpenID Connect provider: authorization code and PKCE (OpenID Connect Core 1.0, RFC 7636, 9207).

Authlib and joserfc know the protocol and the signatures. What a log-in takes with it, from the way there to the way
back, lies in the browser's cookie, signed with a key of the client's secret: nothing is kept here for strangers.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import orjson
from aiohttp import web
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from itsdangerous import BadData, URLSafeTimedSerializer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from roadvault_common.access.scopes import Role
from roadvault_common.access.session_store import Person
from roadvault_common.errors import PermanentError, TransientError
from roadvault_common.plain import plain
from roadvault_ingest.access.config import AccessSettings

_LOGIN_SECONDS = 600
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_KNOWN_SECONDS = 3600
_KEYS_AGAIN_SECONDS = 60
"""Keys are asked for anew, for a token that none of them has signed, but not more often."""
_AWAY_SECONDS = 5
"""For so long a provider that gave no answer is not asked again."""
_LOOK_SECONDS, _LOOK_PATIENCE_SECONDS = 60, 3
"""Whether it answers at all is asked before somebody is led there in the middle of their work."""
_LEEWAY_SECONDS = 60
_MOST_BYTES = 1 << 20
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
_NAME_LENGTH = 90


class BadLogin(PermanentError):
    """What the provider, or the browser, brought is not what it should be; or this person has no role here."""


class NotBegun(BadLogin):
    """The browser comes back from a log-in that it did not begin here, or from one before its last."""


class ProviderAway(TransientError):
    """The provider does not answer, or not as it should."""


class Oidc:
    """The provider that the settings name."""

    def __init__(self, settings: AccessSettings) -> None:
        assert settings.oidc_issuer is not None  # noqa: S101 - the caller has looked
        assert settings.oidc_client_id is not None  # noqa: S101 - the settings have
        assert settings.oidc_client_secret is not None  # noqa: S101 - likewise
        self._settings = settings
        self._issuer = settings.oidc_issuer
        self._configuration = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value()
        base = settings.intranet_url.rstrip("/")
        self._redirect = f"{base}/login/callback"
        self._secure = base.startswith("https:")
        self._cookie = "__Secure-roadvault-oidc" if self._secure else "roadvault-oidc"
        key = hashlib.sha256(b"roadvault log-in " + self._secret.encode()).digest()
        self._signed = URLSafeTimedSerializer(key, salt="roadvault.oidc")
        self._metadata: Mapping[str, Any] = {}
        self._keys = KeySet([])
        self._metadata_at = self._keys_at = self._failed_at = -float("inf")
        self._asking = asyncio.Lock()
        self._answers, self._looked_at = True, -float("inf")

    async def answers(self) -> bool:
        """Tell whether the provider answers; it is asked once a minute at the most."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._looked_at = time.monotonic()  # who asks meanwhile is told what was known before
            try:
                async with asyncio.timeout(_LOOK_PATIENCE_SECONDS):
                    await self._ask("GET", self._configuration)
                self._answers = True
            except (ProviderAway, TimeoutError):
                self._answers = False
        return self._answers

    async def begin(self, response: web.StreamResponse, wanted: str) -> None:
        """Have the browser go to the provider, and come back for `wanted`.

        Raises:
            ProviderAway: Where that is, is not known now.
        """
        metadata = await self._provider()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect,
            "scope": self._settings.oidc_scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        response.headers["Location"] = add_params_to_uri(metadata["authorization_endpoint"], list(asked.items()))
        taken = self._signed.dumps([state, nonce, verifier, wanted])
        response.set_cookie(
            self._cookie,
            str(taken),
            path="/login",
            max_age=_LOGIN_SECONDS,
            httponly=True,
            secure=self._secure,
            samesite="Lax",
        )

    def forget(self, response: web.StreamResponse) -> None:
        """Have the browser forget what it took along."""
        response.del_cookie(self._cookie, path="/login", httponly=True, secure=self._secure, samesite="Lax")

    async def person(self, request: web.Request, peer: str) -> tuple[Person, str]:
        """Return who comes back from the provider, at the address `peer`, and where they wanted to go.

        Raises:
            BadLogin: Something is not as it should be.
            ProviderAway: It can't be asked now.
        """
        try:
            state, nonce, verifier, wanted = self._signed.loads(
                request.cookies.get(self._cookie, ""), max_age=_LOGIN_SECONDS
            )
        except (BadData, ValueError):
            raise NotBegun("the browser brought nothing of a log-in that was begun here, or too late") from None
        if not hmac.compare_digest(str(state).encode(), request.query.get("state", "").encode()):
            raise NotBegun("the state is another's")
        if request.query.get("iss", self._issuer) != self._issuer:
            raise BadLogin("the answer comes from another issuer")
        if "code" not in request.query:
            raise BadLogin(f"the provider refused: {plain(request.query.get('error', 'it gave no code'))[:100]}")
        answer = await self._exchange(request.query["code"], verifier)
        claims = await self._claims(str(answer.get("id_token", "")), nonce, str(answer.get("access_token", "")))
        return self._named(claims, peer), str(wanted)

    async def _exchange(self, code: str, verifier: str) -> Mapping[str, Any]:
        metadata = await self._provider()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": verifier,
        }
        # RFC 6749, 2.3.1: both are form-encoded first; what is special in them must not be taken for the colon.
        pair = b64encode(f"{quote_plus(self._client_id)}:{quote_plus(self._secret)}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
        return await self._ask("POST", metadata["token_endpoint"], headers=headers, data=form)

    async def _claims(self, token: str, nonce: str, access_token: str) -> CodeIDToken:
        """Return what the provider says of somebody.

        Raises:
            BadLogin: It does not say that, or not to us, or not now.
        """
        await self._provider()
        try:
            try:
                decoded = jwt.decode(token, self._keys, algorithms=_ALGORITHMS)
            except (JoseError, ValueError):
                if not await self._keys_again():
                    raise
                decoded = jwt.decode(token, self._keys, algorithms=_ALGORITHMS)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                {"nonce": nonce, "client_id": self._client_id, "access_token": access_token},
            )
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise BadLogin(f"the provider's token is not good: {plain(type(error).__name__)}") from None
        return claims

    def _named(self, claims: Mapping[str, Any], peer: str) -> Person:
        settings = self._settings
        told: Any = claims
        for part in settings.oidc_role_claim.split("."):
            told = told.get(part) if isinstance(told, dict) else None
        several = told if isinstance(told, list) else [told]
        has = {one for one in several if isinstance(one, str)}
        name = next((str(claims[key]) for key in (settings.oidc_name_claim, "email", "sub") if claims.get(key)), "")
        called = f"oidc:{plain(name)[:_NAME_LENGTH]}"  # no account of our own can be called so
        for role, values in ((Role.OPERATOR, settings.oidc_operators), (Role.VIEWER, settings.oidc_viewers)):
            if has & {value.strip() for value in values.split(",") if value.strip()}:
                return Person(called, role, None, peer)
        raise BadLogin(f"{called} has no role here: {plain(settings.oidc_role_claim)} names none of ours")

    async def _provider(self) -> Mapping[str, Any]:
        """Return the provider's metadata, and have its keys.

        Raises:
            ProviderAway: It does not say.
        """
        async with self._asking:
            if time.monotonic() - self._failed_at < _AWAY_SECONDS:
                raise ProviderAway("the provider did not answer a moment ago")
            if time.monotonic() - self._metadata_at > _KNOWN_SECONDS:
                self._failed_at = time.monotonic()  # unless it answers: many who log in don't wait one after the other
                url = self._configuration
                metadata = await self._ask("GET", url)
                wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
                if metadata.get("issuer") != self._issuer or not all(isinstance(metadata.get(k), str) for k in wanted):
                    raise ProviderAway(f"{url} is not the configuration of {self._issuer}")
                await self._take_keys(metadata["jwks_uri"])
                self._metadata, self._metadata_at, self._failed_at = metadata, time.monotonic(), -float("inf")
            return self._metadata

    async def _keys_again(self) -> bool:
        async with self._asking:
            if time.monotonic() - self._keys_at < _KEYS_AGAIN_SECONDS:
                return False
            await self._take_keys(self._metadata["jwks_uri"])
            return True

    async def _take_keys(self, url: str) -> None:
        try:
            self._keys = KeySet.import_key_set(await self._ask("GET", url))  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError):
            raise ProviderAway(f"{url} has no keys to read") from None
        self._keys_at = time.monotonic()

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's own
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as http,
                http.request(method, url, allow_redirects=False, **more) as response,
            ):
                body = b""
                async for piece in response.content.iter_chunked(1 << 16):
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise ProviderAway(f"the provider answers with more than {_MOST_BYTES} bytes")
                if response.status in {400, 401, 403} and method == "POST":
                    raise BadLogin(f"the provider refuses the code or our secret: {response.status}")
                if response.status != 200:  # noqa: PLR2004 - what else is there
                    raise ProviderAway(f"the provider answers {response.status}")
                answer = orjson.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise ProviderAway(f"the provider can't be asked: {type(error).__name__}") from None
        if not isinstance(answer, dict):
            raise ProviderAway("the provider answers with something else than an object")
        return answer
