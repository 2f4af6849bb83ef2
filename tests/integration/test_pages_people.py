"""Tokens and accounts are made, changed and ended on a page, by operators who have logged in and by nobody else."""

import re

from servers_pages import Office
from servers_upkeep import WORDS, Seat

from roadvault_common.access import acts, token_store, user_store
from roadvault_common.access.scopes import Role
from roadvault_common.access.tokens import hash_of
from roadvault_ingest.pages.words import LANGUAGES

EN = LANGUAGES["en"]
OTHER = "another horse battery staple"


async def test_a_token_is_made_shown_once_and_revoked(seat: Seat) -> None:
    wanted = {"name": "dock-1", "scope_upload": "yes", "cameras": "dock-*\r\ngate 7", "hosts": "", "days": "30"}
    status, page = await seat.post("/access/token", **wanted)
    (token,) = re.findall(r"rvt_[\w-]{43}", page)
    hashed = hash_of(token)
    assert hashed is not None
    found = await token_store.find(seat.db, hashed)
    assert found is not None
    assert (status, found.name, found.grant.cameras) == (200, "dock-1", ("dock-*", "gate 7"))
    assert EN["token_callbacks"] not in page
    assert (await seat.post("/access/token", **wanted))[0] == 409  # the name was given out
    assert ("dock-1: upload", "done") in [(row["subject"], row["outcome"]) for row in await seat.acts()]
    page = await seat.get("/access")
    assert all(shown in page for shown in ("dock-1", "dock-*, gate 7", EN["token_good"]))
    assert token not in page + str(await seat.acts())
    assert (await seat.post("/access/token/revoke", name="dock-1"))[0] == 400  # not ticked
    assert EN["token_revoked_now"] in (await seat.post("/access/token/revoke", name="dock-1", sure="yes"))[1]
    assert (await seat.post("/access/token/revoke", name="dock-1", sure="yes"))[0] == 409
    assert await token_store.find(seat.db, hashed) is None
    assert (await seat.last())[0] == "anna: token revoked"


async def test_a_token_that_asks_for_files_gets_its_key_by_the_command_line(seat: Seat) -> None:
    async with seat.guarded.http.post(
        f"{seat.guarded.url}/access/token", data={"name": "client", "scope-request": "yes"}
    ) as response:
        page = await response.text()
        assert response.headers["Cache-Control"] == "no-store"
    assert "roadvault token rotate-callback-key client" in page


async def test_what_is_no_token_is_none(seat: Seat) -> None:
    good = {"name": "t", "scope_read": "yes"}
    bad: tuple[tuple[dict[str, str], int], ...] = (
        ({"scope_read": ""}, 409), ({"name": "-"}, 409), ({"days": "soon"}, 400), ({"days": "-1"}, 400),
        ({"days": "nan"}, 400), ({"cameras": "x" * 101}, 409), ({"hosts": "a b"}, 409),
        ({"scope_operate": "yes", "cameras": "gate"}, 409),
    )  # fmt: skip
    for fields, status in bad:
        assert (await seat.post("/access/token", **{**good, **fields}))[0] == status, fields
    assert await token_store.listed(seat.db) == []


async def test_accounts_are_made_changed_and_removed(seat: Seat) -> None:
    both = {"password": WORDS, "again": WORDS}
    assert (await seat.post("/access/user", name="bob", role="viewer", password=WORDS, again=OTHER))[0] == 400
    assert (await seat.post("/access/user", name="bob", role="viewer", password="short", again="short"))[0] == 409
    assert (await seat.post("/access/user", name="bob", role="king", **both))[0] == 400
    assert EN["user_added"] in (await seat.post("/access/user", name="bob", role="viewer", **both))[1]
    assert (await seat.post("/access/user", name="bob", role="viewer", **both))[0] == 409
    assert EN["role_changed"] in (await seat.post("/access/user/role", name="bob", role="operator"))[1]
    row = await user_store.find(seat.db, "bob")
    assert row is not None
    assert row["role"] == Role.OPERATOR
    changed = {"name": "bob", "password": OTHER, "again": OTHER}
    assert EN["password_changed"] in (await seat.post("/access/user/password", **changed))[1]
    assert "bob" in await seat.get("/access")
    assert (await seat.post("/access/user/remove", name="bob"))[0] == 400  # not ticked
    assert EN["user_removed"] in (await seat.post("/access/user/remove", name="bob", sure="yes"))[1]
    for path in ("role", "password", "remove"):  # is gone
        fields = {"name": "bob", "role": "viewer", "sure": "yes", **both}
        assert (await seat.post(f"/access/user/{path}", **fields))[0] == 409, path
    assert (await seat.post("/access/user/remove", name="oidc:eve", sure="yes"))[0] == 409
    acts = [(row["act"], row["subject"]) for row in await seat.acts() if row["outcome"] == "done"]
    assert acts == [
        ("user added", "bob: viewer"), ("role changed", "bob: operator"), ("password changed", "bob"),
        ("user removed", "bob"),
    ]  # fmt: skip
    log = str(await seat.acts())
    assert not any(words in log for words in (WORDS, OTHER))


async def test_nobody_shuts_themselves_out(seat: Seat) -> None:
    assert (await seat.post("/access/user/role", name="anna", role="viewer"))[0] == 409
    assert (await seat.post("/access/user/remove", name="anna", sure="yes"))[0] == 409
    assert await user_store.find(seat.db, "anna") is not None


async def test_a_token_makes_no_tokens(seat: Seat) -> None:
    headers = {**await seat.guarded.token("operator"), "Sec-Fetch-Site": "same-origin"}
    for path, fields in (("token", {"name": "x", "scope-read": "yes"}), ("user/remove", {"name": "anna"})):
        status, _, _ = await seat.guarded.ask("POST", f"/access/{path}", headers, data={**fields, "sure": "yes"})
        assert status == 403, path
    assert len(await token_store.listed(seat.db)) == 1


async def test_where_nobody_is_asked_who_they_are_nobody_lets_themselves_in_for_later(pages: Office) -> None:
    assert "roadvault user add" in await pages.get("/access")
    both = {"password": WORDS, "again": WORDS}
    assert (await pages.post("/access/user", name="eve", role="operator", **both))[0] == 403
    assert (await pages.post("/access/token", name="eve", **{"scope-read": "yes"}))[0] == 403
    assert await user_store.listed(pages.db) == await token_store.listed(pages.db) == []
    refused = [(row["kind"], row["act"], row["outcome"][:7]) for row in (await acts.page(pages.db, None))[::-1]]
    assert refused == [("anybody", "user added", "refused"), ("anybody", "token created", "refused")]


async def test_where_nobody_is_asked_who_they_are_acts_are_written_down_as_well(pages: Office) -> None:
    await pages.post("/upkeep/seal")
    (row,) = await acts.page(pages.db, None)
    assert (row["kind"], row["name"], row["act"], row["outcome"]) == ("anybody", "", "folder closed", "done")
    assert row["peer"]
