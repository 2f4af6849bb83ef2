"""People log in by an OpenID Connect provider: a real one, and one that lies."""

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
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from free_ports import accepts, pick_free
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr, ValidationError
from servers_access import Guarded, OpenGuarded
from sites import site

from roadvault_ingest.access import oidc
from roadvault_ingest.config import IngestSettings

SECRET = "a secret: with % and +"
PROVIDER = Path(__file__).parents[2] / ".venv" / "clients" / "provider"
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


async def test_people_of_a_real_provider_get_the_role_of_their_group(
    open_guarded: OpenGuarded, provider: tuple[str, int]
) -> None:
    issuer, port = provider
    url = f"http://127.0.0.1:{port}"
    async with open_guarded(port=port, oidc_issuer=issuer, intranet_url=url, **ROLES) as guarded:
        for subject, audit in (("anna+vault-operators", 200), ("victor+vault-viewers+x", 403)):
            guarded.http.cookie_jar.clear()
            code, at, page = await log_in(guarded, subject)
            assert (code, at) == (200, f"{url}/file?before=9"), page
            assert f"oidc:{subject.split('+')[0]}" in page
            async with guarded.http.get(f"{url}/audit") as response:
                assert response.status == audit
        rows = await guarded.db.fetch_all("SELECT name, role, user_id FROM session_info ORDER BY session_id")
        assert [(row["name"], row["role"], row["user_id"]) for row in rows] == [
            ("oidc:anna", "operator", None),
            ("oidc:victor", "viewer", None),
        ]
        guarded.http.cookie_jar.clear()
        code, at, page = await log_in(guarded, "eve+strangers")
        assert (code, urlsplit(at).path, "The log-in was refused" in page) == (403, "/login/callback", True)
        assert [line["outcome"] for line in await guarded.acts() if line["subject"] == "log in"] == [
            "oidc:eve has no role here: groups names none of ours"
        ]


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


async def test_what_is_asked_is_bound_to_this_browser_and_to_this_log_in(open_guarded: OpenGuarded) -> None:
    async with lying(open_guarded) as (liar, guarded):
        asked = await begin(liar, guarded)
        again = await begin(liar, guarded)
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == f"{guarded.url}/login/callback"
        for name in ("state", "nonce", "code_challenge"):
            assert len(asked[name]) >= 43
            assert asked[name] != again[name]
        assert await back(guarded, code="c", state=asked["state"]) == (403, "")  # of the one before
        assert await back(guarded, code="c", state=again["state"], iss="http://evil.example") == (403, "")
        assert await back(guarded, state=again["state"], error="access_denied") == (403, "")
        assert await back(guarded) == (403, "")
        assert not liar.asked
        assert await back(guarded, code="c", state=again["state"], iss=liar.url) == (303, "/zip")
        (sent,) = liar.asked
        assert create_s256_code_challenge(sent["code_verifier"]) == again["code_challenge"]
        assert sent["auth"].startswith("Basic ")
        assert SECRET not in str(sent)
        guarded.http.cookie_jar.clear()
        assert await back(guarded, code="c", state=again["state"]) == (403, "")  # another browser


LIES: list[dict[str, Any]] = [
    {"claims": {"iss": "http://evil.example"}},
    {"claims": {"iss": None}},
    {"claims": {"aud": "another"}},
    {"claims": {"aud": ["another", "roadvault"]}},  # without azp
    {"claims": {"aud": ["another", "roadvault"], "azp": "another"}},
    {"claims": {"aud": None}},
    {"claims": {"nonce": "another"}},
    {"claims": {"nonce": None}},
    {"claims": {"exp": int(time.time()) - 3600}},
    {"claims": {"exp": None}},
    {"claims": {"iat": int(time.time()) + 3600}},
    {"claims": {"groups": ["strangers"]}},
    {"claims": {"groups": {"vault-operators": True}}},
    {"claims": {"groups": None}},
    {"served": RSAKey.generate_key(2048, {"kid": "1"})},
    {"header": {"kid": "2"}},
    {"token": "x"},
    {"token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzLTEifQ."},
    {"token": ""},
]


