"""Redis behind Sentinels, all real: its master dies, hangs, is cut off; events go on at the next one within seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr
from servers_process import Running
from servers_sentinel import Guarded, Node

from roadvault_common.errors import RedisUnavailable
from roadvault_common.events import bus as bus_module
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed

# Of this, Sentinels take two to find and promote another master.
_SECONDS = 15


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_AWAY_SECONDS", 0.2)


class Heard:
    """Listens, and knows what it has heard."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.numbers = list[int]()

    async def __call__(self, event: FolderSealed) -> None:
        self.numbers.append(event.zip_id)

    async def hears(self, number: int) -> None:
        """Send one until it was heard, as what was sent before a fail-over may be lost."""
        async with asyncio.timeout(_SECONDS):
            while number not in self.numbers:
                await self.bus.emit(FolderSealed(zip_id=number))
                await asyncio.sleep(0.05)


@asynccontextmanager
async def hearing(url: str, sender: Bus | None = None) -> AsyncIterator[Heard]:
    closing = asyncio.Event()
    async with Bus.open(SecretStr(url), "pinner") as bus, asyncio.TaskGroup() as group:
        heard = Heard(sender or bus)
        group.create_task(bus.listen({FolderSealed: heard}, closing, concurrency=4))
        await heard.hears(1)
        yield heard
        closing.set()


async def until_moved(guarded: Guarded, old: Running[Node]) -> None:
    await asyncio.to_thread(guarded.moved_from, old)


async def test_events_go_on_at_the_next_master_when_one_is_killed(guarded: Guarded) -> None:
    async with hearing(guarded.url) as heard:
        old = guarded.master
        await asyncio.to_thread(old.kill)
        with pytest.raises(RedisUnavailable, match="Redis can't be reached"):
            await heard.bus.ping()
        await heard.hears(2)
        await heard.bus.ping()
        assert guarded.master is not old


async def test_events_go_on_at_the_next_master_when_one_stands_still(guarded: Guarded) -> None:
    async with hearing(guarded.url) as heard:
        old = guarded.master
        with old.suspended():
            await heard.hears(2)
            await heard.bus.ping()
        await asyncio.to_thread(guarded.heal)  # which also demotes it
        await heard.hears(3)
        with old.server.client() as client:
            assert client.role()[0] == b"slave"


async def test_a_master_that_was_cut_off_is_left_though_it_answers_and_so_does_its_sentinel(guarded: Guarded) -> None:
    """The first Sentinel of the URL is on its side, and says that all is well."""
    async with hearing(guarded.url) as heard:
        with guarded.split() as old:
            await heard.bus.ping()  # as breakers and /readyz do
            async with Bus.open(SecretStr(guarded.url), "pinner") as other:
                heard.bus = other
                await heard.hears(2)
            async with asyncio.timeout(_SECONDS):
                while (await asyncio.to_thread(clients_of, old)) > 0:
                    await asyncio.sleep(0.05)


def clients_of(node: Running[Node]) -> int:
    """Count who is connected and had last to do with streams."""
    with node.server.client() as client:
        return sum(one["cmd"].startswith("x") for one in client.client_list())


async def test_events_go_on_when_what_was_last_written_is_lost_and_with_it_the_group(guarded: Guarded) -> None:
    """Redis replicates after it has answered: the next master's streams went back in time."""
    old, new = guarded.master, guarded.replica
    with guarded.without(old, "replica"):
        async with hearing(guarded.url) as heard:
            for number in range(2, 20):
                assert await heard.bus.emit(FolderSealed(zip_id=number))
            with new.server.client() as client:
                assert client.exists(FolderSealed.stream) == 0
            await asyncio.to_thread(old.kill)
            await heard.hears(20)


async def test_a_sentinel_that_is_gone_and_one_that_hangs_keep_nobody_waiting(guarded: Guarded) -> None:
    hangs, gone, _ = guarded.watchers
    await asyncio.to_thread(gone.kill)
    async with Bus.open(SecretStr(guarded.url), "pinner") as bus:
        assert await bus.emit(FolderSealed(zip_id=1))
    await asyncio.to_thread(gone.start)
    with hangs.suspended():
        async with Bus.open(SecretStr(guarded.url), "pinner") as bus:
            async with asyncio.timeout(0.9):
                assert await bus.emit(FolderSealed(zip_id=1))


async def test_what_is_wrong_is_said(guarded: Guarded) -> None:
    for url, words in (
        (guarded.url.replace("/rv/", "/another/"), "3 Sentinels name no master another: ResponseError: No such master"),
        ("redis+sentinel://127.0.0.1:9,127.0.0.1:10/rv/0", "2 Sentinels name no master rv: ConnectionError: Error 111"),
    ):
        async with Bus.open(SecretStr(url), "pinner") as bus:
            assert not await bus.emit(FolderSealed(zip_id=1))
            with pytest.raises(RedisUnavailable, match=words):
                await bus.ping()
