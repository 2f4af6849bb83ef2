"""The back-office's pages, on a real database."""

import re

import pytest
from servers_pages import FILES, HOSTILE, Office, fill

from roadvault_common.errors import Domain
from roadvault_common.files import sweep_store
from roadvault_common.retention import asking
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.work import outage_store
from roadvault_common.work.outage_store import Away
from roadvault_ingest.pages.archives.store import ARCHIVES
from roadvault_ingest.pages.files.store import FILES as SELECT_FILES
from roadvault_ingest.pages.words import LANGUAGES


async def test_what_is_away_stands_on_the_first_page(pages: Office) -> None:
    assert LANGUAGES["en"]["away"] not in await pages.get("/")
    hosts = {Domain.CALLBACK_HOST: "c.example:443"}
    away = [Away(domain, f"no answer {HOSTILE}", 300, hosts.get(domain, "")) for domain in Domain]
    await outage_store.note(pages.db, "pinner", "here-1", away, 60)
    for language, texts in LANGUAGES.items():
        page = await pages.get("/", language)
        assert "c.example:443" in page
        assert f"<b>IPFS</b> {texts['answers_not']}</li>" in page, "the strip does not lose what is away"
        assert "<script>alert" not in page
        assert all(texts[key] in page for key in ("away", "away_hint", *(f"domain_{domain}" for domain in Domain)))


async def test_a_files_page_tells_what_was_done_to_it(pages: Office) -> None:
    await fill(pages.db)
    hostile = [Line(act, {"by": HOSTILE, "sha256": "ab"}, file_id=1) for act in Act]
    await pages.db.transact(lambda tx: record(tx, *hostile, Line(Act.PINNED, {"cid": "bafy"}, zip_id=1)))
    for language, texts in LANGUAGES.items():
        page = await pages.get("/file/1", language)
        assert texts["custody"] in page
        assert all(f">{texts[f'act_{act}']}<" in page for act in Act if f"act_{act}" in texts)
        assert f">{texts['act_pinned']} (" in page  # of its archive
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
    assert {f"act_{act}" for act in Act} - LANGUAGES["en"].keys() == {"act_accepted", "act_rewrapped"}  # of no file


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        (
            "en",
            ["size 1.5 MB", "copies local archive", "to these pages", "clip 0:40.100\N{EN DASH}0:51", "replicas 60"],
        ),
        (
            "zh",
            ["大小 1.5 MB", "副本 本地归档包", "交予 本页面", "片段 0:40.100", "副本数 60", "见证节点 w.example"],
        ),
    ],
)
async def test_the_facts_of_custody_are_words(pages: Office, language: str, shown: list[str]) -> None:
    await fill(pages.db)
    by = "witness w.example: blocks from others, our own node not among its peers"
    lines = [
        Line(Act.RECEIVED, {"sha256": "ab" * 32, "size": 1_500_000}, file_id=1),
        Line(Act.ASKED, {"clip": {"from": 40.1, "to": 51}, "request": 7}, file_id=1),
        Line(Act.HANDED, {"to": "page"}, file_id=1),
        Line(Act.PROVEN, {"by": by, "replicas": 60}, zip_id=1),
        Line(Act.DROPPED, {"copies": "local archive"}, zip_id=1),
    ]
    await pages.db.transact(lambda tx: record(tx, *lines))
    page = await pages.get("/file/1", language)
    text = re.sub(r"<[^>]+>", "", page)
    assert all(words in text for words in shown), text
    assert f'<code class="cid" title="{"ab" * 32}">' in page
    assert '<a href="/requests/7">7</a>' in page