@pytest.mark.parametrize("lie", LIES, ids=[f"lie {number}" for number in range(len(LIES))])
async def test_what_is_not_as_it_should_be_lets_nobody_in(open_guarded: OpenGuarded, lie: dict[str, Any]) -> None:
    async with lying(open_guarded) as (liar, guarded):
        for name, value in lie.items():
            setattr(liar, name, value)
        asked = await begin(liar, guarded)
        assert await back(guarded, code="c", state=asked["state"]) == (403, "")
        assert await guarded.count("session_info") == 0


async def test_an_expired_log_in_is_refused(open_guarded: OpenGuarded, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lying(open_guarded) as (liar, guarded):
        asked = await begin(liar, guarded)
        monkeypatch.setattr(oidc, "_LOGIN_SECONDS", -1)
        assert await back(guarded, code="c", state=asked["state"]) == (403, "")


async def test_keys_that_the_provider_has_changed_are_asked_for_anew(
    open_guarded: OpenGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lying(open_guarded) as (liar, guarded):
        asked = await begin(liar, guarded)
        liar.key = RSAKey.generate_key(2048, {"kid": "2"})
        liar.header = {"kid": "2"}
        assert await back(guarded, code="c", state=asked["state"]) == (403, "")  # asked for a moment ago
        monkeypatch.setattr(oidc, "_KEYS_AGAIN_SECONDS", 0)
        asked = await begin(liar, guarded)
        assert await back(guarded, code="c", state=asked["state"]) == (303, "/zip")


async def test_a_provider_that_is_away_or_another_is_told_on_a_page(
    open_guarded: OpenGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lying(open_guarded) as (liar, guarded):
        liar.metadata = {"issuer": "http://evil.example"}
        codes = await asyncio.gather(*(_go(guarded) for _ in range(20)))
        assert set(codes) == {503}
        assert liar.configured == 1  # and the others were told so at once
        monkeypatch.setattr(oidc, "_AWAY_SECONDS", 0)
        for metadata in ({"issuer": "http://evil.example"}, {"token_endpoint": None}, {"jwks_uri": liar.url}):
            liar.metadata = metadata
            assert await _go(guarded) == 503
        liar.metadata = {"padding": "x" * (2 << 20)}
        assert await _go(guarded) == 503
        liar.metadata = {"padding": "x" * 600_000}  # which comes in several pieces
        await begin(liar, guarded)
    (port,) = pick_free(1)
    nobody = f"http://127.0.0.1:{pick_free(1)[0]}"
    async with (
        open_guarded(oidc_issuer=nobody, intranet_url=f"http://127.0.0.1:{port}", **ROLES) as guarded,
        guarded.http.get(f"{guarded.url}/login/oidc") as response,
    ):
        assert (response.status, "not possible right now" in await response.text()) == (503, True)


async def _go(guarded: Guarded) -> int:
    async with guarded.http.get(f"{guarded.url}/login/oidc", allow_redirects=False) as response:
        return response.status


async def test_a_role_may_lie_deeper(open_guarded: OpenGuarded) -> None:
    more = {"oidc_role_claim": "realm_access.roles", "oidc_name_claim": "nick"}
    async with lying(open_guarded, **more) as (liar, guarded):
        liar.claims = {"realm_access": {"roles": ["other"]}, "groups": None, "email": "<b>\u202eanna"}
        asked = await begin(liar, guarded)
        assert await back(guarded, code="c", state=asked["state"]) == (303, "/zip")
        async with guarded.http.get(guarded.url) as response:
            assert "oidc:&lt;b&gt;\ufffdanna" in await response.text()


def refused(**values: object) -> str:
    common = {"database_url": "mysql://u@h/d", "redis_url": "redis://h", "data_dir": "/d", "oidc_issuer": "https://i"}
    with pytest.raises(ValidationError) as caught:
        IngestSettings.model_validate({**common, **values})
    return str(caught.value)


def test_settings_that_would_let_nobody_in_or_anybody_are_refused() -> None:
    url = "https://v.example"
    assert "OIDC_CLIENT_ID" in refused()
    assert "who is let in" in refused(**{**ROLES, "intranet_url": url, "oidc_operators": "", "oidc_viewers": ""})
    assert "must be https" in refused(**{**ROLES, "intranet_url": url, "oidc_issuer": "http://i"})
    assert "INTRANET_URL" in refused(**{**ROLES, "intranet_url": "v.example"})
    assert "INTRANET_URL" in refused(**ROLES)
