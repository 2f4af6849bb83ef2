"""What pages say of how things stand is true: states, reasons, errors, and parts that renew themselves."""

import json
import re

import pytest
from pydantic import SecretStr
from servers_pages import Office, fill

from roadvault_common.web.links import Views
from roadvault_common.work.reasons import Reason
from roadvault_ingest.pages.words import LANGUAGES


async def heard(pages: Office, service: str, seconds: int = 0, **facts: object) -> None:
    await pages.db.execute(
        "INSERT INTO heartbeat_info VALUES (%s, 'host-1', '1.2.3', UTC_TIMESTAMP(6) - INTERVAL 1 DAY,"
        " UTC_TIMESTAMP(6) - INTERVAL %s SECOND, %s)",
        (service, seconds, json.dumps(facts)),
    )


async def everybody(pages: Office, but: str = "") -> None:
    for service in {"ingest", "packer", "pinner", "crust-orderer", "retriever", "notifier"} - {but}:
        await heard(pages, service, redis=1, kubo_peers=7, chain_height=1234567, chain_age_seconds=3)


@pytest.mark.parametrize(
    ("replicas", "proven", "kept", "word", "tone"),
    [
        (8, 0, 1, "state_few", "amber"),
        (50, 0, 1, "state_few", "amber"),
        (51, 0, 1, "state_proving", "amber"),
        (51, 1, 1, "state_live", "green"),
        (51, 1, 0, "state_network", "green"),
        (50, 1, 0, "state_few", "amber"),
    ],
)
async def test_an_archive_is_green_once_it_is_replicated_and_proven(
    pages: Office, replicas: int, proven: int, kept: int, word: str, tone: str
) -> None:
    await fill(pages.db)
    await pages.db.execute(
        "UPDATE zip_ipfs_info SET status = 3, replicas = %s, path = IF(%s, 'p', NULL), cid = 'bafy' WHERE zip_id = 9",
        (replicas, kept),
    )
    if proven:
        await pages.db.execute(
            "INSERT INTO evidence_info (zip_id, replicas, counted_at, proven_at)"
            " VALUES (9, 60, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"
        )
    for language, texts in LANGUAGES.items():
        words = texts[word].format(replicas=replicas, threshold=50)
        for path in ("/zip/9", "/zip?id=9", "/file/9", "/file?archive=9"):
            assert f'<span class="badge {tone}">{words}</span>' in await pages.get(path, language), path


async def test_the_first_page_says_in_one_sentence_what_goes_on(pages: Office) -> None:
    texts = LANGUAGES["en"]
    assert texts["say_missed"].partition(":")[0] in await pages.get("/")  # nobody says that it lives
    await everybody(pages)
    page = await pages.get("/")
    assert (texts["say_empty"] in page, texts["say_quiet"] in page, 'href="/upload">Upload the first' in page) == (
        True,
        False,
        True,
    )
    assert 'href="/upload">Upload the first' in await pages.get("/file")
    await pages.db.execute(
        "INSERT INTO file_upload_info (file_name, file_type, size, sha256, folder_id) VALUES ('a', 'mp4', 1, 'h', 77)"
    )
    assert texts["say_quiet"] in await pages.get("/")
    await pages.db.execute(
        "INSERT INTO folder_info (status, files, bytes, close_at, closed_at, pack_due) VALUES"
        " (1, 1, 9, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL 2 HOUR, UTC_TIMESTAMP(6))"
    )
    await pages.db.execute(
        "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, status, replicas, pinned_at)"
        " VALUES (77, 'a', 'k', 'i', 1, 1, 'bafy', 1, 8, UTC_TIMESTAMP(6) - INTERVAL 26 HOUR)"
    )
    page = await pages.get("/")
    assert "1 folder to pack, 1 archive waits for the network (8 of more than 50 replicas)." in page
    assert "<span>oldest 1 d 2 h</span><span>replicas 8 of more than 50</span>" in page
    assert all(shown in page for shown in ("oldest 2 h", 'href="/zip?stage=replicate">1</a>'))
    words = LANGUAGES["zh"]["doing_replicate"].format(1, counts="8", need=50)
    assert f"{LANGUAGES['zh']['doing_pack'].format(1)}{LANGUAGES['zh']['comma']}{words}" in await pages.get("/", "zh")
    await pages.db.execute("UPDATE folder_info SET pack_due = NULL, pack_failed_at = UTC_TIMESTAMP(6), status = 3")
    assert "1 thing has failed or asks" in await pages.get("/")
    # What failed in a stage that the picture does not have is said, too.
    await pages.db.execute("UPDATE zip_ipfs_info SET restore_failed_at = UTC_TIMESTAMP(6), replicas = 60")
    assert "2 things have failed or ask" in await pages.get("/")
    await pages.db.execute("UPDATE zip_ipfs_info SET restore_failed_at = NULL")
    await pages.db.execute("UPDATE folder_info SET pack_failed_at = NULL, status = 2")
    await pages.db.execute(
        "INSERT INTO audit_info (zip_id, place, audited_at, sound, members, bytes, way, reason)"
        " SELECT zip_id, 'local', UTC_TIMESTAMP(6), 0, 0, 0, '', 'rotten' FROM zip_ipfs_info"
    )
    assert texts["say_mending"] in await pages.get("/")


