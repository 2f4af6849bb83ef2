"""A real kill before and after every call that outlives the process, in every act of every service; then recovery.

The points are generated: a clean run of the act says which calls it makes. So a new write, unlink, fsync, commit,
request or emit is a new point by itself. That each stage, and each thing that a service does, has its act is read from
the services themselves; buying and watching have points of their own (`test_orderer_kills.py`).
"""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from chaos.crash_acts import ACTS
from chaos.crash_scene import Scene
from chaos.crash_subjects import LIMITS
from chaos.points import POLLS, gaps
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis import Redis
from sites import site

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.retention.periods import Periods
from roadvault_common.sql.db import Database
from roadvault_common.work.stages import (
    ASK,
    AUDIT,
    CALLBACK,
    DROP,
    EXPIRE,
    FETCH,
    INSPECT,
    LOOK,
    ORDER,
    PACK,
    PIN,
    PROVE,
    REPORT,
    RESTORE,
    SHRED,
    STAGES,
    WATCH,
    Stage,
)
from roadvault_crust_orderer.proof.audit import Auditor
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_ingest.service import Ingest
from roadvault_ingest.uploads.joining import Joining
from roadvault_ingest.uploads.upload_sweep import UploadSweep
from roadvault_notifier.service import Notifier
from roadvault_packer.service import Packer
from roadvault_pinner.copies.inspecting import Inspector
from roadvault_pinner.service import Pinner
from roadvault_retriever.looking.looker import Looker
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo

STAGE_OF: dict[str, Stage] = {
    "pack": PACK,
    "give_up": PACK,
    "hear": PACK,
    "pin": PIN,
    "drop": DROP,
    "restore": RESTORE,
    "shred": SHRED,
    "prove": PROVE,
    "audit": AUDIT,
    "inspect": INSPECT,
    "fetch": FETCH,
    "fetch_from_ipfs": FETCH,
    "clip": FETCH,
    "look": LOOK,
    "expire": EXPIRE,
    "call_back": CALLBACK,
    "ask_batch": ASK,
    "cancel_batch": ASK,
    "report": REPORT,
}
"""The stage whose lease an act takes; the others take none."""
DOES: dict[type, dict[str, str | None]] = {
    Ingest: {
        "upload": "upload",
        "request_download": "request",
        "request_batch": "request_batch",
        "batch": None,
        "files": None,
        "close_aged_folders": "close_folders",
        "sweep_orphans": "sweep_orphans",
        "file": None,
        "custody": None,
        "receipt": None,
        "view_url": None,
        "streams": None,
        "ring": "close_folders",
        "picture": None,  # what it may have made anew nobody misses
    },
    Joining: {
        "begin": "go_on",
        "go_on": "go_on",
        "join": "join",
        "state": None,
        "settled": None,
        "remove": "expire_uploads",
    },
    UploadSweep: {"sweep": "expire_uploads"},
    Packer: {"sweep_orphans": "sweep_orphans", "measure": None},
    Pinner: {"tidy": None},  # our node's garbage goes, which is nobody's
    Prover: {},
    Auditor: {},
    Inspector: {},
    # What stands in writes is one statement at a time: rows are another store's, or this one's.
    Retriever: {"keep_room": "keep_room", "stand_in": None, "sweep_orphans": "sweep_orphans"},
    # Pictures are nobody's loss; who finds files gives them rows that another time would give them as well.
    Looker: {"check": None, "enrol": None, "keep_bound": None, "sweep_orphans": "sweep_orphans"},
    Notifier: {},
    Periods: {"tend": "tend_keyring", "end_in": "make_period_key", "keep": "tend_keyring"},
}
"""What the services do besides working on their stages' rows, and its acts; None for what leaves rows as they are."""


@pytest.fixture
async def scene(
    database_url: str, redis_url: str, data_dir: Path, kubo: Kubo, network_kubo: Kubo, tmp_path: Path
) -> AsyncIterator[Scene]:
    vault = Vault(data_dir)
    vault.prepare()
    calls: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        calls.append(await request.read())
        return web.Response()

    environment = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
        "ROADVAULT_LINK_SECRET": "a secret for signing links",
        "ROADVAULT_PUBLIC_URL": "http://files.example",
        "ROADVAULT_IPFS_RPC_URL": kubo.rpc_url,
        "ROADVAULT_IPFS_GATEWAY_URL": kubo.gateway_url,
        "ROADVAULT_PROOF_GATEWAY_URL": network_kubo.gateway_url,
        "ROADVAULT_CRUST_SEED": "//Alice",
        "ROADVAULT_CALLBACK_ALLOW_PRIVATE": "127.0.0.0/8,::1/128",
        "ROADVAULT_DISK_MARGIN_BYTES": "0",
        "ROADVAULT_KEYRING_PATHS": f"{tmp_path / 'keyring'},{tmp_path / 'other'}",
        "ROADVAULT_ORPHAN_HOURS": "1e-9",
        "ROADVAULT_QUARANTINE_DAYS": "1e-12",
        "ROADVAULT_FOLDER_FILES": str(LIMITS.files),
        "ROADVAULT_INGEST_WORKER": "crash",
    }
    nursery = await asyncio.create_subprocess_exec(
        sys.executable, Path(__file__).with_name("crash_child.py"),
        env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with (
        Database.open(database_url) as db,
        site([web.post("/cb", take)]) as url,
    ):
        await Identity(db, vault.root).settle()
        with Redis.from_url(redis_url) as redis:
            keyring = tmp_path / "keyring", tmp_path / "other"
            keys = MasterKeys(SecretStr(environment["ROADVAULT_MASTER_KEYS"]))
            yield Scene(db, redis, vault, network_kubo, nursery, url, keyring, keys, calls)
    assert nursery.stdin is not None
    nursery.stdin.close()
    assert await asyncio.wait_for(nursery.wait(), 10) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ACTS)
