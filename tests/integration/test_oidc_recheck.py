"""Who is what at the provider is asked anew: a role that was taken there ends here, soon, and no work is lost by it."""

import pytest
from servers_access import Guarded, OpenGuarded
from servers_oidc import FORM, ROLES, back, begin, log_in, lying

from roadvault_ingest.access import oidc

RECHECK = 900


async def grows_old(guarded: Guarded, seconds: float) -> None:
    """Have so many seconds pass since the provider said who somebody is."""
    await guarded.db.execute("UPDATE session_info SET create_time = UTC_TIMESTAMP(6) - INTERVAL %s SECOND", (seconds,))
    guarded.access.sessions._known._known.clear()


async def opens(guarded: Guarded, path: str = "/zip?x=1") -> tuple[int, str]:
    async with guarded.http.get(guarded.url + path, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", "")


async def retries(guarded: Guarded) -> tuple[int, str]:
    """Send a form of a page; return the status, and where that leads."""
    url = f"{guarded.url}/retry"
    async with guarded.http.post(url, data={"stage": "pack", "id": "1"}, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", "")


async def logged_in(liar: object, guarded: Guarded) -> None:
    asked = await begin(liar, guarded)  # type: ignore[arg-type]
    assert await back(guarded, code="c", state=asked["state"]) == (303, "/zip")


async def test_a_real_provider_lets_them_go_on_without_a_password_until_it_has_forgotten_them(
    open_guarded: OpenGuarded, provider: tuple[str, int]
) -> None:
    issuer, port = provider
    url = f"http://127.0.0.1:{port}"
    async with open_guarded(port=port, oidc_issuer=issuer, intranet_url=url, **ROLES) as guarded:
        code, at, page = await log_in(guarded, "anna+vault-operators")
        assert code == 200, page
        (before,) = await guarded.db.fetch_all("SELECT session_id FROM session_info")
        await grows_old(guarded, RECHECK)
        async with guarded.http.get(at) as response:
            assert (response.status, str(response.url)) == (200, at), await response.text()
        (after,) = await guarded.db.fetch_all("SELECT session_id FROM session_info")
        assert before != after
        # Logged out there, as is whoever is removed: it asks who they are, and nothing of ours is shown.
        guarded.http.cookie_jar.clear(lambda cookie: cookie["path"] != "/" or cookie.key.startswith("_"))
        await grows_old(guarded, RECHECK)
        async with guarded.http.get(at) as response:
            assert str(response.url).startswith(issuer)
            assert FORM.search(await response.text())


async def test_a_role_that_was_taken_ends_the_session_and_is_told(open_guarded: OpenGuarded) -> None:
    async with lying(open_guarded) as (liar, guarded):
        await logged_in(liar, guarded)
        liar.claims = {"groups": ["strangers"]}
        await grows_old(guarded, RECHECK - 60)
        assert (await opens(guarded))[0] == 200
        await grows_old(guarded, RECHECK)
        assert await opens(guarded) == (303, "/login/oidc?next=/zip?x%3D1")
        asked = await begin(liar, guarded)
        callback = f"{guarded.url}/login/callback"
        query = {"code": "c", "state": asked["state"]}
        async with guarded.http.get(callback, params=query, headers={"Accept-Language": "en"}) as response:
            assert (response.status, "you are logged out" in await response.text()) == (403, True)
        assert await guarded.count("session_info") == 0
        assert await opens(guarded) == (303, "/login?next=/zip?x%3D1")
        assert "has no role here" in str((await guarded.acts())[-1]["outcome"])


async def test_another_role_is_taken_over(open_guarded: OpenGuarded) -> None:
    async with lying(open_guarded) as (liar, guarded):
        await logged_in(liar, guarded)
        assert (await opens(guarded, "/audit"))[0] == 403
        liar.claims = {"groups": ["vault-operators"]}
        await grows_old(guarded, RECHECK)
        await logged_in(liar, guarded)
        assert (await opens(guarded, "/audit"))[0] == 200


async def test_what_is_sent_meanwhile_is_done_for_as_long_again_and_no_longer(open_guarded: OpenGuarded) -> None:
    async with lying(open_guarded) as (liar, guarded):
        liar.claims = {"groups": ["vault-operators"]}
        await logged_in(liar, guarded)
        await grows_old(guarded, 2 * RECHECK - 60)
        done, where = await retries(guarded)
        assert "/login" not in where, done
        status, _, _ = await guarded.ask("GET", "/api/open/files")
        assert status == 200
        await grows_old(guarded, 2 * RECHECK)
        assert await retries(guarded) == (303, "/login/oidc?next=/")
        assert (await guarded.ask("GET", "/api/open/files"))[0] == 401


async def test_a_provider_that_is_away_ends_nothing_for_a_while(
    open_guarded: OpenGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(oidc, "_LOOK_PATIENCE_SECONDS", 0.3)
    async with lying(open_guarded) as (liar, guarded):
        await logged_in(liar, guarded)
        for answer in ("errs", "hangs"):
            liar.mood = answer
            await grows_old(guarded, 2 * RECHECK - 60)
            assert (await opens(guarded))[0] == 200
            await grows_old(guarded, 2 * RECHECK)
            assert await opens(guarded) == (303, "/login/oidc?next=/zip?x%3D1")
            async with guarded.http.get(f"{guarded.url}/login/oidc", headers={"Accept-Language": "en"}) as response:
                assert (response.status, "not possible right now" in await response.text()) == (503, True)
        liar.mood = "answers"
        await logged_in(liar, guarded)
        assert (await opens(guarded))[0] == 200


async def test_two_pages_that_are_led_there_at_once_come_back_both(open_guarded: OpenGuarded) -> None:
    async with lying(open_guarded) as (liar, guarded):
        await logged_in(liar, guarded)
        await grows_old(guarded, RECHECK)
        first, second = await begin(liar, guarded), await begin(liar, guarded)
        assert await back(guarded, code="c", state=first["state"]) == (303, "/")
        assert await back(guarded, code="c", state=second["state"]) == (303, "/zip")
        assert await back(guarded, code="c", state=first["state"]) == (303, "/")
        assert await guarded.count("session_info") == 1


async def test_accounts_of_our_own_are_not_asked_about(open_guarded: OpenGuarded) -> None:
    async with lying(open_guarded, oidc_recheck_seconds=60) as (_, guarded):
        await guarded.db.execute("INSERT INTO user_info (name, role, password) VALUES ('anna', 'viewer', 'x')")
        await guarded.db.execute(
            "INSERT INTO session_info (hash, user_id, name, role, idle_ends_at, ends_at) SELECT"
            " UNHEX(SHA2(%s, 256)), user_id, 'anna', 'viewer', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR,"
            " UTC_TIMESTAMP(6) + INTERVAL 1 HOUR FROM user_info",
            ("x" * 43,),
        )
        await grows_old(guarded, 3000)
        headers = {"Cookie": f"roadvault={'x' * 43}"}
        assert (await guarded.ask("GET", "/zip", headers))[0] == 200