async def test_a_files_page_shows_what_its_client_said_of_it(pages: Office) -> None:
    await fill(pages.db)
    words = ("camera", "recorded", "place", "tags")
    page = await pages.get("/file/1", "en")
    assert not any(f"<dt>{LANGUAGES['en'][word]}</dt>" in page for word in words)
    await pages.db.execute(
        "UPDATE file_upload_info SET camera = %s, recorded_at = '2026-11-28 00:30:00', lat = 0, lon = -0.25"
        " WHERE file_id = 1",
        (HOSTILE,),
    )
    await pages.db.execute("INSERT INTO file_tag_info VALUES ('night', 1), (%s, 1)", (HOSTILE[:40],))
    for language, texts in LANGUAGES.items():
        page = await pages.get("/file/1", language)
        assert all(f"<dt>{texts[word]}</dt>" in page for word in words)
        assert "2026-11-28T00:30:00+00:00" in page
        assert "<dd>0.0, -0.25</dd>" in page
        assert "<bdi>night</bdi>" in page
        assert "<script>alert" not in page


async def test_a_files_page_leads_to_its_receipt_once_there_is_one(pages: Office) -> None:
    await fill(pages.db)
    link = 'href="/api/open/file/1/receipt"'
    assert link not in await pages.get("/file/1")
    await pages.db.execute(
        "INSERT INTO order_info (zip_id, term, account, in_flight, status, cid, declared_size, nonce, era_birth,"
        " era_death, extrinsic_hash, extrinsic, price, block, settled_at)"
        " VALUES (1, 1, 'a', NULL, 1, 'bafy1', 1, 0, 0, 1, 'h', 'x', 1, 1, UTC_TIMESTAMP(6))"
    )
    assert link not in await pages.get("/file/1")  # of format 1
    await pages.db.execute("UPDATE zip_ipfs_info SET format = 2")
    for language, texts in LANGUAGES.items():
        page = await pages.get("/file/1", language)
        assert link in page
        assert all(texts[key] in page for key in ("receipt", "receipt_get", "receipt_hint"))


@pytest.mark.parametrize("language", list(LANGUAGES))
async def test_every_page_speaks_the_readers_language(pages: Office, language: str) -> None:
    await fill(pages.db)
    for path, key in (("/", "attention"), ("/file", "received"), ("/zip", "replicas"), ("/file/1", "requests")):
        assert LANGUAGES[language][key] in await pages.get(path, language)
    chosen = await pages.get("/?lang=zh")
    assert LANGUAGES["zh"]["attention"] in chosen
    assert LANGUAGES["zh"]["files"] in await pages.get("/file")  # the choice is kept


@pytest.mark.parametrize("language", list(LANGUAGES))
async def test_a_sweep_that_has_stopped_is_on_the_first_page_until_somebody_decides(
    pages: Office, language: str
) -> None:
    text = LANGUAGES[language]["stopped"]
    assert text not in await pages.get("/", language)
    await sweep_store.stop(pages.db, "archives", 11, 55_000_000_000, 20)
    page = await pages.get("/", language)
    assert all(shown in page for shown in (text, ">archives</td>", ">11<", ">55.0 GB<", ">20<"))
    assert await sweep_store.allow(pages.db, "archives") == 11
    assert text not in await pages.get("/", language)


@pytest.mark.parametrize("language", list(LANGUAGES))
async def test_archives_that_wait_for_a_person_to_end_are_on_the_first_page(pages: Office, language: str) -> None:
    text, doubt = LANGUAGES[language]["ends_ask"], LANGUAGES[language]["ends_ask_doubt"]
    ended = "INSERT INTO retention_info (zip_id, ends_at) VALUES (%s, UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE)"
    for zip_id in range(1, 21):
        await pages.db.execute(ended, (zip_id,))
    assert text not in await pages.get("/", language)
    await pages.db.execute(ended, (21,))
    page = await pages.get("/", language)
    assert all(shown in page for shown in (text, ": 21 "))
    assert doubt not in page
    await pages.db.execute("DELETE FROM retention_info WHERE zip_id > 1")
    await pages.db.execute("INSERT INTO identity_info (identity, doubted_at) VALUES ('x', UTC_TIMESTAMP(6))")
    assert doubt in await pages.get("/", language)
    await pages.db.execute("DELETE FROM retention_info")
    await pages.db.execute("INSERT INTO period_key_info (period_key, period, `key`) VALUES ('a', '2020-01', 'k')")
    page = await pages.get("/", language)
    assert all(shown in page for shown in (text, ": 0;", f"{LANGUAGES[language]['ends_ask_periods']}: 2020-01"))
    await asking.allow(pages.db)
    assert text not in await pages.get("/", language)