async def test_a_kill_at_any_point_is_recovered_from(act: str, scene: Scene) -> None:
    out = await scene.clean(act, await scene.subject(act))
    assert (f"CLAIM {STAGE_OF[act].name}" in out) if act in STAGE_OF else not any("CLAIM" in line for line in out)
    points = _deadly(out)
    assert len(points) >= 2, f"{act} changes nothing that outlives it"
    for point in points:
        row_id, out = await _killed(act, point, scene)
        acknowledged = next((line.removeprefix("ACK ") for line in out if line.startswith("ACK ")), None)
        await scene.let_leases_run_out()
        if act != "upload":  # a client sends again, or not; what counts is what it was told
            await scene.clean(act, row_id)
        try:
            await scene.check(act, row_id, acknowledged)
            assert await scene.strays() == []
        except AssertionError as error:
            raise AssertionError(f"{act} killed at {point}: {error}") from error


def _deadly(out: list[str]) -> list[str]:
    """Return the points to die at; of what is polled the first call only: how many there are is up to the moment."""
    points = gaps([line.removeprefix("POINT ") for line in out if line.startswith("POINT ")])
    return [point for point in points if "#1:" in point or point.partition("#")[0] not in POLLS]


async def _killed(act: str, point: str, scene: Scene) -> tuple[int, list[str]]:
    """Kill the act at a point; once more if it was not reached, since a deadlock or a retry may move the numbers."""
    for _ in range(2):
        row_id = await scene.subject(act)
        code, out = await scene.child(act, row_id, point)
        if code == -signal.SIGKILL:
            return row_id, out
    raise AssertionError(f"{act} at {point}: the point was not reached")


def test_every_stage_and_everything_that_a_service_does_has_its_act() -> None:
    assert {*STAGE_OF.values(), ORDER, WATCH} == set(STAGES)
    assert set(STAGE_OF) <= set(ACTS)
    for service, does in DOES.items():
        public = {name for name, _ in inspect.getmembers(service, inspect.iscoroutinefunction) if name[0] != "_"}
        assert public == set(does), service
        assert {act for act in does.values() if act} <= set(ACTS)


WAYS = """
import os, pathlib, shutil, sys
from chaos.points import install

here = pathlib.Path(sys.argv[1])
(here / "there").write_bytes(b"bytes")
points = install(None)
ways = {
    "open": [
        lambda: open(here / "a", "wb").close(),
        lambda: (here / "b").open("xb", buffering=0).close(),
        lambda: os.close(os.open(here / "c", os.O_WRONLY | os.O_CREAT)),
        lambda: (here / "d").write_text("text"),
        lambda: open(here / "there", "ab").close(),
        lambda: shutil.copyfile(here / "there", here / "e"),
    ],
    "os.remove": [lambda: os.remove(here / "a"), lambda: (here / "b").unlink()],
    "os.rename": [lambda: os.rename(here / "c", here / "f"), lambda: (here / "f").replace(here / "g")],
    "os.mkdir": [lambda: (here / "h").mkdir(), lambda: os.makedirs(here / "i" / "j")],
    "os.rmdir": [lambda: (here / "h").rmdir()],
    "os.link": [lambda: os.link(here / "there", here / "k")],
    "os.symlink": [lambda: (here / "l").symlink_to(here / "there")],
    "os.truncate": [lambda: os.truncate(here / "there", 2), lambda: os.ftruncate(os.open(here / "there", 2), 1)],
    "os.setxattr": [lambda: os.setxattr(here / "there", "user.x", b"1")],
    "fsync": [lambda: os.fsync(os.open(here / "there", os.O_RDONLY))],
    "fdatasync": [lambda: os.fdatasync(os.open(here / "there", os.O_RDONLY))],
    "posix_fallocate": [lambda: os.posix_fallocate(os.open(here / "there", os.O_RDWR), 0, 9)],
    "pwrite": [lambda: os.pwrite(os.open(here / "there", os.O_RDWR), b"x", 0)],
}
for name, acts in ways.items():
    for number, act in enumerate(acts):
        before = len(points.seen)
        try:
            act()
        except OSError as error:
            assert name == "os.setxattr", error  # not on every file system; it was seen all the same
        seen = points.seen[before:]
        assert any(point.startswith(name + "#") and point.endswith(":before") for point in seen), (name, number, seen)
before = len(points.seen)
(here / "there").read_bytes(), os.listdir(here), os.stat(here)
assert points.seen[before:] == []
"""


def test_every_way_to_change_a_file_is_a_point_and_reading_is_none(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", WAYS, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}, check=True,
    )  # fmt: skip
