"""People log in, see and do what their role lets them, and are out when they or an operator say so."""

import asyncio
import re
import secrets
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from servers_access import Guarded, OpenGuarded
from servers_operator import Console
from servers_process import Running

from roadvault_common.access import passwords, user_store
from roadvault_common.access.scopes import Role
from roadvault_ingest.access import cache, guess_store
from roadvault_stack.mariadb import MariaDB

WORDS = "correct horse battery staple"


async def add(guarded: Guarded, name: str, role: Role = Role.VIEWER, password: str = WORDS) -> None:
    hashed = await asyncio.to_thread(passwords.hashed, password, name)
    await guarded.db.transact(lambda tx: user_store.add(tx, name, role, hashed))


async def log_in(
    guarded: Guarded, name: str, password: str = WORDS, language: str = "en", **more: str
) -> tuple[int, str, str]:
    """Log in, as a form does; return the status, where it leads, and the page."""
    data = {"name": name, "password": password}
    async with guarded.http.post(
        f"{guarded.url}/login", data=data, params=more, headers={"Accept-Language": language}, allow_redirects=False
    ) as response:
        return response.status, response.headers.get("Location", ""), await response.text()


async def status(guarded: Guarded, path: str, method: str = "GET", **more: Any) -> int:  # noqa: ANN401 - aiohttp's own
    async with guarded.http.request(method, guarded.url + path, allow_redirects=False, **more) as response:
        return response.status


async def test_a_viewer_sees_and_an_operator_does(guarded: Guarded) -> None:
    number = await guarded.file_id()
    for name, role in (("anna", Role.OPERATOR), ("victor", Role.VIEWER)):
        await add(guarded, name, role)
        assert await log_in(guarded, name, next="/zip?before=7") == (303, "/zip?before=7", "303: See Other")
        for path in ("/", "/file", f"/file/{number}", "/zip", f"/api/open/file/{number}"):
            assert await status(guarded, path) == 200, path
        operates = role is Role.OPERATOR
        assert await status(guarded, "/audit") == (200 if operates else 403)
        fields = {"stage": "pack", "id": "1"}
        assert await status(guarded, "/retry", "POST", data=fields) == (303 if operates else 403)
        asked = {"cbUrl": "http://127.0.0.1:1/"}
        assert await status(guarded, f"/file/{number}/ask", "POST", data=asked) == (303 if operates else 403)
        uploaded, _ = await guarded.upload(None)
        assert uploaded == (200 if operates else 403)
        async with guarded.http.get(guarded.url) as response:
            page = await response.text()
            assert name in page
            assert ('href="/audit"' in page) is operates
            assert ('href="/upload"' in page) is operates
            assert response.headers["Cache-Control"] == "no-store"
        async with guarded.http.get(f"{guarded.url}/file/{number}") as response:
            assert (f'action="/file/{number}/ask"' in await response.text()) is operates
    rows = await guarded.db.fetch_all("SELECT facts FROM custody_info WHERE act = 'asked'")
    assert [("anna" in row["facts"], "victor" in row["facts"]) for row in rows] == [(True, False)]


async def test_behind_a_proxy_each_client_is_itself(open_guarded: OpenGuarded) -> None:
    async with open_guarded(proxies="127.0.0.1") as guarded:
        await add(guarded, "anna")
        for client, password, code in (
            *[("10.0.0.1", "wrong", 403)] * 5,
            ("10.0.0.1", WORDS, 429),
            ("10.0.0.2", WORDS, 303),
        ):
            data, headers = {"name": "anna", "password": password}, {"X-Forwarded-For": client}
            assert await status(guarded, "/login", "POST", data=data, headers=headers) == code
        headers = {"X-Forwarded-For": "10.0.0.3", "Authorization": "Bearer rvt_none"}
        assert await status(guarded, "/api/open/files", headers=headers) == 401
        acts = await guarded.acts()
        assert {(line["peer"], line["act"]) for line in acts} == {
            ("10.0.0.1", "refused"),
            ("10.0.0.2", "log in"),
            ("10.0.0.3", "refused"),
        }


async def test_what_is_wrong_is_told_on_a_page_in_the_readers_language(guarded: Guarded) -> None:
    await add(guarded, "anna")
    for language, words, pages in (
        ("en", "The name or the password is wrong", 'lang="en"'),
        ("zh", "用户名或密码错误", 'lang="zh-CN"'),
    ):
        for name, password in (("anna", "wrong"), ("nobody", WORDS), ("", ""), ("<b>", "x"), ("anna", WORDS + " ")):
            code, _, page = await log_in(guarded, name, password, language)
            assert (code, words in page, pages in page) == (403, True, True), name
            assert "<b>" not in page
        async with guarded.http.get(f"{guarded.url}/login", headers={"Accept-Language": language}) as response:
            assert response.headers["Cache-Control"] == "no-store"
            assert "<script" in (page := await response.text())
            assert re.search(r'<form method="post" action="/login\?next=/"', page)
    lines = await guarded.acts()
    assert {(line["name"], line["act"], line["subject"], line["outcome"]) for line in lines} == {
        ("anna", "refused", "log in", "wrong password"),
        ("", "refused", "log in", "no such name"),
    }


