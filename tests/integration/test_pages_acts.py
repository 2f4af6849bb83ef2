"""What a person does from the pages: holds, pinning again, cancelling, giving up; and each file's way step by step."""

import re

from pydantic import SecretStr
from servers_pages import Office, fill

from roadvault_common.retention import holding
from roadvault_common.web.links import Links
from roadvault_common.work.reasons import Reason
from roadvault_ingest.pages.words import LANGUAGES

EN = LANGUAGES["en"]


async def test_an_archive_is_held_and_released(pages: Office) -> None:
    await fill(pages.db)
    assert EN["held"] in (await pages.post("/zip/9/hold", reason="case 12/2026 <b>"))[1]
    (row,) = await holding.holds(pages.db, 9)
    page = await pages.get("/zip/9")
    assert (row["zip_id"], row["reason"], "case 12/2026 &lt;b&gt;" in page) == (9, "case 12/2026 <b>", True)
    assert (await pages.post("/zip/8/release", hold=str(row["hold_id"]), reason="x"))[0] == 409  # another's
    assert (await pages.post("/zip/9/hold"))[0] == 400
    assert (await pages.post("/zip/9/hold", site="cross-site", reason="x"))[0] == 403
    assert EN["released"] in (await pages.post("/zip/9/release", hold=str(row["hold_id"]), reason="over"))[1]
    assert await holding.holds(pages.db, 9) == []
    assert (await pages.post("/zip/999/hold", reason="x"))[0] == 409


async def test_an_archive_is_pinned_again_from_its_copy_here(pages: Office) -> None:
    await fill(pages.db)
    assert EN["pin_again_done"] in (await pages.post("/zip/9/pin"))[1]
    assert await pages.db.fetch_value("SELECT pin_due IS NOT NULL FROM zip_ipfs_info WHERE zip_id = 9") == 1
    assert EN["pin_again_none"] in (await pages.post("/zip/10/pin"))[1]  # has none


async def test_a_request_is_seen_cancelled_and_asked_for_again(pages: Office) -> None:
    await fill(pages.db)
    await pages.post("/file/1/ask", cbUrl="https://client/cb")
    number = await pages.db.fetch_value("SELECT download_id FROM download_info")
    for path in ("/requests?state=open", "/file/1"):
        assert f'href="/requests/{number}"' in await pages.get(path)
    assert EN["cancel_done"] in (await pages.post(f"/requests/{number}/cancel"))[1]
    page = await pages.get(f"/requests/{number}")
    assert all(shown in page for shown in (EN["request_3"], EN["reason_cancelled"], "https://client/cb"))
    assert EN["cancel_gone"] in (await pages.post(f"/requests/{number}/cancel"))[1]
    status, page = await pages.post("/file/1/ask", cbUrl="https://client/cb", **{"from": "3", "to": "14.5"})
    row = await pages.db.fetch_one("SELECT clip_from, clip_to FROM download_info ORDER BY download_id DESC LIMIT 1")
    assert (status, row) == (200, {"clip_from": 3000, "clip_to": 14_500})
    assert (await pages.post("/file/1/ask", cbUrl="https://client/cb", **{"from": "3"}))[0] == 400


