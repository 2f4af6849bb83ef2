"""What keeping the catalogue costs: `python -m bench.catalogue 1000000`, in `tests/`, with servers of its own.

Prints, for the first catalogue of all archives and for one after one archive has changed: statements, rows and index
entries that these read, bytes sent to Kubo, and seconds.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from cryptography.fernet import Fernet
from free_ports import pick_free
from pydantic import SecretStr
from servers_process import Running

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import migrate
from roadvault_common.work.lease import claim
from roadvault_common.work.stages import PUBLISH
from roadvault_pinner.catalogue.publishing import Publisher
from roadvault_stack.kubo import Kubo, KuboPorts
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.redis_server import Redis

_ARCHIVES = """
INSERT INTO zip_ipfs_info
    (zip_id, folder_id, zip_name, `key`, iv, size, files, cid, dag_size, status, expired_on, format)
SELECT seq, seq, CONCAT('archives/', seq, '-', MD5(RAND()), '.7z.enc'), REPEAT('k', 180), MD5(seq), 5000000000, 100,
    CONCAT('bafybei', LEFT(SHA2(RAND(), 256), 52)), 5000300000, 3, 10000000 + seq, 2 FROM seq_%s_to_%s
"""
_ORDERS = """
INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce, era_birth,
    era_death, extrinsic_hash, extrinsic, price, block)
SELECT seq, 1, REPEAT('5', 48), CONCAT('0x', SHA2('market', 256)), NULL, 1, 'bafy', 1, seq, 1, 65,
    CONCAT('0x', SHA2(seq, 256)), CONCAT(SHA2(RAND(), 512), SHA2(RAND(), 512), SHA2(RAND(), 384)), 2000000000, seq
FROM seq_%s_to_%s
"""
_AT_ONCE = 20_000


class Counted(Ipfs):
    """A client that counts what it sends."""

    sent = 0

    async def call(self, command, parameters, body=None, *more, **others):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201
        if command == "dag/import":
            Counted.sent += body.size
        return await super().call(command, parameters, body, *more, **others)


async def _cost(db: Database, publisher: Publisher) -> str:
    names = "('Questions', 'Handler_read_key', 'Handler_read_next', 'Handler_read_first', 'Handler_read_rnd_next')"
    status = f"SELECT variable_name AS name, variable_value AS value FROM information_schema.global_status WHERE variable_name IN {names}"  # noqa: S608, E501
    before = {row["name"]: int(row["value"]) for row in await db.fetch_all(status)}
    Counted.sent, began = 0, time.perf_counter()
    while True:
        await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), publish_attempts = 0")
        lease = await claim(db, PUBLISH, 1, 3600)
        assert lease is not None
        if (await publisher.publish(lease)).again_after:  # type: ignore[union-attr]
            break
    took = time.perf_counter() - began
    after = {row["name"]: int(row["value"]) - before[row["name"]] for row in await db.fetch_all(status)}
    statements, read = after.pop("QUESTIONS"), sum(after.values())
    return f"{statements} statements, {read} reads, {Counted.sent / 1e3:.0f} kB to Kubo, {took:.2f} s"


async def _run(directory: Path, archives: int) -> None:
    ports = pick_free(5)
    database = Running(MariaDB(directory / "mariadb", ports[0], "bench-password"))
    redis = Running(Redis(directory / "redis", ports[1]))
    kubo = Running(Kubo("ipfs", directory / "ipfs", KuboPorts(*ports[2:]), filestore=True))
    with ExitStack() as stack:
        for server in (database, redis, kubo):
            stack.callback(server.stop)
            server.start()
        with database.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE roadvault_bench CHARACTER SET utf8mb4")
        url = database.server.url("roadvault_bench")
        migrate(url)
        keys = MasterKeys(SecretStr(Fernet.generate_key().decode()))
        async with (
            Database.open(url) as db,
            Bus.open(SecretStr(redis.server.url(1)), "bench") as bus,
            Counted.open(kubo.server.rpc_url, 60) as ipfs,
        ):
            for first in range(1, archives + 1, _AT_ONCE):
                for statement in (_ARCHIVES, _ORDERS):
                    await db.execute(statement % (first, min(first + _AT_ONCE - 1, archives)))
            publisher = Publisher(db, bus, keys, ipfs, look_every=1800, order_every=86_400)
            print(f"{archives} archives, the first time: {await _cost(db, publisher)}")  # noqa: T201
            print(f"nothing changed: {await _cost(db, publisher)}")  # noqa: T201
            await db.execute("UPDATE zip_ipfs_info SET expired_on = 1 WHERE zip_id = %s", (archives // 2,))
            print(f"one archive changed: {await _cost(db, publisher)}")  # noqa: T201


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rv-bench-") as made:
        asyncio.run(_run(Path(made), int(sys.argv[1])))
