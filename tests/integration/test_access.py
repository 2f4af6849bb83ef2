"""Who may do what: every route asks, tokens are good for what they were made for, and for no longer."""

import asyncio
import json
from base64 import b64encode

import aiohttp
import pytest
from aiohttp import web
from servers_access import FILE, HEALTH, Guarded, OpenGuarded, path_of
from servers_ingest import answer_of
from servers_process import Running
from servers_services import Services

from roadvault_common.access import token_store
from roadvault_common.access.scopes import Scope
from roadvault_common.access.tokens import checked_grant, new_token
from roadvault_common.sql.db import Database
from roadvault_ingest.access import cache
from roadvault_ingest.access.routes import OPEN, RULES, Rule, rule_of
from roadvault_stack.mariadb import MariaDB


def rules(guarded: Guarded) -> dict[tuple[str, str], Rule]:
    """Return what each route that there is asks for."""
    names = [(route.method, web.UrlDispatcher().add_resource(route.path).canonical) for route in guarded.routes]
    return {name: RULES[name] for name in names}


async def test_every_route_has_its_rule_and_asks_who_it_is(guarded: Guarded) -> None:
    found = rules(guarded)
    assert len(found) == len(guarded.routes) > 20
    for (method, pattern), rule in found.items():
        status, body, headers = await guarded.ask(method, path_of(pattern))
        if rule is OPEN:
            assert status != 401, pattern
            assert "next" not in headers.get("Location", ""), pattern
        elif rule.page:
            assert (status, headers["Location"][:12]) == (303, "/login?next="), pattern
        else:
            assert (status, body["code"], body["status"]) == (401, 401, 401), pattern
            assert headers["WWW-Authenticate"] == 'Bearer realm="RoadVault"'
    assert (await guarded.ask("GET", "/nowhere"))[0] == 404
    assert await guarded.count("file_upload_info") == await guarded.count("download_info") == 0


async def test_a_route_that_the_table_lacks_keeps_ingest_from_starting(guarded: Guarded) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    for route in (web.get("/api/open/new", handler), web.delete("/api/open/file/{file_id}", handler)):
        with pytest.raises(LookupError):
            guarded.access.routes([route])
    assert rule_of(web.get("/file/{file_id:[0-9]{1,18}}", handler)).scope is Scope.READ


async def test_a_running_ingest_shows_its_health_and_nothing_else(services: Services, guarded: Guarded) -> None:
    ingest = services("ingest", auth="on")
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        for path in HEALTH:
            async with http.get(ingest.url + path) as response:
                assert response.status == 200, path
        for (method, pattern), rule in rules(guarded).items():
            async with http.request(method, ingest.url + path_of(pattern), allow_redirects=False) as response:
                assert response.status != 401 if rule is OPEN else response.status in {303, 401}, pattern


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_token_is_good_for_its_scopes_alone(guarded: Guarded, scope: Scope) -> None:
    number = await guarded.file_id()
    headers = await guarded.token("one", scope)
    for (method, pattern), rule in rules(guarded).items():
        status, body, answered = await guarded.ask(method, path_of(pattern, number), headers)
        if rule is OPEN or rule.scope is scope:
            assert status != 401, pattern
            assert (body.get("code") == 403) == rule.logged_in, (pattern, body)
        else:
            assert (status, body["code"]) == (403, 403), pattern
            assert rule.scope is not None
            assert f'error="insufficient_scope", scope="{rule.scope.value}"' in answered["WWW-Authenticate"]


async def test_what_is_no_good_token_is_refused_in_one_way(guarded: Guarded) -> None:
    good = (await guarded.token("good", "read"))["Authorization"].removeprefix("Bearer ")
    over = await guarded.token("over", "read", days=-1)
    basic = b64encode(f"camera:{good}".encode()).decode()
    number = await guarded.file_id()
    for shown in (f"Bearer {good}", f"bearer  {good}", f"Basic {basic}"):
        assert (await guarded.ask("GET", FILE.format(number), {"Authorization": shown}))[0] == 200, shown
    messages = set()
    for shown in (
        over["Authorization"], f"Bearer {new_token()}", f"Bearer {good}x", f"Bearer {good[:-1]}", good, "Bearer",
        "Bearer \xff", "Basic !", f"Basic {b64encode(good.encode()).decode()}", "Basic /w==", f"Digest {good}", "",
    ):  # fmt: skip
        status, body, headers = await guarded.ask("GET", FILE.format(number), {"Authorization": shown})
        assert (status, headers["WWW-Authenticate"][-15:]) == (401, '"invalid_token"'), shown
        messages.add(body["message"])
    assert len(messages) == 1
    two = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
    async with guarded.http.get(guarded.url + FILE.format(number), headers=two) as response:
        assert response.status == 401