@pytest.mark.parametrize("language", list(LANGUAGES))
async def test_what_a_recovery_left_out_is_on_the_first_page(pages: Office, language: str) -> None:
    text = LANGUAGES[language]["left_out"]
    assert text not in await pages.get("/", language)
    await pages.db.execute(
        "INSERT INTO left_out_info (cid, kind, zip_id, segment, archives, reason) VALUES"
        " ('bafya', 'archive', 1017, NULL, 1, 'x & y'), ('bafyb', 'segment', NULL, 3, 40, 'z'),"
        " ('bafyc', 'log', NULL, NULL, 0, 'z'), ('bafyd', 'catalogue', NULL, NULL, 7, 'z')"
    )
    page = await pages.get("/", language)
    assert all(shown in page for shown in (f"{text}: 49<", ">1017<", "bafya", "x &amp; y", " (40)<", "bafyb"))
    assert all(f">{LANGUAGES[language][f'left_out_{kind}']}" in page for kind in ("segment", "log", "catalogue"))


def test_both_languages_have_the_same_messages() -> None:
    assert LANGUAGES["en"].keys() == LANGUAGES["zh"].keys()


async def test_pages_are_there_before_anything_is(pages: Office) -> None:
    for path in ("/", "/file", "/zip"):
        await pages.get(path)
    async with pages.http.get(f"{pages.url}/file/5") as response:
        assert response.status == 404


@pytest.mark.parametrize(("language", "none"), [("en", "none was published yet"), ("zh", "尚未发布")])
async def test_the_newest_catalogue_stands_above_the_archives(pages: Office, language: str, none: str) -> None:
    assert none in await pages.get("/zip", language)
    await pages.db.execute(
        "UPDATE catalogue_info SET cid = 'bafycatalogue', archives = 7, made_at = '2026-11-27 10:00:00', name = 'k51'"
    )
    await pages.db.execute(
        "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, kind, cid)"
        " VALUES (0, 'catalogue', '', '', 1, 0, 'catalogue', 'bafycatalogue')"
    )
    page = await pages.get("/zip", language)
    assert "bafycatalogue" in page
    assert "2026-11-27T10:00:00" in page
    assert LANGUAGES[language]["catalogue_row"] in page
    # It is green once it has its replicas: nothing is dropped for it, so nobody ever proves it.
    texts = LANGUAGES[language]
    await pages.db.execute("UPDATE zip_ipfs_info SET status = 3, replicas = 50")
    assert f'<span class="badge amber">{texts["state_few"].format(replicas=50, threshold=50)}' in await pages.get(
        "/zip", language
    )
    await pages.db.execute("UPDATE zip_ipfs_info SET replicas = 51")
    assert f'<span class="badge green">{texts["state_catalogue"]}' in await pages.get("/zip", language)
    await pages.db.execute("UPDATE zip_ipfs_info SET status = 4")
    assert f'<span class="badge grey">{texts["state_catalogue_over"]}' in await pages.get("/zip", language)


def rows_of(page: str) -> list[int]:
    """Return the numbers of the files that a list has, one for each row."""
    return [int(number) for number in re.findall(r'<tr><td[^>]*><a href="/file/(\d+)"', page)]