async def test_a_page_leads_to_the_log_in_and_back_and_nowhere_else(guarded: Guarded) -> None:
    await add(guarded, "anna")
    async with guarded.http.get(f"{guarded.url}/file?before=9", allow_redirects=False) as response:
        assert response.headers["Location"] == "/login?next=/file?before%3D9"
    async with guarded.http.get(f"{guarded.url}/file?before=9") as response:
        assert 'action="/login?next=/file%3Fbefore%3D9"' in await response.text()
    _, _, page = await log_in(guarded, "anna", "wrong", next="/zip")
    assert 'action="/login?next=/zip"' in page
    for wanted in (
        "//evil.example/",
        "/\\evil.example",
        "http://evil.example/",
        "javascript:alert(1)",
        "//[",
        "/\n/evil",
        "",
    ):
        code, where, _ = await log_in(guarded, "anna", next=wanted)
        assert (code, where) == (303, "/"), wanted
        await status(guarded, "/logout", "POST")


async def test_the_cookie_is_the_browsers_alone(guarded: Guarded, open_guarded: OpenGuarded) -> None:
    await add(guarded, "anna")
    async with open_guarded(intranet_url="https://vault.example", ingest_worker="tls") as behind_tls:
        for one, name, secure in ((guarded, "roadvault", False), (behind_tls, "__Host-roadvault", True)):
            fields = {"name": "anna", "password": WORDS}
            async with one.http.post(f"{one.url}/login", data=fields, allow_redirects=False) as response:
                cookies: SimpleCookie = response.cookies
                cookie = cookies[name]
                assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
                assert bool(cookie["secure"]) is secure
                assert not cookie["max-age"]
                stored = str(await guarded.db.fetch_all("SELECT * FROM session_info"))
                assert cookie.value not in stored


