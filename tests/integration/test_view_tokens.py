"""Tokens that play: who can make them, who reads them, and what those open that are not good."""

import pytest
from pydantic import SecretStr
from servers_door import SECRET, extracted, token
from servers_streaming import VIEW_SECRET, OpenStage, Stage, view_token

from roadvault_common.web.links import Views

NEXT_SECRET = "a secret for what plays next"


async def test_what_opens_nothing_is_refused_alike_whether_there_is_such_a_file_or_not(stage: Stage) -> None:
    """Who has all that the door has, its secret above all, makes nothing that plays."""
    file_id = stage.bench.file_ids["1 MB"]
    download = await extracted(stage.door.db, stage.door.vault.root, b"x")
    for base in (f"{stage.door.url}/v", f"{stage.url}/v"):
        for make in (
            token,
            lambda number: view_token(number, secret=SECRET),
            lambda number: view_token(number, secret="another secret of views"),
            lambda number: view_token(number, seconds=-1),
            lambda number: token(number, secret=VIEW_SECRET),
            lambda _: "nonsense",
            lambda number: f"{view_token(number)[:-1]}~",
            lambda number: f"..%2Fv%2F{view_token(number)}",
        ):
            refusals = {
                (answer.status, answer.body, tuple(name for name in answer.headers))
                for number in (file_id, 4711)
                for answer in [await stage.door.ask(f"{base}/{make(number)}", Range="bytes=0-9")]
            }
            assert [status for status, _, _ in refusals] == [403], (base, refusals)
        assert (await stage.door.ask(f"{base}/{view_token(4711)}", Range="bytes=0-9")).status == 404
    assert (await stage.door.ask(f"{stage.door.url}/d/{view_token(download)}")).status == 403
    assert (await stage.door.ask(f"{stage.url}/v/{token(file_id)}/facts")).status == 403


async def test_the_secret_of_views_is_changed_and_what_is_open_plays_on(open_stage: OpenStage) -> None:
    async with open_stage(view_secret=f"{NEXT_SECRET},{VIEW_SECRET}") as stage:
        file_id = stage.bench.file_ids["1 MB"]
        for secret in (VIEW_SECRET, NEXT_SECRET, f"{NEXT_SECRET}, {VIEW_SECRET}"):
            assert (await stage.door.ask(f"{stage.door.url}/v/{view_token(file_id, secret=secret)}")).status == 200
    async with open_stage(view_secret=NEXT_SECRET) as stage:
        assert (await stage.ask("1 MB")).status == 403


async def test_what_the_retriever_told_of_a_file_counts_for_seconds_and_opens_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, db = stage.view("1 MB"), stage.bench.db
    known = {"If_None_Match": (await stage.door.ask(url, "HEAD")).headers["ETag"]}
    await db.execute("UPDATE file_upload_info SET zip_id = NULL, path = NULL")
    assert (await stage.door.ask(url, **known)).status == 304
    assert (await stage.door.ask(url)).status == 404
    monkeypatch.setattr("roadvault_door.watching._KNOWN_SECONDS", 0.0)
    assert (await stage.door.ask(url, **known)).status == 404


async def test_ingest_makes_what_plays_a_file_where_it_may(stage: Stage, open_door: OpenStage) -> None:
    file_id = stage.bench.file_ids["1 MB"]
    secret = SecretStr(VIEW_SECRET)
    async with open_door(view_secret=secret, public_url=f"{stage.door.url}/", view_seconds=60) as ingest:
        url = await ingest.ingest.view_url(file_id, "192.0.2.9")
        assert (await stage.door.ask(url)).body == stage.bench.contents["1 MB"]
        view = Views(secret).read(url.rpartition("/")[2])
        assert (view.file_id, view.made_for) == (file_id, {"by": "192.0.2.9"})
        assert 50 < (view.expires_at - await stage.bench.db.now()).total_seconds() <= 61
    for without in ({"public_url": stage.door.url}, {"view_secret": secret}):
        async with open_door(**without) as ingest:
            assert await ingest.ingest.view_url(file_id, "") is None
