"""Recovery of many small archives from the network, beside the bare fetches of what it reads of each."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns
from cryptography.fernet import Fernet
from free_ports import pick_free
from pydantic import SecretStr
from servers_process import Running

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.label import Label
from roadvault_common.ipfs.path import ARCHIVE, LABEL, archive_path
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.sql.migrate import migrate
from roadvault_operator.recover import reading
from roadvault_operator.recover.restoring import AT_ONCE
from roadvault_packer.archive import pack
from roadvault_packer.uploads import Upload
from roadvault_stack.kubo import Kubo, KuboPorts
from roadvault_stack.mariadb import MariaDB

FILES = 100
"""In each archive."""
_FILE_BYTES = 1000
_BARE = "the bare fetches"
_ALLOWED = "5 minutes, for 2 000 archives with 200 000 files"


def measure(directory: Path, archives: int, runs: int) -> Measure:
    """Recover archives by a list of their CIDs into an empty database; figures are seconds."""
    allowed = 300 * archives / 2000
    result = Measure(
        f"recovery of {archives} archives with {archives * FILES} files, from another node",
        "s",
        more_is_better=False,
        targets=[Target(_ALLOWED, 1, least=False)],
    )
    master_key = Fernet.generate_key().decode()
    with _servers(directory) as (mariadb, ours, network):
        cids = asyncio.run(_publish(network.server, MasterKeys(SecretStr(master_key)), directory, archives))
        (directory / "cids").write_text("\n".join(cids))
        number = 0

        def recover() -> float:
            nonlocal number
            number += 1
            result.add(_ALLOWED, allowed)
            _forget(ours)
            return _recover(mariadb.server, ours.server, directory, master_key, number)

        def fetch() -> float:
            _forget(ours)
            started = time.perf_counter()
            asyncio.run(_fetch(ours.server, cids))
            return time.perf_counter() - started

        take_turns(result, {OURS: recover, _BARE: fetch}, runs)
    return result


@contextmanager
def _servers(directory: Path) -> Iterator[tuple[Running[MariaDB], Running[Kubo], Running[Kubo]]]:
    ports = pick_free(7)
    ours = Kubo("ipfs", directory / "ipfs", KuboPorts(*ports[:3]), filestore=True)
    network = Kubo("network-ipfs", directory / "network-ipfs", KuboPorts(*ports[3:6]))
    ours.peer_with(network)
    mariadb = Running(MariaDB(directory / "mariadb", ports[6], "bench"))
    nodes = Running(ours), Running(network)
    with ExitStack() as stack:
        for server in (mariadb, *nodes):
            stack.callback(server.stop)
            server.start()
        _connect(ours)
        yield mariadb, *nodes


def _connect(node: Kubo) -> None:
    while not node.connect():
        time.sleep(0.05)


def _forget(ours: Running[Kubo]) -> None:
    """Have our node hold nothing of what it fetched."""
    subprocess.run(["ipfs", "repo", "gc", "--silent"], env=_environment(ours.server), check=True, capture_output=True)
    _connect(ours.server)


def _environment(node: Kubo) -> dict[str, str]:
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **node.environment()}


async def _publish(network: Kubo, keys: MasterKeys, directory: Path, archives: int) -> list[str]:
    """Pack archives and have the network's node hold them; return their CIDs."""
    contents = [os.urandom(_FILE_BYTES) for _ in range(FILES)]
    for number, content in enumerate(contents):
        (directory / f"upload-{number}").write_bytes(content)
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    slots = asyncio.Semaphore(8)

    async def one(ipfs: Ipfs, archive: int) -> str:
        async with slots:
            target = directory / f"{archive}.7z.enc"
            uploads = _uploads(archive, digests)
            done = await asyncio.to_thread(pack, archive, uploads, directory, target, keys, lambda _: None)
            content = await asyncio.to_thread(target.read_bytes)
            return await ipfs.add_directory([New(ARCHIVE, content, None), New(LABEL, done.label, None)])

    async with Ipfs.open(network.rpc_url, 60) as ipfs:
        return await asyncio.gather(*(one(ipfs, archive) for archive in range(1, archives + 1)))


def _uploads(archive: int, digests: Sequence[str]) -> list[Upload]:
    now = datetime.now(UTC)
    return [
        Upload((archive - 1) * FILES + number + 1, f"gate-{number}.mp4", _FILE_BYTES, digest, f"upload-{number}", now)
        for number, digest in enumerate(digests)
    ]


def _recover(mariadb: MariaDB, ours: Kubo, directory: Path, master_key: str, number: int) -> float:
    """Run the command into a new database, for a new data directory; return the seconds that it took."""
    name = f"roadvault_bench_{number}"
    root = directory / f"data-{number}"
    for part in ("received", "archives", "downloads"):
        (root / part).mkdir(parents=True)
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    migrate(mariadb.url(name), lambda _: None)
    environment = {
        "PATH": os.environ["PATH"],
        "ROADVAULT_DATABASE_URL": mariadb.url(name),
        "ROADVAULT_DATA_DIR": str(root),
        "ROADVAULT_MASTER_KEYS": master_key,
        "ROADVAULT_IPFS_GATEWAY_URL": ours.gateway_url,
        "ROADVAULT_IPFS_RPC_URL": ours.rpc_url,
    }
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("roadvault")), "recover", "--cids", str(directory / "cids")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")
    return seconds


async def _fetch(ours: Kubo, cids: Sequence[str]) -> None:
    """Fetch what recovery reads of each archive, as many at once, and make nothing of it."""
    waiting = iter(cids)

    async def work(reader: Reader) -> None:
        for cid in waiting:
            place = (await reading.look(reader, cid)).label
            manifest = Label.parse(place or b"").manifest
            async for _ in reader.read(archive_path(cid, 2), manifest.offset, manifest.size):
                pass

    async with Reader.open(ours.gateway_url, 60) as reader:
        await asyncio.gather(*(work(reader) for _ in range(AT_ONCE)))