async def test_a_person_gets_a_file_or_a_clip_without_having_anybody_called(pages: Office) -> None:
    await fill(pages.db)
    assert (await pages.post("/file/1/ask"))[0] == 400  # no links are made here
    assert 'name="cbUrl" required' in await pages.get("/file/1")
    pages.ingest.settings.public_url = "https://door.example"
    pages.ingest.settings.link_secret = SecretStr("a secret of the tests")
    assert 'name="cbUrl" required' not in await pages.get("/file/1")
    pages.http.cookie_jar.update_cookies({"zone": "Asia%2FShanghai"})
    for begin, end, asked in (
        ("", "", (None, None, 0)),
        ("1:03", "74.5", (63_000, 74_500, 0)),
        ("1:00:03.25", "1:00:14", (3_603_250, 3_614_000, 0)),
        ("2026-11-28 08:15:03", "2026-11-28T00:15:14Z", (1_795_824_903_000, 1_795_824_914_000, 1)),
    ):
        status, page = await pages.post("/file/1/ask", cbUrl="", **{"from": begin, "to": end})
        assert (status, EN["asked_here"] in page) == (200, True)
        row = await pages.db.fetch_one(
            "SELECT download_id, clip_from, clip_to, clip_clock, cb_url, cb_place FROM download_info"
            " ORDER BY download_id DESC LIMIT 1"
        )
        assert row is not None
        number = row.pop("download_id")
        assert tuple(row.values()) == (*asked, "", None)
    page = await pages.get("/requests")
    assert all(
        shown in page
        for shown in ("clip 1:03\N{EN DASH}1:14.500", "clip 60:03.250\N{EN DASH}60:14", ">2026-11-28 08:15:03<")
    )
    assert (await pages.post("/file/1/ask", **{"from": "1:75:00", "to": "soon"}))[0] == 400
    headers = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html", "Accept-Language": "zh"}
    async with pages.http.post(f"{pages.url}/file/1/ask", data={"from": "9", "to": "3"}, headers=headers) as response:
        assert LANGUAGES["zh"]["problem_bad_clip"] in await response.text()
    link = "https://door.example/d/"
    assert link not in await pages.get("/file/1")
    await pages.db.execute(
        "UPDATE download_info SET status = 2, path = 'downloads/1/x', link_expires_at = UTC_TIMESTAMP(6) + INTERVAL 1"
        " HOUR WHERE download_id = %s",
        (number,),
    )
    assert (await pages.get("/file/1")).count(link) == 1
    await pages.db.execute("UPDATE download_info SET link_expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
    assert link not in await pages.get("/file/1")


async def test_a_request_that_is_ready_has_a_link_on_its_page(pages: Office) -> None:
    await pages.db.execute(
        "INSERT INTO download_info (download_id, file_id, cb_url, status, path, link_expires_at)"
        " VALUES (7, 1, 'https://client/cb', 2, 'downloads/7/x', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)"
    )
    assert EN["download"] not in await pages.get("/requests/7")
    pages.ingest.settings.public_url = "https://door.example"
    pages.ingest.settings.link_secret = SecretStr("a secret of the tests")
    page = await pages.get("/requests/7")
    (token,) = re.findall(r'href="https://door\.example/d/([^"]+)"', page)
    assert Links(SecretStr("a secret of the tests")).read(token)[0] == 7
    await pages.db.execute("UPDATE download_info SET link_expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
    assert EN["download"] not in await pages.get("/requests/7")


async def test_what_is_tried_again_and_again_is_given_up_together(pages: Office) -> None:
    why = Reason("callback_not_taken", "answered 502", host="client:443", status=502)
    for number in range(1, 4):
        await pages.db.execute(
            "INSERT INTO download_info (download_id, file_id, cb_url, status, open_key, callback_due,"
            " callback_attempts, callback_reason, extracted_at)"
            " VALUES (%s, 1, 'https://client/cb', 1, %s, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, 4, %s, UTC_TIMESTAMP(6))",
            (number, f"{number}", str(why) if number < 3 else "another"),
        )
    page = await pages.get("/")
    assert all(shown in page for shown in (EN["trying"], "client:443 answered the callback with 502", "attempt 4"))
    assert (
        EN["give_up_done"]
        in (await pages.post("/give-up", stage="callback", cause="callback_not_taken", reason="the client is gone"))[1]
    )
    rows = await pages.db.fetch_all("SELECT status, callback_reason FROM download_info ORDER BY download_id")
    assert [row["status"] for row in rows] == [3, 3, 1]
    assert rows[0]["callback_reason"] == "given up by a person: the client is gone [by_a_person]"
    assert (await pages.post("/give-up", stage="callback", cause="x"))[0] == 400


async def test_a_files_page_shows_its_way_with_attempts_and_the_next_try(pages: Office) -> None:
    await fill(pages.db)
    await pages.db.execute(
        "UPDATE zip_ipfs_info SET cid = NULL, status = 0, pin_due = UTC_TIMESTAMP(6) + INTERVAL 130 SECOND,"
        " pin_attempts = 3, pin_reason = %s WHERE zip_id = 9",
        (str(Reason("ipfs_away", "connection refused")),),
    )
    for trace in (None, "4bf92f3577b34da6a3ce929d0e0e4736"):
        await pages.db.execute(
            "INSERT INTO event_log (stage, row_id, outcome, attempt, reason, trace_id)"
            " VALUES ('pin', 9, 'retry', 1, %s, %s)",
            (str(Reason("no_peers", "no peer")), trace),
        )
    for language, texts in LANGUAGES.items():
        assert (await pages.get("/system", language)).count('title="4bf92f35') == 1
        for path in ("/file/9", "/zip/9"):
            page = await pages.get(path, language)
            assert page.count(">4bf92f3577b34da6a3ce929d0e0e4736<") == 1  # the other attempt was in no trace
            assert page.count('<li class="green">') == 2  # received, packed
            assert page.count('<li class="amber">') == 1
            shown = [texts["reason_ipfs_away"], texts["way_attempts"].format(3), texts["reason_no_peers"]]
            assert all(words in page for words in shown), (path, language)
            assert "connection refused" in page  # folded
            steps = [f"<b>{texts[word]}</b>" for word in ("way_packed", "to_be_pinned", "to_be_dropped")]
            assert all(step in page for step in steps), "what is not done is not told as if it were"
            assert texts["way_pinned"] + "</b>" not in page
            assert re.search(r"<b>[^<]+</b>\s*<span><time [^>]+>[-0-9]+ \d\d:\d\d:\d\d UTC</time>", page)
    await pages.db.execute("UPDATE zip_ipfs_info SET pin_due = NULL, pin_failed_at = UTC_TIMESTAMP(6) WHERE zip_id = 9")
    page = await pages.get("/zip/9")
    assert '<li class="red">' in page
    assert 'name="then" value="/zip/9"' in page
    status, page = await pages.post("/retry", stage="pin", id="9", then="/zip/9")
    assert (status, EN["retry_done"] in page, "/ 9</p>" in page) == (200, True, True)


async def test_open_requests_are_listed_by_when_they_are_due_whatever_they_wait_for(pages: Office) -> None:
    for number in range(1, 61):
        await pages.db.execute(
            "INSERT INTO download_info (download_id, file_id, cb_url, status, open_key, fetch_due)"
            " VALUES (%s, 1, 'https://client/cb', 0, %s, UTC_TIMESTAMP(6) + INTERVAL %s MINUTE)",
            (number, str(number), number),
        )
    await pages.db.execute(
        "INSERT INTO download_info (download_id, file_id, cb_url, status, open_key, callback_due)"
        " VALUES (99, 1, 'https://client/cb', 1, 'x', UTC_TIMESTAMP(6) + INTERVAL 90 SECOND)"
    )
    shown = re.findall(r'data-label="No."><a href="/requests/(\d+)"', await pages.get("/requests?state=open"))
    assert shown == ["1", "99", *(str(number) for number in range(2, 50))]
