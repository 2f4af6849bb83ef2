"""Callbacks to a real receiver: taken, retried, refused, given up; and a link that works."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from download_rows import download_row
from pydantic import SecretStr
from sites import site
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from roadvault_common.access import callback_keys, token_store
from roadvault_common.access.callback_keys import CallbackKeys
from roadvault_common.access.tokens import checked_grant
from roadvault_common.errors import SettingsError
from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.web.links import Links
from roadvault_common.web.reach import Reach
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_common.work.stages import CALLBACK
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.hosts import Hosts
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import Callbacks

SECRET = "a secret for signing links"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Desk:
    """A notifier, and a client that it calls."""

    db: Database
    notifier: Notifier
    url: str
    answers: list[web.Response | None]
    """What the client answers, in turn; None hangs. Then 200."""
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def request(self, cb_url: str | None = None) -> int:
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO download_info (file_id, cb_url, open_key, status, path, callback_due)"
                " VALUES (7, %s, UUID(), 1, 'downloads/1/x', UTC_TIMESTAMP(6))",
                (cb_url or f"{self.url}/cb",),
            )
        )

    async def row(self, download_id: int) -> Row:
        return await download_row(self.db, download_id)


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def open_desk(database_url: str, redis_url: str) -> OpenDesk:
    @asynccontextmanager
    async def opened(*answers: web.Response | None, **overrides: Any) -> AsyncIterator[Desk]:  # noqa: ANN401
        waiting, calls = list(answers), list[tuple[dict[str, str], bytes]]()

        async def take(request: web.Request) -> web.Response:
            calls.append((dict(request.headers), await request.read()))
            answer = waiting.pop(0) if waiting else web.Response()
            if answer is None:
                await asyncio.sleep(30)
            return answer or web.Response()

        values: dict[str, Any] = {
            "database_url": database_url,
            "redis_url": redis_url,
            "link_secret": SECRET,
            "public_url": "http://files.example/",
            "callback_allow_private": "127.0.0.0/8,::1/128",
            "callback_timeout_seconds": 0.5,
            **overrides,
        }
        settings = NotifierSettings.model_validate(values)
        async with (
            Database.open(database_url) as db,
            Bus.open(SecretStr(redis_url), "notifier") as bus,
            site([web.post("/{any:.*}", take)]) as url,
        ):
            seconds, secret = settings.callback_timeout_seconds, settings.callback_secret
            callbacks = Callbacks(settings.reach(), seconds, secret, settings.callback_ca_file)
            await db.execute(
                "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, status)"
                " VALUES (7, 'a.mp4', 'mp4', 1, 'x', 1, 6)"
            )
            notifier = Notifier(settings, db, bus, Links(settings.link_secret), callbacks)
            yield Desk(db, notifier, url, waiting, calls)

    return opened


async def test_a_callback_has_the_agreed_body_and_a_link_that_works(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        download_id = await desk.request()
        assert await desk.notifier.calling.work(download_id) == Done()
        ((headers, body),) = desk.calls
        token = body.decode().removeprefix('{"fileID":7,"fileUrl":"http://files.example/d/').removesuffix('"}')
        promised, expires_at = Links(SecretStr(SECRET)).read(token)
        assert promised == download_id
        assert headers["Content-Type"] == "application/json"
        assert headers["webhook-id"] == f"download-{download_id}"
        row = await desk.row(download_id)
        assert (row["status"], row["mirror"], row["open_key"], row["callback_due"]) == (2, 5, None, None)
        assert (row["expire_due"] - row["link_expires_at"]).total_seconds() == pytest.approx(600)
        assert (row["link_expires_at"] - row["called_back_at"]).total_seconds() == pytest.approx(86_400, abs=5)
        assert 0 <= (expires_at - row["link_expires_at"].replace(tzinfo=UTC)).total_seconds() < 1


async def test_what_is_never_taken_is_kept_for_its_own_time_and_what_is_taken_for_its_link(open_desk: OpenDesk) -> None:
    kept = "TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expire_due)"
    async with open_desk(web.Response(status=500), web.Response(status=500), link_ttl_seconds=3600) as desk:
        long, short = await desk.request(), await desk.request()
        for download_id, days in ((long, 7), (short, 0)):
            await desk.db.execute(
                "UPDATE download_info SET expire_due = UTC_TIMESTAMP(6) + INTERVAL %s DAY WHERE download_id = %s",
                (days, download_id),
            )
            assert isinstance(await desk.notifier.calling.work(download_id), Retry)
        rows = await desk.db.fetch_all(f"SELECT {kept} AS seconds FROM download_info ORDER BY download_id")  # noqa: S608
        assert [row["seconds"] for row in rows] == [
            pytest.approx(7 * 86_400, abs=60),
            pytest.approx(3600 + 600, abs=60),
        ]
        await desk.db.execute("UPDATE download_info SET callback_due = UTC_TIMESTAMP(6)")
        assert await desk.notifier.calling.work(long) == Done()
        row = await desk.row(long)
        assert (row["expire_due"] - row["link_expires_at"]).total_seconds() == 600


async def test_a_callback_is_repeated_with_the_same_id_until_it_is_taken(open_desk: OpenDesk) -> None:
    answers = [web.Response(status=500), None, web.Response(status=404), web.Response(status=302)]
    async with open_desk(*answers) as desk:
        download_id = await desk.request()
        for number in range(1, 5):
            outcome = await desk.notifier.calling.work(download_id)
            assert isinstance(outcome, Wait if number == 2 else Retry)  # it hung
            row = await desk.row(download_id)
            assert (row["status"], row["callback_attempts"]) == (1, number - (number >= 2))
            assert row["callback_reason"] == str(outcome.reason)
            assert row["link_expires_at"] is not None
            await desk.db.execute("UPDATE download_info SET callback_due = UTC_TIMESTAMP(6)")
            desk.notifier.hosts = Hosts(4)  # the host that hung has rested
        assert await desk.notifier.calling.work(download_id) == Done()
        assert {headers["webhook-id"] for headers, _ in desk.calls} == {f"download-{download_id}"}
        assert len(desk.calls) == 5


async def test_a_callback_is_given_up_in_the_open(open_desk: OpenDesk) -> None:
    async with open_desk(*(web.Response(status=500) for _ in range(50))) as desk:
        download_id = await desk.request()
        for _ in range(CALLBACK.max_attempts):
            assert isinstance(await desk.notifier.calling.work(download_id), Retry)
            await desk.db.execute("UPDATE download_info SET callback_due = UTC_TIMESTAMP(6)")
        outcome = await desk.notifier.calling.work(download_id)
        assert isinstance(outcome, Failed)
        assert "answered 500" in outcome.reason
        row = await desk.row(download_id)
        assert (row["status"], row["mirror"], row["open_key"], row["path"] is not None) == (3, 4, None, True)
        assert row["expire_due"] is not None


@pytest.mark.parametrize("status", [410])
async def test_a_client_that_wants_no_more_is_not_called_again(open_desk: OpenDesk, status: int) -> None:
    async with open_desk(web.Response(status=status)) as desk:
        assert isinstance(await desk.notifier.calling.work(await desk.request()), Failed)


async def test_redirects_are_not_followed(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.answers.append(web.Response(status=307, headers={"Location": f"{desk.url}/elsewhere"}))
        assert isinstance(await desk.notifier.calling.work(await desk.request()), Retry)
        assert len(desk.calls) == 1


async def test_a_signature_is_one_that_standard_webhooks_takes(open_desk: OpenDesk) -> None:
    async with open_desk(callback_secret=SIGNING) as desk:
        await desk.notifier.calling.work(await desk.request())
        ((headers, body),) = desk.calls
        assert Webhook(SIGNING).verify(body, headers)["fileID"] == 7


async def test_a_tokens_callbacks_are_signed_with_its_own_keys(open_desk: OpenDesk) -> None:
    master = SecretStr(Fernet.generate_key().decode())
    keys, (first, second, third) = CallbackKeys(master), [callback_keys.new_key() for _ in range(3)]
    async with open_desk(callback_secret=SIGNING, callback_master_keys=master) as desk:
        grant = checked_grant("request", (), ())

        async def token(tx: Transaction) -> int:
            return await token_store.create(tx, "client", bytes(32), grant, None)

        token_id = await desk.db.transact(token)

        async def signed_by() -> list[str]:
            assert await desk.notifier.calling.work(await _of(desk, token_id)) == Done()
            headers, body = desk.calls[-1]
            return [key for key in (SIGNING, first, second, third) if _verifies(key, headers, body)]

        assert await signed_by() == [SIGNING]  # it has no key of its own
        await desk.db.transact(lambda tx: callback_keys.add(tx, token_id, keys.wrap(first)))
        assert await signed_by() == [first]
        await desk.db.transact(lambda tx: callback_keys.rotate(tx, token_id, keys.wrap(second), 3600))
        assert await signed_by() == [first, second]
        await desk.db.transact(lambda tx: callback_keys.rotate(tx, token_id, keys.wrap(third), 0))
        assert await signed_by() == [third]
        stored = str(await desk.db.fetch_all("SELECT * FROM callback_key_info"))
        assert not any(key[6:] in stored for key in (first, second, third))
        await desk.db.execute("UPDATE callback_key_info SET `key` = %s", (Fernet(Fernet.generate_key()).encrypt(b"x"),))
        outcome = await desk.notifier.calling.work(await _of(desk, token_id))
        assert isinstance(outcome, Wait)
        assert "ROADVAULT_CALLBACK_MASTER_KEYS" in outcome.reason
        called = len(desk.calls)
        await desk.db.transact(lambda tx: token_store.revoke(tx, "client"))
        outcome = await desk.notifier.calling.work(await _of(desk, token_id))
        assert isinstance(outcome, Failed)
        assert "revoked" in outcome.reason
        assert len(desk.calls) == called


async def _of(desk: Desk, token_id: int) -> int:
    download_id = await desk.request()
    await desk.db.execute("UPDATE download_info SET token_id = %s WHERE download_id = %s", (token_id, download_id))
    return download_id


def _verifies(key: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(key).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_a_bad_signing_secret_is_named_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="ROADVAULT_CALLBACK_SECRET") as caught:
        Callbacks(Reach([], [], []), 1, SecretStr("whsec_not base64!"), None)
    assert "not base64" not in str(caught.value)


async def test_an_extraction_that_is_gone_is_not_promised(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        download_id = await desk.request()
        await desk.db.execute("UPDATE download_info SET path = NULL")
        assert isinstance(await desk.notifier.calling.work(download_id), Failed)
        assert desk.calls == []


async def test_a_page_gets_its_link_without_anybody_being_called(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        download_id = await desk.request()
        await desk.db.execute("UPDATE download_info SET cb_url = ''")
        assert await desk.notifier.calling.work(download_id) == Done()
        row = await desk.row(download_id)
        assert (row["status"], row["open_key"], row["link_expires_at"] is not None) == (2, None, True)
        assert desk.calls == []
        line = await desk.db.fetch_one("SELECT act, facts FROM custody_info ORDER BY line_id DESC LIMIT 1")
        assert line == {"act": "handed", "facts": f'{{"request":{download_id},"to":"page"}}'}