async def test_lists_are_newest_first_and_turn_by_key(pages: Office) -> None:
    await fill(pages.db)
    seen, path = list[int](), "/file"
    while path:
        page = await pages.get(path)
        seen += rows_of(page)
        older = re.search(r'href="(\?before=\d+)"', page)
        path = f"/file{older.group(1)}" if older else ""
    assert seen == list(range(FILES, 0, -1))
    page = await pages.get("/file?after=50")
    assert rows_of(page) == [*range(100, 50, -1)]
    assert "?after=100" in page
    assert "bafy44" in await pages.get("/zip?id=44")


async def test_a_hostile_name_is_only_text(pages: Office) -> None:
    await fill(pages.db)
    for path in ("/file", f"/file/{FILES}"):
        page = await pages.get(path)
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
        assert not {"\u202e", "\u061c"} & set(page)


async def test_what_failed_stands_before_plots_and_can_be_retried(pages: Office) -> None:
    await fill(pages.db)
    page = await pages.get("/")
    order = [page.index(part) for part in ('id="attention"', "reason 128", 'action="/retry"', 'class="plot')]
    assert order == sorted(order)
    failed = await pages.db.fetch_one("SELECT folder_id FROM folder_info WHERE pack_failed_at IS NOT NULL LIMIT 1")
    assert failed is not None
    fields = {"stage": "pack", "id": str(failed["folder_id"])}
    assert (await pages.post("/retry", site="cross-site", **fields))[0] == 403
    assert LANGUAGES["en"]["retry_done"] in (await pages.post("/retry", **fields))[1]
    assert LANGUAGES["en"]["retry_gone"] in (await pages.post("/retry", **fields))[1]
    row = await pages.db.fetch_one(
        "SELECT status, pack_due, pack_failed_at FROM folder_info WHERE folder_id = %s", (failed["folder_id"],)
    )
    assert row is not None
    assert (row["status"], row["pack_due"] is not None, row["pack_failed_at"]) == (1, True, None)
    for bad in ({"stage": "x", "id": "1"}, {"stage": "pack", "id": "1 OR 1"}, {}):
        assert (await pages.post("/retry", **bad))[0] == 400


async def test_archives_that_wait_for_the_network_are_listed_with_their_age(pages: Office) -> None:
    await fill(pages.db)
    assert LANGUAGES["en"]["waiting"] not in await pages.get("/")
    await pages.db.execute(
        "UPDATE zip_ipfs_info SET pinned_at = UTC_TIMESTAMP(6) - INTERVAL 9 DAY, replicas = 7,"
        " order_reason = 'too few' WHERE zip_id = 44"
    )
    page = await pages.get("/")
    assert LANGUAGES["en"]["waiting"] in page
    assert "too few" in page


async def test_a_file_can_be_asked_for_from_its_page(pages: Office) -> None:
    await fill(pages.db)
    assert LANGUAGES["en"]["asked"] in (await pages.post("/file/1/ask", cbUrl="http://client/cb"))[1]
    assert "http://client/cb" in await pages.get("/file/1")
    assert (await pages.post("/file/1/ask", cbUrl="javascript:alert(1)"))[0] == 400
    assert (await pages.post("/file/1/ask", site="cross-site", cbUrl="http://client/cb"))[0] == 403
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "multipart/form-data"}
    for path in ("/file/1/ask", "/retry"):
        async with pages.http.post(pages.url + path, data=b"no form", headers=headers) as response:
            assert (response.status, "no boundary" in await response.text()) == (400, True)


async def test_no_list_reads_a_whole_table(pages: Office) -> None:
    await fill(pages.db)
    for select, column in ((SELECT_FILES, "file.file_id"), (ARCHIVES, "zip_id")):
        for where in ("", f" WHERE {column} < 90"):
            plan = await pages.db.fetch_all(f"EXPLAIN {select}{where} ORDER BY {column} DESC LIMIT 51")
            assert all(step["type"] != "ALL" for step in plan), plan
            assert not any("filesort" in (step["Extra"] or "") for step in plan if step["table"] != "download_info")
