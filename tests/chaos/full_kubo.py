"""A Kubo node whose disk runs full: what it says, and that it makes room all the same.

Run in a mount namespace of its own (`unshare --mount`): mounts a small file system at ROADVAULT_DATA_DIR and runs a
node on it. Prints what came of each thing that it was asked for, as JSON.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

from chaos.mounts import mount
from free_ports import pick_free
from servers_process import Running

from roadvault_common.errors import Domain, IpfsAway, RoadVaultError
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work.breakers import Breaker
from roadvault_stack.kubo import Kubo, KuboPorts

DISK_BYTES = 32_000_000


async def content(megabytes: int) -> AsyncIterator[bytes]:
    for _ in range(megabytes):
        yield os.urandom(1 << 20)


async def came_of(asked: Awaitable[object]) -> str:
    try:
        await asked
    except RoadVaultError as error:
        return type(error).__name__
    return "done"


async def scenario(root: Path, ipfs: Ipfs) -> dict[str, object]:
    """Fill the disk, and ask for everything."""
    kept = await ipfs.add(content(2), None)
    report: dict[str, object] = {"add": await came_of(ipfs.add(content(DISK_BYTES >> 20), None))}
    with (root / "others").open("wb", buffering=0) as file:
        while free := shutil.disk_usage(root).free:
            file.write(bytes(free))
    breaker = Breaker(Domain.IPFS, ipfs.check_pinning)
    report["found"] = type(await breaker.suspect()).__name__
    report["rests"] = breaker.reason
    breaker.open(IpfsAway("it was away before its disk was full"))
    breaker.look_at = 0
    report["admits"] = await breaker.admits()
    report["unpin"], report["collect"] = await came_of(ipfs.unpin(kept)), await came_of(ipfs.collect_garbage())
    report["check"], report["free"] = await came_of(ipfs.check_pinning()), shutil.disk_usage(root).free
    return report


async def main(root: Path) -> None:
    node = Running(Kubo("full-ipfs", root / "ipfs", KuboPorts(*pick_free(3))))
    await asyncio.to_thread(node.start)
    try:
        async with Ipfs.open(node.server.rpc_url, 20) as ipfs:
            sys.stdout.write(json.dumps(await scenario(root, ipfs)) + "\n")
    finally:
        node.kill()


if __name__ == "__main__":
    directory = Path(os.environ["ROADVAULT_DATA_DIR"])
    mount(directory, DISK_BYTES)
    asyncio.run(main(directory))
