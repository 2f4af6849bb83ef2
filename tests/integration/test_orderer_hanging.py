"""Nodes that hang: an outage that counts against no archive, that /readyz tells at once, and that holds up nothing."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from pydantic import SecretStr
from servers_devnet import Devnet
from servers_orderer import OpenDesk

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work.outcome import Wait
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.endpoints import Endpoints

ALICE = SecretStr("//Alice")
HOST = "127.0.0.1"


@contextmanager
def silent() -> Iterator[int]:
    """Listen, let the kernel take connections, and never answer; yield the port."""
    with socket.create_server((HOST, 0), backlog=100) as server:
        yield int(server.getsockname()[1])


@contextmanager
def dropping() -> Iterator[int]:
    """Drop whatever comes, as a firewall does: a queue for connections that is full takes no SYN any more."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        port = int(server.getsockname()[1])
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the socket module's own
            filler.connect_ex((HOST, port))
        yield port


@pytest.fixture(params=["silent", "dropping"])
def three_nodes(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    with ExitStack() as stack:
        hang = silent if request.param == "silent" else dropping
        yield [f"{HOST}:{stack.enter_context(hang())}" for _ in range(3)]


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_three_nodes_that_hang_are_an_outage_within_the_time_of_a_call(
    three_nodes: list[str], scheme: str
) -> None:
    urls = ",".join(f"{scheme}://{node}" for node in three_nodes)
    async with Chain.open(urls, ALICE, timeout_seconds=3600, call_seconds=0.6) as chain:
        for _ in range(2):
            with pytest.raises(ChainUnavailable):
                await chain.head()


async def test_nodes_that_hang_count_against_no_archive(
    open_desk: OpenDesk, three_nodes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_crust_orderer.markets.chain._PING_SECONDS", 0.5)
    urls = ",".join(f"ws://{node}" for node in three_nodes)
    async with open_desk(crust_url=urls, lease_seconds=1) as desk:
        zip_id = await desk.archive()
        for _ in range(2):
            asking = asyncio.gather(desk.orderer.money.sample(), desk.orderer.money.sample(), return_exceptions=True)
            outcome = await desk.attend(zip_id)
            assert isinstance(outcome, Wait)
            assert "no progress" not in outcome.reason
            await asking
        row = await desk.row(zip_id)
        assert (row["order_attempts"], row["order_failed_at"]) == (0, None)


async def test_readiness_does_not_wait_for_the_accounts_work(devnet: Devnet) -> None:
    with silent() as hanging:
        urls = f"ws://{HOST}:{hanging},{devnet.url}"
        async with Chain.open(urls, ALICE, timeout_seconds=3600, call_seconds=7200) as chain:
            working = asyncio.ensure_future(chain.head())
            answer = None
            while answer is None:
                with suppress(ChainUnavailable):  # a busy machine takes its time to connect
                    answer = await chain.ping()
            assert answer == (devnet.state()["genesis"], 0)
            assert not working.done()
            working.cancel()


async def test_readiness_tells_of_nodes_that_hang_and_asks_once_however_many_want_to_know(
    three_nodes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_crust_orderer.markets.chain._PING_SECONDS", 0.5)
    asked: list[Endpoints] = []
    ask = Endpoints.ask

    def counted(self: Endpoints, work: Callable[[], object]) -> object:
        asked.append(self)
        return ask(self, work)

    monkeypatch.setattr(Endpoints, "ask", counted)
    urls = ",".join(f"http://{node}" for node in three_nodes)
    async with Chain.open(urls, ALICE, timeout_seconds=3600, call_seconds=7200) as chain:
        answers = await asyncio.gather(*(chain.ping() for _ in range(50)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ChainUnavailable}
    assert len(asked) == 1


async def test_a_node_that_drips_is_left_behind(devnet: Devnet) -> None:
    """A byte now and then keeps every socket's timeout from coming."""
    ended = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while not ended.is_set():
            writer.write(b" ")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await ended.wait()
        writer.close()

    async with await asyncio.start_server(drip, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        urls = f"http://{HOST}:{port},{devnet.url}"
        async with Chain.open(urls, ALICE, timeout_seconds=3600, call_seconds=1.5) as chain:
            with pytest.raises(ChainUnavailable, match="no Crust node has answered within"):
                await chain.head()
            assert (await chain.head()).height == 0  # the next node, on another thread
        ended.set()
