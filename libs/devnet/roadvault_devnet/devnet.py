"""The network as a whole: wired, listening, making blocks; for the command and for tests in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from roadvault_devnet.chain import Chain
from roadvault_devnet.config import DevnetSettings
from roadvault_devnet.control import Control
from roadvault_devnet.errors import CannotStart
from roadvault_devnet.producer import Producer
from roadvault_devnet.rpc import Dispatcher
from roadvault_devnet.rpc_author import AuthorMethods
from roadvault_devnet.rpc_chain import ChainMethods
from roadvault_devnet.rpc_state import StateMethods
from roadvault_devnet.rpc_system import SystemMethods
from roadvault_devnet.server import Server
from roadvault_devnet.storage_node import StorageNode
from roadvault_devnet.store import Store

_SHUTDOWN_SECONDS = 0.5


@dataclass(frozen=True)
class Devnet:
    """A running network. `tasks` end only when something is wrong."""

    host: str
    port: int
    chain: Chain
    tasks: frozenset[asyncio.Task[None]]

    @property
    def url(self) -> str:
        """Where clients connect; the same address answers HTTP."""
        return f"ws://{self.host}:{self.port}"

    async def wait(self, stop: asyncio.Event) -> None:
        """Wait until told to stop, or until a part of the network fails; raises what it failed with."""
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopped, *self.tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        for task in self.tasks:
            if task.done():
                task.result()


@asynccontextmanager
async def running(settings: DevnetSettings) -> AsyncIterator[Devnet]:
    """Run a network; on leaving it stops, and its chain is on disk."""
    async with AsyncExitStack() as stack:
        store = Store(settings.data_dir)
        stack.callback(store.close)
        chain = Chain(store, settings.rules(), settings.endowed())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        node = StorageNode(chain, store, http, settings.kubo_rpc_url)
        chain.own_changes = node.growth.changes
        producer = Producer(chain)
        methods = {**ChainMethods(chain).table(), **StateMethods(chain).table()}
        methods |= {**AuthorMethods(chain).table(), **SystemMethods(chain).table()}
        server = Server(Dispatcher(methods), Control(chain, node, producer), chain.rules)
        port = await _listen(stack, server.application(), settings)
        work = [producer.run(), node.run()] if settings.kubo_rpc_url else [producer.run()]
        tasks = frozenset(asyncio.create_task(each) for each in work)
        stack.push_async_callback(_end, tasks)
        yield Devnet(settings.host, port, chain, tasks)


async def _listen(stack: AsyncExitStack, application: web.Application, settings: DevnetSettings) -> int:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        raise CannotStart(f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}") from error
    return int(runner.addresses[0][1])


async def _end(tasks: frozenset[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
