"""The two clients: the same methods, to be called or to be awaited."""

import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from roadvault_client import asking, lists
from roadvault_client.core import Core, Retries
from roadvault_client.downloads import download
from roadvault_client.lists import Filter
from roadvault_client.states import Listed
from roadvault_client.steps import Steps, arun, run
from roadvault_client.uploads import upload

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT_SECONDS = 10.0


@dataclass(kw_only=True, frozen=True)
class Options:
    """How to talk to a server. Give them to a client by name."""

    token: str | None = None
    """Goes with what is asked of the server itself; links are fetched without it."""
    tls: ssl.SSLContext | None = None
    """For certificates of your own: `ssl.create_default_context(cafile=…)`, a client's own by `load_cert_chain`."""
    timeout_seconds: float = 120
    """For the server to answer, or to take or send some more, before it is given up."""
    retries: Retries = field(default_factory=Retries)
    """How often something is tried that failed for now."""

    def core(self, url: str) -> Core:
        """Return what operations stand on."""
        return Core(url.rstrip("/"), self.token, self.retries)

    def http(self) -> dict[str, Any]:
        """Return what httpx is told."""
        connect = min(self.timeout_seconds, _CONNECT_SECONDS)
        return {
            "timeout": httpx.Timeout(self.timeout_seconds, connect=connect, pool=None),
            "verify": True if self.tls is None else self.tls,
            "headers": {"User-Agent": "roadvault-client"},
            "limits": httpx.Limits(max_connections=None),
        }


def _blocking(operation: Callable[Concatenate[Core, P], Steps[T]]) -> "Callable[Concatenate[Client, P], T]":
    @functools.wraps(operation)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(operation(self.core, *args, **kwargs), self.connections)

    return method


def _awaited(
    operation: Callable[Concatenate[Core, P], Steps[T]],
) -> "Callable[Concatenate[AsyncClient, P], Awaitable[T]]":
    @functools.wraps(operation)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await arun(operation(self.core, *args, **kwargs), self.connections)

    return method


class Client:
    """A client that blocks; several threads may use it. `with Client(url) as client:` closes its connections.

    `url` is the server's, such as `http://roadvault.intranet:7001`; the rest are the fields of `Options`.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - those of Options
        chosen = Options(**options)
        self.core = chosen.core(url)
        self.connections = httpx.Client(**chosen.http())

    def close(self) -> None:
        """Close its connections."""
        self.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def files(self, of: Filter | None = None, *, oldest_first: bool = False, page_size: int = 100) -> Iterator[Listed]:
        """Iterate over files, page by page as they are taken: the newest first, all or those of a filter."""
        after = None
        while True:
            page = run(lists.page(self.core, of, after, page_size, oldest_first=oldest_first), self.connections)
            yield from page["files"]
            if (after := page["next"]) is None:
                return

    upload = _blocking(upload)
    file = _blocking(asking.file)
    wait = _blocking(asking.wait)
    request = _blocking(asking.request)
    request_many = _blocking(lists.request_many)
    batch = _blocking(lists.batch)
    cancel = _blocking(lists.cancel)
    custody = _blocking(asking.custody)
    receipt = _blocking(asking.receipt)
    download = _blocking(download)


class AsyncClient:
    """The same, to be awaited. Files are read and written in threads.

    `url` and options are as for `Client`.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - those of Options
        chosen = Options(**options)
        self.core = chosen.core(url)
        self.connections = httpx.AsyncClient(**chosen.http())

    async def close(self) -> None:
        """Close its connections."""
        await self.connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def files(
        self, of: Filter | None = None, *, oldest_first: bool = False, page_size: int = 100
    ) -> AsyncIterator[Listed]:
        """Iterate over files, page by page as they are taken: the newest first, all or those of a filter."""
        after = None
        while True:
            page = await arun(lists.page(self.core, of, after, page_size, oldest_first=oldest_first), self.connections)
            for file in page["files"]:
                yield file
            if (after := page["next"]) is None:
                return

    upload = _awaited(upload)
    file = _awaited(asking.file)
    wait = _awaited(asking.wait)
    request = _awaited(asking.request)
    request_many = _awaited(lists.request_many)
    batch = _awaited(lists.batch)
    cancel = _awaited(lists.cancel)
    custody = _awaited(asking.custody)
    receipt = _awaited(asking.receipt)
    download = _awaited(download)
