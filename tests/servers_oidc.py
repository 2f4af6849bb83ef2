"""OpenID Connect providers for tests, a real one and one that lies, and a browser that logs in there."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from free_ports import accepts, pick_free
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from servers_access import Guarded, OpenGuarded
from sites import site

SECRET = "a secret: with % and +"
PROVIDER = Path(__file__).parents[1] / ".venv" / "clients" / "provider"
ROLES = {
    "oidc_client_id": "roadvault",
    "oidc_client_secret": SecretStr(SECRET),
    "oidc_role_claim": "groups",
    "oidc_operators": "vault-operators, other",
    "oidc_viewers": "vault-viewers",
}
FORM = re.compile(r'<form[^>]*action="([^"]+)"')


@pytest.fixture
async def provider() -> AsyncIterator[tuple[str, int]]:
    """Run panva's oidc-provider; yield its issuer, and the port that it leads back to."""
    port, ours = pick_free(2)
    child = await asyncio.create_subprocess_exec(
        "node", "provider.js", str(port), f"http://127.0.0.1:{ours}/login/callback", SECRET, cwd=PROVIDER
    )
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(accepts, port):
                assert child.returncode is None
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}", ours
    finally:
        child.kill()
        await child.wait()


async def log_in(guarded: Guarded, subject: str, path: str = "/file?before=9") -> tuple[int, str, str]:
    """Log in as a person with a browser without scripts does; return where they end: status, URL and page."""
    async with guarded.http.get(f"{guarded.url}{path}") as response:  # leads to the log-in
        page = await response.text()
    link = re.search(r'href="(/login/oidc[^"]*)"', page)
    assert link is not None
    async with guarded.http.get(guarded.url + link[1]) as response:
        at, page = str(response.url), await response.text()
    for fields in ({"prompt": "login", "login": subject, "password": "any"}, {"prompt": "consent"}):
        form = FORM.search(page)
        assert form is not None, page
        async with guarded.http.post(form[1], data=fields, headers={"Referer": at}) as response:
            at, page, code = str(response.url), await response.text(), response.status
    return code, at, page


@dataclass
class Liar:
    """A provider whose answers can be bent."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    served: RSAKey | None = None
    """The key that it shows, if that is another."""
    claims: dict[str, Any] = field(default_factory=dict)
    """What its tokens say instead."""
    header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    challenge: str = ""
    token: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    mood: str = "answers"
    """It may be that it `errs` or `hangs` as well."""
    configured: int = 0
    """Times that its configuration was asked for."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/.well-known/openid-configuration", self._configuration),
            web.get("/keys", self._keys),
            web.post("/token", self._token),
        ]

    async def _configuration(self, _: web.Request) -> web.Response:
        self.configured += 1
        if self.mood == "hangs":
            await asyncio.sleep(1)
        if self.mood != "answers":
            return web.Response(status=500)
        told = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return web.json_response({**told, **self.metadata})

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [(self.served or self.key).as_dict(private=False)]})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append({**form, "auth": request.headers.get("Authorization", "")})
        now = int(time.time())
        claims = {
            "iss": self.url, "sub": "s-1", "aud": "roadvault", "iat": now, "exp": now + 60, "nonce": self.nonce,
            "groups": ["vault-viewers"], "preferred_username": "anna", **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "1", **self.header}
        token = jwt.encode(header, claims, self.key) if self.token is None else self.token
        return web.json_response({"access_token": "at", "token_type": "Bearer", "id_token": token})


@asynccontextmanager
async def lying(open_guarded: OpenGuarded, **more: object) -> AsyncIterator[tuple[Liar, Guarded]]:
    liar, (port,) = Liar(), pick_free(1)
    async with site(liar.routes()) as liar.url:
        url = f"http://127.0.0.1:{port}"
        async with open_guarded(port=port, oidc_issuer=liar.url, intranet_url=url, **{**ROLES, **more}) as guarded:
            yield liar, guarded


async def begin(liar: Liar, guarded: Guarded) -> dict[str, str]:
    """Go to the provider; return what it was asked."""
    async with guarded.http.get(f"{guarded.url}/login/oidc?next=/zip", allow_redirects=False) as response:
        assert response.status == 303
        where = response.headers["Location"]
    assert where.startswith(f"{liar.url}/auth?tenant=1&")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
    liar.nonce, liar.challenge = asked["nonce"], asked["code_challenge"]
    return asked


async def back(guarded: Guarded, **query: str) -> tuple[int, str]:
    async with guarded.http.get(
        f"{guarded.url}/login/callback", params=query, allow_redirects=False, headers={"Accept-Language": "en"}
    ) as response:
        page = await response.text()
        assert response.status == 303 or ("Log in" in page and "<html" in page)
        return response.status, response.headers.get("Location", "")
