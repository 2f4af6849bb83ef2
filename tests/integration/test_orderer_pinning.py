"""The orderer at a pinning service: refusals for good ask a person, a refused token waits, a need is paid for once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from pydantic import SecretStr
from servers_orderer import CID, Shop
from servers_pinning import TOKEN, PinningService
from servers_services import Services
from sites import site
from sweeps import look_once

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.work import batches
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_common.work.stages import WATCH
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.pinning import _NOBODYS_CID, PinningMarket
from roadvault_crust_orderer.service import Orderer

OpenCounter = Callable[[], AbstractAsyncContextManager[Shop]]


@pytest.fixture(params=[False, True], ids=["by the specification", "like Crust's"])
def service(request: pytest.FixtureRequest) -> PinningService:
    return PinningService(like_crusts=request.param)


@pytest.fixture
def open_counter(database_url: str, redis_url: str, service: PinningService) -> OpenCounter:
    """Open an orderer that knows nothing of the others: the process was restarted."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Shop]:
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(site(service.routes()))
            values = {"database_url": database_url, "redis_url": redis_url, "master_keys": "unused"}
            pinning = {"market": "pinning", "pinning_url": url, "pinning_token": TOKEN}
            settings = OrdererSettings.model_validate({**values, **pinning})
            db = await stack.enter_async_context(Database.open(database_url))
            bus = await stack.enter_async_context(Bus.open(SecretStr(redis_url), "crust-orderer"))
            market = await stack.enter_async_context(PinningMarket.open(url, SecretStr(TOKEN), [], 5))
            yield Shop(db, Orderer(settings, db, bus, market, lambda: None))

    return opened


async def test_an_archive_is_asked_for_once_and_watched(open_counter: OpenCounter, service: PinningService) -> None:
    async with open_counter() as counter:
        zip_id = await counter.archive()
        assert isinstance(await counter.attend(zip_id), Wait)
    async with open_counter() as counter:
        for _ in range(3):
            assert isinstance(await counter.attend(zip_id), Done)
        (purchase,) = await counter.purchases()
        assert (purchase["status"], purchase["term"], service.requests) == (1, 1, 1)


@pytest.mark.parametrize(("status", "reason"), [(400, "BAD_REQUEST"), (402, "X"), (409, "INSUFFICIENT_FUNDS")])
async def test_a_refusal_for_good_stops_and_asks_a_person(
    open_counter: OpenCounter, service: PinningService, status: int, reason: str
) -> None:
    service.refuse, service.reason = status, reason
    async with open_counter() as counter:
        zip_id = await counter.archive()
        assert isinstance(await counter.attend(zip_id), Wait)
    async with open_counter() as counter:
        await counter.attend(zip_id)  # the restarted process has to ask once more to know
        outcome = await counter.attend(zip_id)
        assert isinstance(outcome, Failed)
        assert f"{status} {reason}" in outcome.reason
        (purchase,) = await counter.purchases()
        assert (purchase["status"], purchase["term"], purchase["in_flight"]) == (2, None, None)
        service.refuse = None
        await counter.attend(zip_id)  # a person sent money, and pressed retry
        assert isinstance(await counter.attend(zip_id), Done)
    assert service.requests == 1


async def test_a_pin_that_failed_asks_a_person_and_is_bought_anew(
    open_counter: OpenCounter, service: PinningService
) -> None:
    async with open_counter() as counter:
        zip_id = await counter.archive()
        await counter.attend(zip_id)
        service.set_status("failed")
        service.backdate("2024-01-01T00:00:00Z")
        outcome = await counter.attend(zip_id)
        assert isinstance(outcome, Failed)
        assert "PinFailed" in outcome.reason
        await counter.attend(zip_id)
        for _ in range(3):
            assert isinstance(await counter.attend(zip_id), Done)
        assert [(row["status"], row["term"]) for row in await counter.purchases()] == [(2, None), (1, 1)]
    assert service.requests == 2


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_waits_and_fails_no_archive(
    open_counter: OpenCounter, service: PinningService, status: int
) -> None:
    async with open_counter() as counter:
        zip_id = await counter.archive()
        service.answer_with = status
        for _ in range(40):  # more often than the stage has attempts
            outcome = await counter.attend(zip_id)
            assert isinstance(outcome, Wait)
            assert "ROADVAULT_PINNING_TOKEN" in outcome.reason
        row = await counter.db.fetch_one("SELECT order_attempts, order_failed_at FROM zip_ipfs_info")
        assert row == {"order_attempts": 0, "order_failed_at": None}
        service.answer_with = None
        await counter.attend(zip_id)
        assert isinstance(await counter.attend(zip_id), Done)


