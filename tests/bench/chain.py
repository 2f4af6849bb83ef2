"""How quickly `recover --chain` reads blocks: `python -m bench.chain 20000`, in `tests/`, on a devnet of its own.

Prints blocks for each second, calls and processor time for each block, on loopback and where a node is 100 ms away, and
how long a year of blocks takes at that rate.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from chaos.proxies import Proxies, toxiproxy
from free_ports import pick_free
from servers_devnet import Devnet, running_devnet

from roadvault_operator.recover.nodes import Link, Nodes
from roadvault_operator.recover.scan import Scan
from roadvault_operator.recover.scanned import Scanned
from roadvault_stack.ports import HOST

_YEAR = 365 * 86_400 // 6
"""Blocks of 6 s."""
_ROUND_TRIP_MS = 100
_START_SECONDS = 10
_calls = 0


class _Counted(Link):
    async def ask(self, method, questions, read):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        global _calls  # noqa: PLW0603
        _calls += len(questions)
        return await super().ask(method, questions, read)


async def _read(url: str, blocks: int, what: str) -> None:
    global _calls
    _calls, began, busy = 0, time.perf_counter(), time.process_time()
    async with Nodes.open(url, None) as nodes:
        nothing = Scanned(None, "", bytes(32))
        await Scan(nodes, bytes(32), nothing, first=0, last=blocks - 1, fixed=True).run(lambda _: None)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    print(  # noqa: T201
        f"{what}: {blocks / seconds:,.0f} blocks/s, {_calls / blocks:.3f} calls and {busy / blocks * 1e6:.0f} µs of"
        f" processor time a block; {_YEAR:,} blocks, a year's, take {_YEAR / blocks * seconds / 60:.0f} minutes"
    )


def _run(directory: Path, blocks: int) -> None:
    control, port = pick_free(2)
    with running_devnet(directory / "devnet") as running, ExitStack() as stack:
        devnet: Devnet = running.server
        for _ in range(0, blocks, 1000):
            devnet.blocks(1000)
        command = toxiproxy(control, directory / "proxies", {"node": (port, devnet.ports[0])})
        proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(proxy.wait)
        stack.callback(proxy.terminate)
        deadline = time.monotonic() + _START_SECONDS
        while not Proxies.answers(control) and time.monotonic() < deadline:
            time.sleep(0.05)
        asyncio.run(_read(devnet.url, blocks, "on loopback"))
        proxies = Proxies(control, ["node"])
        for stream in ("upstream", "downstream"):
            stack.enter_context(proxies.toxic("node", "latency", stream, latency=_ROUND_TRIP_MS // 2))
        asyncio.run(_read(f"ws://{HOST}:{port}", blocks, f"{_ROUND_TRIP_MS} ms away"))


if __name__ == "__main__":
    from roadvault_operator.recover import scan

    scan.Link = _Counted  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(prefix="rv-bench-") as made:
        _run(Path(made), int(sys.argv[1]))
