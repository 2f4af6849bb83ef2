"""A short soak; `make soak` is the long one."""

import pytest
from chaos.soak import show, soak
from rich.console import Console
from rich.progress import Progress
from servers_services import Services


@pytest.mark.timeout(240)
async def test_memory_and_open_files_stay_flat_and_queues_in_order(
    database_url: str, redis_url: str, services: Services
) -> None:
    with Progress(console=Console(quiet=True)) as progress:
        results, wrong = await soak(database_url, redis_url, services, (1500, 4000, 400), progress)
    show(results, Console(width=140))
    assert wrong == []
    assert len(results) == 7