async def test_readiness_says_that_the_token_is_refused(services: Services) -> None:
    service = PinningService()
    async with site(service.routes()) as url:
        orderer = services("crust-orderer", market="pinning", pinning_url=url, pinning_token=TOKEN)
        await orderer.start()
        service.answer_with = 401
        async with aiohttp.ClientSession() as http, http.get(f"{orderer.url}/readyz") as response:
            assert response.status == 503
            assert "ROADVAULT_PINNING_TOKEN" in (await response.json())["checks"]["market"]
        async with aiohttp.ClientSession() as http, http.get(f"{orderer.url}/metrics") as response:
            metrics = await response.text()
    for name in ("balance_cru", "price_cru", "runway_days"):  # a service tells none of them
        assert f"roadvault_crust_{name} NaN" in metrics
    assert "refuses the token" in orderer.log.read_text()
    assert TOKEN not in orderer.log.read_text()


def odd(**changes: object) -> str:
    """Return an answer about a CID with one pin, of which something is odd."""
    asked = {"cid": CID.format(1), "name": "a"}
    pin = {"requestid": "1", "status": "pinned", "created": "2026-01-01T00:00:00Z", "pin": asked, "delegates": []}
    return json.dumps({"count": 1, "results": [{**pin, **changes}]})


ODD = {
    "no JSON": "<html>",
    "no results": '{"count": 0}',
    "too deep": '{"results": ' + "[" * 100_000,
    "too long": odd(info={"x": "y" * (2 << 20)}),
    "an unknown status": odd(status="lost\u001b[2J"),
    "no status": odd(status=7),
    "a bad date": odd(created="yesterday"),
    "before any date": odd(created="0001-01-01T00:00:00"),
    "a date too far": odd(created="9999-01-01T00:00:00Z"),
    "no pin": odd(pin="x"),
    "another CID": odd(pin={"cid": CID.format(2)}),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_an_odd_answer_about_one_cid_is_that_cids_trouble_alone(
    open_counter: OpenCounter, service: PinningService, answer: str
) -> None:
    async with open_counter() as counter:
        first, second = await counter.archive(0), await counter.archive(1)
        await counter.attend(first)
        service.set_status("pinned")
        assert isinstance(await counter.attend(first), Done)
        service.odd[CID.format(1)] = answer
        await counter.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        assert await look_once(counter.orderer.watching) == 2
        row = await counter.row(first)
        assert (row["status"], row["replicas"], row["watch_reason"], row["watch_attempts"]) == (1, 1, None, 0)
        row = await counter.row(second)
        assert (row["status"], row["watch_attempts"], row["watch_token"]) == (0, 1, None)
        assert "the pinning service's answer" in row["watch_reason"]
        assert row["watch_reason"].isprintable()
        assert isinstance(await counter.attend(second), Retry)
        assert len(await counter.purchases()) == service.requests == 1
        service.odd.clear()
        await counter.attend(second)
        assert isinstance(await counter.attend(second), Done)


@pytest.mark.parametrize(("status", "attempts"), [(500, 0), (429, 0), (404, 1)])
async def test_trouble_with_one_cid_keeps_that_archive_alone_waiting(
    open_counter: OpenCounter, service: PinningService, status: int, attempts: int
) -> None:
    async with open_counter() as counter:
        first, second = await counter.archive(0), await counter.archive(1)
        service.troubled[CID.format(1)] = status
        await counter.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        assert await look_once(counter.orderer.watching) == 2
        assert (await counter.row(first))["watch_reason"] is None
        row = await counter.row(second)
        assert (row["watch_attempts"], row["watch_token"]) == (attempts, None)
        code = "market_unreadable" if status == 404 else "market_away"
        assert row["watch_reason"] == f"the pinning service: {status} TROUBLE: as the specification says [{code}]"


async def test_where_all_answers_are_odd_the_service_is_away(
    open_counter: OpenCounter, service: PinningService
) -> None:
    async with open_counter() as counter:
        zip_ids = [await counter.archive(number) for number in range(3)]
        service.odd = dict.fromkeys([*map(CID.format, range(3)), _NOBODYS_CID], "<html>")
        await counter.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6), watch_attempts = 29")
        assert await look_once(counter.orderer.watching) == 3
        for zip_id in zip_ids:
            row = await counter.row(zip_id)
            assert (row["watch_attempts"], row["watch_failed_at"]) == (29, None)
        assert isinstance(await counter.attend(zip_ids[0]), Wait)


