"""People log in by an OpenID Connect provider: a real one, and one that lies."""

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from free_ports import pick_free
from joserfc.jwk import RSAKey
from pydantic import ValidationError
from servers_access import Guarded, OpenGuarded
from servers_oidc import ROLES, SECRET, back, begin, log_in, lying

from roadvault_ingest.access import oidc
from roadvault_ingest.config import IngestSettings


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