async def test_the_strip_shows_who_lives_and_who_is_silent(pages: Office) -> None:
    await everybody(pages, but="notifier")
    await heard(pages, "notifier", 600)
    page = await pages.get("/")
    assert page.index('"dot red"') < page.index("<b>notifier</b> heard 10 min ago")
    assert all(shown in page for shown in ("7 peers", "1,234,567"))
    page = await pages.get("/system")
    assert page.count("1.2.3") == 6
    await pages.db.execute("DELETE FROM heartbeat_info WHERE service = 'pinner'")
    await heard(pages, "pinner", kubo_version="0.43.0", kubo_peers=7, disk_free_bytes=5e9, disk_total_bytes=1e11)
    page = await pages.get("/system")
    assert all(shown in page for shown in ("Kubo 0.43.0 · 7 peers", "block 1,234,567 · 3 s ago", "5.0 GB free of"))


async def test_failures_of_one_cause_are_one_line_and_one_press(pages: Office) -> None:
    why = Reason("no_room", "the disk has no room", need_bytes=5_000_000_000, free_bytes=7)
    for number in range(1, 13):
        await pages.db.execute(
            "INSERT INTO folder_info (folder_id, status, close_at, pack_failed_at, pack_reason)"
            " VALUES (%s, 3, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), %s)",
            (number, str(why) if number < 12 else "words of an older service"),
        )
    page = await pages.get("/")
    assert page.count('class="cause"') == 2
    assert all(shown in page for shown in ("· 11", "5.0 GB are needed, 7 bytes are free", "the disk has no room"))
    assert "words of an older service" in page
    assert "需要 5.0 GB" in await pages.get("/", "zh")
    status, page = await pages.post("/retry", stage="pack", cause="no_room")
    assert (status, LANGUAGES["en"]["retry_all_done"] in page) == (200, True)
    assert await pages.db.fetch_value("SELECT COUNT(*) FROM folder_info WHERE pack_failed_at IS NULL") == 11
    assert LANGUAGES["en"]["retry_gone"] in (await pages.post("/retry", stage="pack", cause="no_room"))[1]


@pytest.mark.parametrize("path", ["/", "/file", "/file/1", "/zip", "/zip/1", "/requests", "/money", "/system"])
async def test_a_page_renews_its_living_part_by_the_same_url(pages: Office, path: str) -> None:
    await fill(pages.db)
    status, page, headers = await pages.ask(path)
    assert f'id="live" hx-get="{path}"' in page
    titles = re.findall(r"<title>(.+) · RoadVault</title>", page)
    assert len(titles) == 1
    assert headers.get("Cache-Control") is None
    status, part, headers = await pages.ask(path, HX_Request="true")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert "HX-Request" in headers["Vary"]
    assert not any(shown in part for shown in ("<html", "<title", "<nav aria-label", "hx-get"))
    assert " ".join(part.split())[:200] in " ".join(page.split())


async def test_the_language_switch_keeps_the_page_and_its_filters(pages: Office) -> None:
    await fill(pages.db)
    _, page, _ = await pages.ask("/file?name=4&state=packed&notice=asked")
    assert 'href="?name=4&amp;state=packed&amp;lang=zh"' in page
    _, page, _ = await pages.ask("/file?name=4&state=packed&lang=zh")
    assert LANGUAGES["zh"]["filter_state"] in page
    assert 'href="?name=4&amp;state=packed&amp;lang=en"' in page


async def test_times_are_in_the_zone_of_the_reader(pages: Office) -> None:
    await fill(pages.db)
    await pages.db.execute("UPDATE file_upload_info SET create_time = '2026-01-31 20:05:06'")
    for cookie, shown in (
        ("", ">2026-01-31 20:05 UTC<"),
        ("zone=Asia%2FShanghai", ">2026-02-01 04:05<"),
        ("zone=..%2Fetc%2Fpasswd", ">2026-01-31 20:05 UTC<"),
        ("zone=America%2FSt_Johns", ">2026-01-31 16:35<"),
    ):
        _, page, _ = await pages.ask("/file", Cookie=cookie)
        assert shown in page, cookie
        assert 'datetime="2026-01-31T20:05:06+00:00"' in page
    for outside in ("0001-01-01T00:00", "9999-12-31T23:59"):  # times that have no name in UTC
        for zone in ("Asia%2FShanghai", "America%2FSt_Johns"):
            status, page, _ = await pages.ask(f"/file?recordedFrom={outside}", Cookie=f"zone={zone}")
            assert status == 200
    path = "/file?receivedFrom=2026-02-01T04:05&receivedTo=2026-02-01T04:06"
    assert "130.mp4" not in (await pages.ask(path))[1]
    page = (await pages.ask(path, Cookie="zone=Asia%2FShanghai"))[1]
    assert ">129.mp4<" in page
    assert 'value="2026-02-01T04:05"' in page


