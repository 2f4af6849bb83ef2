"""Either Python client, awaited: the test's own event loop is often the server's, too."""

import asyncio
from typing import Any

import pytest

from roadvault_client import AsyncClient, Client, Retries

QUICK = Retries(attempts=4, first_seconds=0.01, longest_seconds=0.05)


class Talk:
    """Calls methods of a new client each."""

    def __init__(self, kind: type[Client] | type[AsyncClient]) -> None:
        self.kind = kind

    async def __call__(self, url: str, method: str, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        options: dict[str, Any] = {"retries": QUICK, "timeout_seconds": 20}
        if self.kind is AsyncClient:
            async with AsyncClient(url, **options) as client:
                return await getattr(client, method)(*args, **kwargs)

        def block() -> Any:  # noqa: ANN401
            with Client(url, **options) as client:
                return getattr(client, method)(*args, **kwargs)

        return await asyncio.to_thread(block)


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "awaited"])
def talk(request: pytest.FixtureRequest) -> Talk:
    return Talk(request.param)