async def test_a_purchase_of_which_nobody_can_tell_what_became_holds_up_no_other(
    open_counter: OpenCounter, service: PinningService
) -> None:
    async with open_counter() as counter:
        first, second = await counter.archive(0), await counter.archive(1)
        await counter.attend(first)
        service.odd[CID.format(0)] = "<html>"
        assert isinstance(await counter.attend(first), Retry)
        outcome = await counter.attend(second)
        assert isinstance(outcome, Wait)
        assert "another order" in outcome.reason
        await counter.db.execute("UPDATE order_info SET era_birth = 0, era_death = 1")
        assert isinstance(await counter.attend(second), Wait)
        await counter.attend(second)
        assert isinstance(await counter.attend(second), Done)
        service.odd.clear()
        assert isinstance(await counter.attend(first), Done)
        assert [purchase["status"] for purchase in await counter.purchases()] == [1, 1]


async def test_what_a_service_says_is_one_plain_line_on_a_row(
    open_counter: OpenCounter, service: PinningService
) -> None:
    service.refuse, service.reason = 400, "BAD\x1b[2J\nREQUEST\u202e"
    async with open_counter() as counter:
        zip_id = await counter.archive()
        await counter.attend(zip_id)
        await counter.attend(zip_id)
        assert "400 BAD" in (await counter.purchases())[0]["reason"]
        for reason in ((await counter.purchases())[0]["reason"], (await counter.row(zip_id))["order_reason"]):
            assert reason.isprintable()


async def test_a_slow_service_loses_no_lease_as_long_as_it_answers(
    open_counter: OpenCounter, service: PinningService
) -> None:
    async with open_counter() as counter:
        for number in range(35):
            await counter.archive(number)
        await counter.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        service.seconds = 0.8  # ten at a time: four times as long for all of them
        batch = await batches.claim(counter.db, WATCH, 100, 1.5)
        looking = asyncio.create_task(counter.orderer.watching._work(batch))
        while not looking.done():
            assert await batches.claim(counter.db, WATCH, 100, 1.5) == []
            await asyncio.sleep(0.1)
        await looking
        rows = await counter.db.fetch_all(
            "SELECT watch_attempts, watch_token, order_due IS NOT NULL AS ordered, COUNT(*) AS n FROM zip_ipfs_info"
            " GROUP BY 1, 2, 3"
        )
        assert rows == [{"watch_attempts": 0, "watch_token": None, "ordered": 1, "n": 35}]


async def test_a_service_that_hangs_loses_its_archives_to_the_next_look(
    open_counter: OpenCounter, service: PinningService
) -> None:
    async with open_counter() as counter:
        await counter.archive()
        await counter.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        service.seconds = 30
        batch = await batches.claim(counter.db, WATCH, 100, 1)
        looking = asyncio.create_task(counter.orderer.watching._work(batch))
        async with asyncio.timeout(10):
            while not await batches.claim(counter.db, WATCH, 100, 1):
                await asyncio.sleep(0.1)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
