"""The orderer at a pinning service: refusals for good ask a person, a refused token waits, a need is paid for once."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from pydantic import SecretStr
from servers_orderer import Shop
from servers_pinning import TOKEN, PinningService
from servers_services import Services
from sites import site

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.work.outcome import Done, Failed, Wait
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.pinning import PinningMarket
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