async def test_a_token_that_was_revoked_is_refused_on_all_processes_within_seconds(
    guarded: Guarded, open_guarded: OpenGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.SECONDS <= 5
    monkeypatch.setattr(cache, "SECONDS", 0.5)
    number, headers = await guarded.file_id(), await guarded.token("lost", "read")
    async with open_guarded(ingest_worker="second") as second:
        for one in (guarded, second):
            assert (await one.ask("GET", FILE.format(number), headers))[0] == 200
        await guarded.db.transact(lambda tx: token_store.revoke(tx, "lost"))
        await asyncio.sleep(0.6)
        for one in (guarded, second):
            assert (await one.ask("GET", FILE.format(number), headers))[0] == 401


async def test_tokens_are_asked_for_once_for_all_who_show_them(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, find = [0], token_store.find

    async def counted(db: Database, key: bytes) -> object:
        asked[0] += 1
        await asyncio.sleep(0.05)
        return await find(db, key)

    monkeypatch.setattr(token_store, "find", counted)
    headers = await guarded.token("busy", "read")
    answers = await asyncio.gather(*(guarded.ask("GET", FILE.format(1), headers) for _ in range(20)))
    assert {status for status, _, _ in answers} == {404}
    assert asked == [1]
    monkeypatch.setattr(cache, "_MOST", 3)
    many = [new_token() for _ in range(9)]
    for number, token in enumerate(many):
        await guarded.make(f"many-{number}", token, checked_grant("read", (), ()))
        await guarded.ask("GET", FILE.format(1), {"Authorization": f"Bearer {token}"})
    assert len(guarded.access.guard._tokens._known) == 3


async def test_without_the_database_nobody_is_let_in(
    guarded: Guarded, mariadb: Running[MariaDB], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SECONDS", 0.3)
    headers = await guarded.token("known", "read,upload")
    assert (await guarded.ask("GET", FILE.format(1), headers))[0] == 404
    await asyncio.to_thread(mariadb.stop)
    await asyncio.sleep(0.4)
    assert (await guarded.ask("GET", FILE.format(1), headers))[0] == 503
    status, body = await guarded.upload(headers)
    assert (status, body["code"]) == (503, 503)
    await asyncio.to_thread(mariadb.start)
    assert (await guarded.ask("GET", FILE.format(1), headers))[0] == 404


async def test_when_a_token_was_used_last_is_written_beside_the_requests(guarded: Guarded) -> None:
    headers = await guarded.token("used", "read")
    await guarded.token("unused", "read")
    for _ in range(3):
        await guarded.ask("GET", FILE.format(1), headers)
    before = await token_store.listed(guarded.db)
    assert [row["used_at"] for row in before] == [None, None]
    await guarded.access.guard.note_uses()
    used = {row["name"]: row["used_at"] for row in await token_store.listed(guarded.db)}
    assert used["used"] is not None
    assert used["unused"] is None
    await guarded.access.guard.note_uses()  # nothing to write: the time stays
    assert {row["name"]: row["used_at"] for row in await token_store.listed(guarded.db)} == used


async def test_the_body_of_a_stranger_is_not_asked_for(guarded: Guarded) -> None:
    good = await guarded.token("good", "upload")
    host, port = guarded.url.removeprefix("http://").split(":")
    for headers, asked in (({}, False), ({"Authorization": "Bearer x"}, False), (good, True)):
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(
            f"POST /api/open/upload HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{lines}"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n".encode()
        )
        async with asyncio.timeout(5):
            if asked:
                assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
            else:
                head, body = await answer_of(reader)
                assert (head.split(b" ")[1], body["code"]) == (b"401", 401)
                assert b"\r\nConnection: close\r\n" in head
        writer.close()


async def test_a_token_never_shows_in_the_database_an_answer_or_the_log(
    guarded: Guarded, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = await guarded.token("shown", "read"), {"Authorization": f"Bearer {new_token()}"}
    answers = []
    for headers in (good, bad):
        for method, path in (("GET", "/"), ("POST", "/retry"), ("GET", FILE.format(1)), ("POST", "/api/open/upload")):
            status, body, answered = await guarded.ask(method, path, headers)
            answers.append(f"{status} {json.dumps(body)} {dict(answered)}")
    await guarded.acts()
    await guarded.access.guard.note_uses()
    said = "".join([*answers, *capsys.readouterr()])
    for table in ("token_info", "act_info"):
        said += str(await guarded.db.fetch_all(f"SELECT * FROM {table}"))  # noqa: S608 - of two
    for headers in (good, bad):
        secret = headers["Authorization"].removeprefix("Bearer ")
        assert secret not in said
        assert secret[4:] not in said


async def test_what_was_refused_is_counted_and_bounded(guarded: Guarded) -> None:
    for _ in range(7):
        await guarded.ask("GET", FILE.format(1))
    reader = await guarded.token("reader", "read")
    await guarded.ask("POST", "/retry", reader)
    await guarded.ask("GET", "/file")  # is led to the log-in, which is no refusal
    lines = await guarded.acts()
    told = "send a token (Authorization: Bearer rvt_…), or log in at /login"
    assert [(line["kind"], line["name"], line["peer"], line["subject"], line["times"]) for line in lines] == [
        ("anybody", "", "127.0.0.1", "GET /api/open/file/{file_id}", 7),
        ("token", "reader", "127.0.0.1", "POST /retry", 1),
    ]
    assert lines[0]["outcome"] == told
    for number in range(200):
        name = f"many-{number}"
        await guarded.ask("POST", "/retry", await guarded.token(name, "read"))
    lines = await guarded.acts()
    assert len(lines) == 2 + 51
    assert sum(line["times"] for line in lines) == 208
    assert lines[-1]["outcome"] == "many others"


async def test_acts_are_written_down_before_they_take_place(guarded: Guarded) -> None:
    number, headers = await guarded.file_id(), await guarded.token("anna")
    await guarded.db.execute(
        "INSERT INTO folder_info (folder_id, status, close_at, pack_failed_at)"
        " VALUES (77, 3, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"
    )
    for fields in ({"stage": "pack", "id": "77"}, {"stage": "pack", "id": "77"}, {"stage": "\x1b[2Jno", "id": "1"}):
        await guarded.ask("POST", "/retry", headers, data=fields)
    await guarded.ask("GET", FILE.format(number) + "/receipt", headers)
    lines = await guarded.acts()
    assert [(line["act"], line["subject"], line["outcome"]) for line in lines] == [
        ("retry", "pack 77", "done"),
        ("retry", "pack 77", "it had not failed"),
        ("retry", "", "refused: stage and id must name a failed row"),
        ("receipt", f"file {number}", lines[3]["outcome"]),
    ]
    assert lines[3]["outcome"].startswith("refused: ")
    assert {(line["kind"], line["name"]) for line in lines} == {("token", "anna")}


async def test_old_acts_are_removed_in_steps(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadvault_common.access.acts.AT_ONCE", 2)
    for _ in range(5):
        await guarded.ask("POST", "/retry", await guarded.token(f"t{_}"), data={})
    await guarded.db.execute("UPDATE act_info SET create_time = create_time - INTERVAL 366 DAY WHERE act_id <= 4")
    await guarded.access.log.remove_old()
    assert len(await guarded.acts()) == 1


async def test_pages_say_whether_anybody_may_come_in(open_guarded: OpenGuarded) -> None:
    for language, words in (("en", "Anybody on this network"), ("zh", "本网络上的任何人")):
        for auth in (False, True):
            async with open_guarded(auth=auth) as office:
                headers = {"Accept-Language": language, **await office.token(f"{language}-{auth}", "read")}
                for path in ("/", "/file", "/zip"):
                    async with office.http.get(office.url + path, headers=headers) as response:
                        assert (words in await response.text()) is not auth