async def test_who_logs_out_is_out_on_all_processes(
    guarded: Guarded, open_guarded: OpenGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SECONDS", 0.3)
    await add(guarded, "anna", Role.OPERATOR)
    await log_in(guarded, "anna")
    (cookie,) = [one for one in guarded.http.cookie_jar if one.key == "roadvault"]
    kept = {"Cookie": f"roadvault={cookie.value}"}
    async with open_guarded(ingest_worker="second") as second, aiohttp.ClientSession() as thief:
        for one in (guarded, second):
            async with thief.get(f"{one.url}/audit", headers=kept) as response:
                assert response.status == 200
        async with guarded.http.post(f"{guarded.url}/logout", headers={"Accept-Language": "en"}) as response:
            assert "You are logged out" in await response.text()
        await asyncio.sleep(0.4)
        for one in (guarded, second):
            async with thief.get(f"{one.url}/audit", headers=kept, allow_redirects=False) as response:
                assert response.status == 303
    lines = await guarded.acts()
    assert [(line["name"], line["act"]) for line in lines if line["act"] != "refused"] == [
        ("anna", "log in"),
        ("anna", "log out"),
    ]


async def test_a_page_of_another_site_logs_nobody_in_or_out(guarded: Guarded) -> None:
    await add(guarded, "anna")
    for path in ("/login", "/logout", "/retry"):
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
            data = {"name": "anna", "password": WORDS}
            assert await status(guarded, path, "POST", headers=headers, data=data) == 403, path
    assert await guarded.count("session_info") == 0


async def test_sessions_end_when_idle_and_whatever_happens(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SECONDS", 0.0)
    await add(guarded, "anna")
    for column in ("idle_ends_at", "ends_at"):
        await log_in(guarded, "anna")
        assert await status(guarded, "/") == 200
        await guarded.db.execute(f"UPDATE session_info SET {column} = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")  # noqa: S608
        assert await status(guarded, "/") == 303
        await guarded.access.guard.note_uses()  # which brings back none that is over
        assert await status(guarded, "/") == 303
        await guarded.db.execute("DELETE FROM session_info")
    await log_in(guarded, "anna")
    await status(guarded, "/")
    await guarded.db.execute("UPDATE session_info SET idle_ends_at = UTC_TIMESTAMP(6) + INTERVAL 5 SECOND")
    await guarded.access.guard.note_uses()
    left = await guarded.db.fetch_value(
        "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), idle_ends_at) FROM session_info"
    )
    assert left > 7000
    await guarded.db.execute("UPDATE session_info SET idle_ends_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY")
    await guarded.access.sessions.remove_ended()
    assert await guarded.count("session_info") == 0


async def test_wrong_passwords_are_bounded_for_each_address_and_name(guarded: Guarded) -> None:
    await add(guarded, "anna")
    await add(guarded, "boris")
    for _ in range(5):
        assert (await log_in(guarded, "anna", "wrong"))[0] == 403
    code, _, page = await log_in(guarded, "anna")
    assert code == 429
    assert "Too many attempts" in page
    assert (await log_in(guarded, "boris"))[0] == 303  # another name, from the same address
    await guarded.db.execute("UPDATE guess_info SET since = since - INTERVAL 16 MINUTE")
    assert (await log_in(guarded, "anna"))[0] == 303
    for number in range(30):
        assert (await log_in(guarded, f"name-{number}", "wrong"))[0] in {403, 429}
    assert (await log_in(guarded, "boris"))[0] == 429
    await guarded.db.execute("UPDATE guess_info SET since = since - INTERVAL 1 DAY")
    await guess_store.remove_old(guarded.db)
    assert await guarded.count("guess_info") == 0


async def test_of_many_passwords_at_once_no_more_are_looked_at(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(guarded, "anna")
    looked = [0]

    def right(_kept: str | None, _password: str) -> bool:
        looked[0] += 1
        return False

    monkeypatch.setattr(passwords, "right", right)
    codes = await asyncio.gather(*(log_in(guarded, "anna", f"wrong {n}") for n in range(25)))
    assert looked == [5]
    assert sorted({code for code, _, _ in codes}) == [403, 429]


async def test_without_the_database_nobody_logs_in(guarded: Guarded, mariadb: Running[MariaDB]) -> None:
    await add(guarded, "anna")
    await asyncio.to_thread(mariadb.stop)
    code, _, page = await log_in(guarded, "anna")
    assert (code, "not possible right now" in page) == (503, True)
    await asyncio.to_thread(mariadb.start)
    assert (await log_in(guarded, "anna"))[0] == 303


async def test_roadvault_user_makes_changes_and_removes_accounts(
    console: Console, guarded: Guarded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "SECONDS", 0.0)
    password, file = secrets.token_urlsafe(12), tmp_path / "password"
    file.write_text(f"{password}\n")
    for arguments, said in (
        (("add", "anna", "--role", "operator", "--password-file", file), "anna can log in, as operator"),
        (("add", "boris", "--password-file", file), "boris can log in, as viewer"),
    ):
        assert said in await console.says("user", *arguments)
    assert "already" in await console.refuses("user", "add", "anna", "--password-file", file)
    (tmp_path / "short").write_text("short\n")
    assert "12 to 1000" in await console.refuses("user", "add", "carl", "--password-file", tmp_path / "short")
    assert (await log_in(guarded, "anna", password))[0] == 303
    listed = await console.says("user", "list")
    assert re.search(r"anna\s*│ operator\s*│.*│ 1", listed)
    assert password not in listed
    await console.says("user", "role", "anna", "viewer")
    assert await status(guarded, "/audit") == 403
    file.write_text(f"{password}2")
    await console.says("user", "passwd", "anna", "--password-file", file)
    assert await status(guarded, "/") == 303
    assert (await log_in(guarded, "anna", password))[0] == 403
    assert (await log_in(guarded, "anna", f"{password}2"))[0] == 303
    await console.says("user", "remove", "anna")
    assert await status(guarded, "/") == 303
    assert "no account" in await console.refuses("user", "remove", "anna")
    assert "not logged in" in await console.refuses("user", "remove", "oidc:anna")
    lines = [line for line in await guarded.acts() if line["kind"] == "console"]
    assert [(line["act"], line["subject"]) for line in lines] == [
        ("user added", "anna: operator"),
        ("user added", "boris: viewer"),
        ("role changed", "anna: viewer"),
        ("password changed", "anna"),
        ("user removed", "anna"),
    ]
    stored = str(await guarded.db.fetch_all("SELECT * FROM user_info"))
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in stored


async def test_the_log_of_acts_turns_by_key(guarded: Guarded) -> None:
    await add(guarded, "anna", Role.OPERATOR)
    await log_in(guarded, "anna")
    values = ", ".join(
        f"('token', 't-{n}', '192.0.2.1', 'retry', '{'file 17' if n == 250 else '<b>'}', 'done')" for n in range(251)
    )
    await guarded.db.execute(f"INSERT INTO act_info (kind, name, peer, act, subject, outcome) VALUES {values}")  # noqa: S608
    seen: list[str] = []
    path: str | None = "/audit"
    while path:
        async with guarded.http.get(guarded.url + path, headers={"Accept-Language": "zh"}) as response:
            page = await response.text()
        assert "<b>" not in page
        seen += re.findall(r"令牌 <bdi>t-(\d+)</bdi>", page)
        older = re.search(r'href="(/audit\?before=\d+)"', page)
        path = older[1] if older else None
        if len(seen) <= 100:
            assert '<a href="/file/17">file 17</a>' in page
    assert seen == [str(n) for n in range(250, -1, -1)]


async def test_where_nobody_is_asked_nobody_logs_in(open_guarded: OpenGuarded) -> None:
    async with open_guarded(auth=False) as office:
        for method, path in (("GET", "/login"), ("POST", "/login"), ("POST", "/logout"), ("GET", "/login/oidc")):
            async with office.http.request(method, office.url + path, allow_redirects=False) as response:
                assert (response.status, response.headers["Location"]) == (303, "/"), path
