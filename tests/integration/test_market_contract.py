"""One suite over all markets: what the orderer leans on holds on the chain and on a pinning service.

The pinning service is played twice: as the specification has it, and as Crust's own behaves.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from servers_devnet import Devnet
from servers_pinning import TOKEN, PinningService
from sites import site

from roadvault_common.errors import ChainUnavailable
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.market import Market
from roadvault_crust_orderer.markets.pinning import PinningMarket

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
SIZE = 5_000_000


@dataclass
class Stall:
    """A market, and hands to move its time and count what was bought."""

    market: Market
    pass_time: Callable[[], object]
    bought: Callable[[], int]
    lose_answer: Callable[[], object]


@asynccontextmanager
async def _pinning(service: PinningService, token: str = TOKEN, seconds: float = 5) -> AsyncIterator[PinningMarket]:
    origins = ["/ip4/198.51.100.1/tcp/4001"]
    async with (
        site(service.routes()) as url,
        PinningMarket.open(url, SecretStr(token), origins, seconds) as market,
    ):
        yield market


@pytest.fixture(params=["chain", "pinning", "pinning like Crust's"])
async def stall(request: pytest.FixtureRequest) -> AsyncIterator[Stall]:
    if request.param == "chain":
        devnet: Devnet = request.getfixturevalue("devnet")
        async with Chain.open(devnet.url, SecretStr("//Alice"), 10) as chain:
            yield Stall(chain, devnet.final, devnet.orders, lambda: devnet.turn(lose_answer=1))
    else:
        service = PinningService(like_crusts=request.param != "pinning")

        def lose() -> None:
            service.lose_answers = 1

        async with _pinning(service) as market:
            yield Stall(market, lambda: service.set_status("pinning"), lambda: service.requests, lose)


async def test_what_was_never_ordered_is_not_there(stall: Stall) -> None:
    await stall.market.ping()
    head = await stall.market.head()
    assert await stall.market.file(CID, head) is None
    signed = await stall.market.sign(CID, SIZE)
    assert await stall.market.find(signed.extrinsic_hash, signed.birth, head.height) is None
    assert stall.bought() == 0


async def test_an_order_is_found_again_and_its_file_is_known(stall: Stall) -> None:
    signed = await stall.market.sign(CID, SIZE)
    assert signed.birth < signed.death
    assert len(signed.extrinsic_hash) == 66
    assert await stall.market.submit(signed.extrinsic) is None
    stall.pass_time()
    head = await stall.market.head()
    included = await stall.market.find(signed.extrinsic_hash, signed.birth, head.height)
    assert included is not None
    assert included.error is None
    assert included.block <= head.height
    info = await stall.market.file(CID, head)
    assert info is not None
    assert (info.expires, info.replicas) == (None, 0)


async def test_the_same_bytes_again_buy_nothing_more(stall: Stall) -> None:
    signed = await stall.market.sign(CID, SIZE)
    for _ in range(3):
        await stall.market.submit(signed.extrinsic)
        stall.pass_time()
    assert stall.bought() == 1


async def test_a_lost_answer_and_the_same_bytes_again_are_one_purchase(stall: Stall) -> None:
    signed = await stall.market.sign(CID, SIZE)
    stall.lose_answer()
    with pytest.raises(ChainUnavailable):
        await stall.market.submit(signed.extrinsic)
    assert await stall.market.submit(signed.extrinsic) is None
    stall.pass_time()
    assert stall.bought() == 1


async def test_two_orders_are_told_apart(stall: Stall) -> None:
    first = await stall.market.sign(CID, SIZE)
    await stall.market.submit(first.extrinsic)
    second = await stall.market.sign(CID, SIZE)
    stall.pass_time()
    head = await stall.market.head()
    assert first.extrinsic_hash != second.extrinsic_hash
    assert await stall.market.find(first.extrinsic_hash, first.birth, head.height) is not None
    assert await stall.market.find(second.extrinsic_hash, second.birth, head.height) is None


async def test_an_offer_says_whether_and_for_how_much(stall: Stall) -> None:
    offer = await stall.market.offer(CID, SIZE)
    assert offer.market_open
    assert offer.balance > offer.total >= 0
    assert offer.largest == 8 << 30


async def test_markets_that_are_away_say_so() -> None:
    async with Chain.open("ws://127.0.0.1:9", SecretStr("//Alice"), 1) as chain:
        with pytest.raises(ChainUnavailable):
            await chain.ping()
    async with PinningMarket.open("http://127.0.0.1:9", SecretStr(TOKEN), [], 1) as market:
        with pytest.raises(ChainUnavailable):
            await market.ping()


@pytest.fixture(params=[False, True], ids=["by the specification", "like Crust's"])
def service(request: pytest.FixtureRequest) -> PinningService:
    return PinningService(like_crusts=request.param)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_service_in_trouble_is_tried_again(status: int, service: PinningService) -> None:
    async with _pinning(service) as market:
        signed = await market.sign(CID, SIZE)
        service.answer_with = status
        with pytest.raises(ChainUnavailable):
            await market.submit(signed.extrinsic)
        service.answer_with, service.refuse = None, status
        with pytest.raises(ChainUnavailable):
            await market.submit(signed.extrinsic)
        assert await market.find(signed.extrinsic_hash, signed.birth, signed.death) is None
        service.refuse = None
        assert await market.submit(signed.extrinsic) is None
        assert service.requests == 1


async def test_a_service_that_hangs_is_given_up() -> None:
    service = PinningService()
    service.hang = True
    async with _pinning(service, seconds=0.3) as market:
        with pytest.raises(ChainUnavailable):
            await market.ping()


async def test_a_service_that_wants_money_says_so() -> None:
    service = PinningService()
    service.refuse, service.reason = 409, "INSUFFICIENT_FUNDS"
    async with _pinning(service) as market:
        signed = await market.sign(CID, SIZE)
        refusal = await market.submit(signed.extrinsic)
        assert refusal is not None
        assert "INSUFFICIENT_FUNDS" in refusal


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "BAD_REQUEST"), (402, "PAYMENT_REQUIRED"), (403, "INSUFFICIENT_FUNDS"), (409, "INSUFFICIENT_FUNDS")],
)
async def test_a_refusal_for_good_ends_the_purchase(status: int, reason: str, service: PinningService) -> None:
    service.refuse, service.reason = status, reason
    async with _pinning(service) as market:
        signed = await market.sign(CID, SIZE)
    for _ in range(2):  # the second client knows nothing of the first: the process was restarted
        async with _pinning(service) as market:
            assert await market.find(signed.extrinsic_hash, signed.birth, signed.birth) is None
            assert await market.submit(signed.extrinsic) is not None
            included = await market.find(signed.extrinsic_hash, signed.birth, signed.birth)
            assert included is not None
            assert included.error is not None
            assert reason in included.error
    assert service.requests == 0


async def test_what_the_service_has_counts_more_than_a_refusal(service: PinningService) -> None:
    async with _pinning(service) as market:
        signed = await market.sign(CID, SIZE)
        service.refuse, service.reason = 409, "DUPLICATE_OBJECT"
        await market.submit(signed.extrinsic)
        service.refuse = None
        await market.submit(signed.extrinsic)
        included = await market.find(signed.extrinsic_hash, signed.birth, signed.death)
        assert included is not None
        assert included.error is None


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_waited_for(status: int) -> None:
    service = PinningService()
    async with _pinning(service) as market:
        signed = await market.sign(CID, SIZE)
        service.refuse = status
        with pytest.raises(ChainUnavailable, match="ROADVAULT_PINNING_TOKEN"):
            await market.submit(signed.extrinsic)
        assert await market.find(signed.extrinsic_hash, signed.birth, signed.death) is None


async def test_a_wrong_token_is_named_and_not_shown() -> None:
    async with _pinning(PinningService(), token="not the right token") as market:
        with pytest.raises(ChainUnavailable, match="ROADVAULT_PINNING_TOKEN") as caught:
            await market.ping()
        assert "not the right token" not in str(caught.value)


async def test_a_failed_pin_is_no_success_and_replicas_are_read_when_told(service: PinningService) -> None:
    async with _pinning(service) as market:
        signed = await market.sign(CID, SIZE)
        await market.submit(signed.extrinsic)
        service.set_status("pinned", replicas=61)
        info = await market.file(CID, await market.head())
        assert info is not None
        assert info.replicas == 61
        for odd in ("²", "9" * 5000, 10**12, -1, [61], True):  # no number that there is room for
            service.set_status("pinned", replicas=odd)
            info = await market.file(CID, await market.head())
            assert info is not None
            assert info.replicas == 1
        service.set_status("failed")
        included = await market.find(signed.extrinsic_hash, 0, 0)
        assert included is not None
        assert included.error == "PinFailed"
        assert await market.file(CID, await market.head()) is None


async def test_a_cid_that_is_ordered_again_is_found_as_the_new_purchase(service: PinningService) -> None:
    async with _pinning(service) as market:
        first = await market.sign(CID, SIZE)
        await market.submit(first.extrinsic)
        service.set_status("failed")
        service.backdate("2024-01-01T00:00:00Z")
        second = await market.sign(CID, SIZE)
        assert await market.find(second.extrinsic_hash, second.birth, second.birth) is None
        await market.submit(second.extrinsic)
        await market.submit(second.extrinsic)
    async with _pinning(service) as market:  # after a restart
        included = await market.find(second.extrinsic_hash, second.birth, second.death)
        assert included is not None
        assert included.error is None
        assert second.birth <= included.block <= second.death  # not the time of the first request
    assert service.requests == 2


async def test_a_redirect_is_not_followed() -> None:
    service = PinningService()
    async with _pinning(service) as market:
        service.answer_with = 307  # its target would get the token
        with pytest.raises(ChainUnavailable, match="307"):
            await market.ping()