@pytest.mark.parametrize(("path", "status"), [("/file/999", 404), ("/zip/999", 404), ("/requests/9", 404), ("/x", 404)])
async def test_what_goes_wrong_is_a_page(pages: Office, path: str, status: int) -> None:
    for language, texts in LANGUAGES.items():
        code, page, headers = await pages.ask(path, Accept_Language=language)
        assert (code, headers["Content-Type"].partition(";")[0]) == (status, "text/html")
        assert f"<h1>{texts['missing']}</h1>" in page
        assert "default-src 'self'" in headers["Content-Security-Policy"]
    async with pages.http.get(pages.url + path) as response:  # programs have the API's shape
        assert (await response.json())["code"] == status


async def test_a_filter_that_nobody_understands_is_left_out_and_said(pages: Office) -> None:
    await fill(pages.db)
    _, page, _ = await pages.ask("/file?archive=x&recordedFrom=yesterday&name=12")
    assert "Archive, Recorded from." in page or "Recorded from, Archive." in page
    assert 'aria-invalid="true"' in page
    found = dict.fromkeys(re.findall(r'href="/file/(\d+)"', page))
    assert [*found] == ["129", "128", "127", "126", "125", "124", "123", "122", "121", "120", "12"]


async def test_a_video_plays_on_its_page_where_the_door_is_known(pages: Office) -> None:
    await fill(pages.db)
    status, page, headers = await pages.ask("/file/1")
    assert (status, "<video" in page, "media-src" in headers["Content-Security-Policy"]) == (200, False, False)
    pages.ingest.settings.public_url = "https://door.example:7002/below"
    pages.ingest._views = Views(SecretStr("a secret of the tests"))
    _, page, headers = await pages.ask("/file/1")
    assert 'preload="none" src="https://door.example:7002/below/v/' in page
    assert headers["Content-Security-Policy"].endswith("; media-src https://door.example:7002")
    assert "<video" not in (await pages.ask("/file/1", HX_Request="true"))[1]
    # One that could not be looked at is shown; who opens its page has it looked at.
    await pages.db.execute("INSERT INTO video_info (file_id) VALUES (1)")
    assert "<video" in (await pages.ask("/file/1"))[1]
    assert await pages.db.fetch_value("SELECT look_due IS NOT NULL FROM video_info") == 1
    assert "<video" in (await pages.ask("/file/1"))[1]
    await pages.db.execute("UPDATE video_info SET unreadable = 'no video'")
    assert "<video" not in (await pages.ask("/file/1"))[1]
    await pages.db.execute("UPDATE file_upload_info SET file_name = 'a.txt' WHERE file_id = 1")
    assert "<video" not in (await pages.ask("/file/1"))[1]


async def test_renewals_are_due_by_the_chains_own_blocks(pages: Office) -> None:
    await pages.db.execute("INSERT INTO renewal_info (day, archives, mebibytes) VALUES (1, 1, 1), (2, 1, 1), (9, 1, 1)")
    assert "block 28,800" in await pages.get("/money")  # nobody said how long a block takes
    await heard(pages, "crust-orderer", chain_height=36_000, block_seconds=0.5)
    page = await pages.get("/money")
    assert all(shown in page for shown in ("overdue", "within 1 h <", "in 13 h <", "block 129,600"))
    assert "13 小时后 <" in await pages.get("/money", "zh")


async def test_what_was_refused_or_never_included_cost_no_more_than_its_fee(pages: Office) -> None:
    await fill(pages.db)
    for status, price in ((1, 3), (2, 2), (3, 7)):
        await pages.db.execute(
            "INSERT INTO order_info (zip_id, term, account, in_flight, status, cid, declared_size, nonce, era_birth,"
            " era_death, extrinsic_hash, extrinsic, price, settled_at)"
            " VALUES (1, %s, 'a', NULL, %s, 'c', 1, %s, 0, 1, %s, 'x', %s, UTC_TIMESTAMP(6))",
            (1 if status == 1 else None, status, status, f"h{status}", price * 10**12),
        )
    for path in ("/money", "/zip/1"):
        page = await pages.get(path)
        assert all(shown in page for shown in (">3.00 CRU</td>", '>2.00 CRU <span class="hint">fee alone</span>'))
        assert "7.00 CRU" not in page


async def test_renewals_are_priced_as_the_orderer_reckons_with_them(pages: Office) -> None:
    await pages.db.execute("DELETE FROM renewal_info")
    await pages.db.execute("INSERT INTO renewal_info (day, archives, mebibytes) VALUES (100, 4, 28)")
    known = {"mebibyte_planck": 60_000, "flat_planck": 2_000_000_000}
    await heard(pages, "crust-orderer", chain_height=14_400, block_seconds=6, **known)
    page = await pages.get("/money")
    assert "in 99 d" in page
    assert '<td class="n" data-label="At today&#39;s price">0.008 CRU</td>' in page
    assert "0.0000614 CRU" in page, "no power of ten"
