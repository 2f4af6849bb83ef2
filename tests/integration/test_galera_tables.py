"""Tables are made and changed at all nodes of a cluster, by one process at a time, while services write."""

import asyncio

import pytest
from lease_rows import new_folder
from servers_galera import Galera

from roadvault_common.errors import SettingsError
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_server, migrate, schema_dir


async def test_two_who_migrate_at_two_nodes_wait_for_each_other(galera: Galera, galera_name: str) -> None:
    node = galera.nodes[0].server
    name = f"{galera_name}_new"
    node.ask(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        said: list[str] = []
        urls = [galera.url(name, *order) for order in ((0, 1, 2), (1, 2, 0))]
        applied = await asyncio.gather(*(asyncio.to_thread(migrate, url, said.append) for url in urls))
        assert sorted(map(len, applied)) == [0, len([*schema_dir().glob("*.sql")])]
        async with Database.open(urls[1]) as db:
            await check_server(db)
            await db.execute("CREATE TABLE keyless (one INT) ENGINE = InnoDB")
            with pytest.raises(SettingsError, match=r"no primary key.*keyless"):
                await check_server(db)
            await db.execute("DROP TABLE keyless")
            node.ask("SET GLOBAL wsrep_max_ws_rows = 1000")
            async with Database.open(urls[0]) as first:
                with pytest.raises(SettingsError, match="wsrep_max_ws_rows is 1000"):
                    await check_server(first)
    finally:
        node.ask("SET GLOBAL wsrep_max_ws_rows = 0")
        node.ask(f"DROP DATABASE {name}")


async def test_tables_change_while_services_write(galera_url: str, galera: Galera, galera_name: str) -> None:
    """Each node does it at the same place in the order of all writes; what meets it is run again."""
    stop = asyncio.Event()

    async def write(db: Database) -> int:
        count = 0
        while not stop.is_set():
            await new_folder(db)
            count += 1
        return count

    async with Database.open(galera_url) as db:
        writes = asyncio.gather(*(write(db) for _ in range(4)))
        for number in range(5):
            statement = f"ALTER TABLE folder_info ADD COLUMN more_{number} INT NULL"
            await asyncio.to_thread(galera.nodes[2].server.ask, statement, galera_name)
            await asyncio.sleep(0.05)
        stop.set()
        written = sum(await writes)
        assert await db.fetch_value("SELECT COUNT(*) FROM folder_info") == written
