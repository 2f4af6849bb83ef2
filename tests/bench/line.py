"""Reading from another IPFS node over good and bad lines: two Kubo nodes with Toxiproxy between, nothing else.

Beside curl's ranged GET on the same gateway, and a block by its name; our node holds nothing at the beginning of each.
"""

import asyncio
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.peers import find
from bench.system import random_file
from chaos.proxies import Proxies, toxiproxy
from free_ports import pick_free
from servers_process import Running

from roadvault_common.ipfs.asking import Progress
from roadvault_common.ipfs.dag import Cid, Node, Part, leaves, parse
from roadvault_common.ipfs.gateway import Gateway
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import CHUNK_BYTES, Ipfs
from roadvault_stack.kubo import Kubo, KuboPorts
from roadvault_stack.ports import HOST

LONG_BYTES, SLOW_BYTES, SHORT_BYTES = 50_000_000, 20_000_000, 100_000
ROUND_TRIP_SECONDS = 0.2
SLOW_KB = 2000
PAUSE_SECONDS = 40
_STALL_SECONDS = 60
"""ROADVAULT_IPFS_STALL_SECONDS's default."""
_START_SECONDS = 30


class _Behind(Kubo):
    """A node that is known under another port than it listens on, or dials its peer there."""

    known_as = 0
    dials: tuple[str, int] | None = None

    def prepare(self) -> None:
        super().prepare()
        config = self._config()
        address = "/ip4/" + HOST + "/tcp/{}"
        config["Addresses"]["Announce"] = [address.format(self.known_as)] if self.known_as else []
        peers = [] if self.dials is None else [{"ID": self.dials[0], "Addrs": [address.format(self.dials[1])]}]
        config["Peering"]["Peers"] = peers
        (self.home / "config").write_text(json.dumps(config))


@dataclass
class Lines:
    """Two nodes, what is between them, and a file that only the other one has."""

    ours: Kubo
    proxies: Proxies
    cid: str
    size: int
    inner: int

    @classmethod
    @contextmanager
    def open(cls, directory: Path, size: int) -> Iterator["Lines"]:
        """Start all, and have the other node add a file."""
        control, through, *ports = pick_free(8)
        ours = _Behind("ipfs", directory / "ipfs", KuboPorts(*ports[:3]))
        other = _Behind("network-ipfs", directory / "network-ipfs", KuboPorts(*ports[3:]))
        other.known_as = through
        other._init()
        ours.dials = other.peer_id, through
        with ExitStack() as stack:
            command = toxiproxy(control, directory / "toxiproxy.json", {"swarm": (through, ports[5])})
            proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(proxy.kill)
            _wait(lambda: Proxies.answers(control))
            for running in (Running(other), Running(ours)):
                stack.callback(running.stop)
                running.start()
            _wait(lambda: bool((ours.rpc("swarm/peers") or {}).get("Peers")))
            random_file(directory / "file", size)
            cid, whole = asyncio.run(_add(other, directory / "file"))
            yield cls(ours, Proxies(control, ["swarm"]), cid, size, whole - size)

    def cold(self, run: Callable[[], object]) -> float:
        """Run something while our node holds nothing; return how many seconds it took."""
        asyncio.run(_forget(self.ours))
        with timed() as seconds:
            run()
        return seconds()

    def moved(self) -> int:
        """Return how many bytes of blocks our node has received so far."""
        stat = self.ours.rpc("stats/bitswap")
        assert stat is not None
        return int(stat["DataReceived"])

    def read(self, offset: int, size: int, progress: Progress | None = None) -> None:
        """Read a range with the product's own reader."""

        async def all_of_it() -> int:
            async with Reader.open(self.ours.gateway_url, _STALL_SECONDS) as reader:
                return sum([len(piece) async for piece in reader.read(self.cid, offset, size, progress)])

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the services have it
            assert runner.run(all_of_it()) == size

    def curl(self, path: str, *arguments: str) -> None:
        """Fetch from our node's gateway."""
        command = [find("curl"), "-sS", "-f", "-o", "/dev/null", *arguments, f"{self.ours.gateway_url}/ipfs/{path}"]
        subprocess.run(command, check=True)

    def range(self, offset: int, size: int) -> None:
        """Fetch a range with curl."""
        self.curl(self.cid, "-r", f"{offset}-{offset + size - 1}")

    def leaf(self, offset: int) -> str:
        """Return the CID of the leaf with a byte."""

        async def found() -> str:
            async with Gateway.open(self.ours.gateway_url, _STALL_SECONDS) as gateway:

                async def look(part: Part) -> Node:
                    return parse(await gateway.block(part.cid, 2 << 20))

                return str((await anext(leaves(look, Cid.parse(self.cid), offset, offset + 1))).cid)

        return asyncio.run(found())

    @contextmanager
    def bad(self, *kinds: tuple[str, dict[str, Any]]) -> Iterator[None]:
        """Spoil the line both ways."""
        with ExitStack() as stack:
            for kind, attributes in kinds:
                for stream in ("upstream", "downstream"):
                    stack.enter_context(self.proxies.toxic("swarm", kind, stream, **attributes))
            yield


async def _add(node: Kubo, path: Path) -> tuple[str, int]:
    async def stream() -> Any:  # noqa: ANN401 - an async generator of bytes
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                yield data

    async with Ipfs.open(node.rpc_url, 300) as ipfs:
        cid = await ipfs.add(stream(), None)
        return cid, await ipfs.dag_size(cid)


async def _forget(node: Kubo) -> None:
    async with Ipfs.open(node.rpc_url, 300) as ipfs:
        await ipfs.collect_garbage()


def _wait(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def measure(directory: Path, total_bytes: int, runs: int) -> list[Measure]:
    """Read over a good line, one of 200 ms, one of 2 MB/s besides, and one that pauses."""
    with Lines.open(directory, total_bytes) as lines:
        return [*_good(lines, runs), _far(lines, runs), _slow(lines), _pausing(lines)]


def _good(lines: Lines, runs: int) -> list[Measure]:
    took = Measure(
        "50 MB from another node, cold: read", "s", more_is_better=False,
        targets=[Target("range by curl", 1.1, least=False)],
    )  # fmt: skip
    blocks = "the blocks touched + inner nodes"
    moved = Measure(
        "the same: bytes moved", "MB", more_is_better=False, targets=[Target(blocks, 1, least=False)]
    )  # fmt: skip

    def offset() -> int:
        return random.randrange(lines.size - LONG_BYTES)

    def ours() -> float:
        begin, before = offset(), lines.moved()
        seconds = lines.cold(lambda: lines.read(begin, LONG_BYTES))
        first, last = begin // CHUNK_BYTES, (begin + LONG_BYTES - 1) // CHUNK_BYTES
        moved.add(OURS, (lines.moved() - before) / 1e6)
        moved.add(blocks, ((last - first + 1) * CHUNK_BYTES + lines.inner) / 1e6)
        return seconds

    def curl() -> float:
        begin = offset()
        return lines.cold(lambda: lines.range(begin, LONG_BYTES))

    take_turns(took, {OURS: ours, "range by curl": curl}, runs)
    return [took, moved]


def _far(lines: Lines, runs: int) -> Measure:
    measure = Measure(
        f"100 KB of {lines.size / 1e9:g} GB, cold, {ROUND_TRIP_SECONDS * 1000:g} ms away", "round trips",
        more_is_better=False, targets=[],
    )  # fmt: skip
    begin = lines.size // 2 // CHUNK_BYTES * CHUNK_BYTES + 5000
    leaf = lines.leaf(begin)
    with lines.bad(("latency", {"latency": int(ROUND_TRIP_SECONDS * 500)})):
        contenders = {
            OURS: lambda: lines.cold(lambda: lines.read(begin, SHORT_BYTES)) / ROUND_TRIP_SECONDS,
            "the block by its name": lambda: lines.cold(lambda: lines.curl(f"{leaf}?format=raw")) / ROUND_TRIP_SECONDS,
        }
        take_turns(measure, contenders, runs)
    more = measure.median(OURS) - measure.median("the block by its name")
    measure.note = f"{more:.1f} more than the block ({'reached' if more <= 1.5 else 'missed'}: ≤ 1.5)"
    return measure


def _slow(lines: Lines) -> Measure:
    measure = Measure(
        "20 MB, cold, over a line of 2 MB/s with 200 ms", "s", more_is_better=False,
        targets=[Target("range by curl", 1.1, least=False)],
    )  # fmt: skip
    with lines.bad(("latency", {"latency": int(ROUND_TRIP_SECONDS * 500)}), ("bandwidth", {"rate": SLOW_KB})):
        take_turns(
            measure,
            {
                OURS: lambda: lines.cold(lambda: lines.read(0, SLOW_BYTES)),
                "range by curl": lambda: lines.cold(lambda: lines.range(0, SLOW_BYTES)),
            },
            1,
        )
    return measure


def _pausing(lines: Lines) -> Measure:
    """Let the line fall silent in the middle, for longer than the 30 s after which Kubo's gateway gives up."""
    measure = Measure(
        f"50 MB, cold, over a line of 20 MB/s that pauses for {PAUSE_SECONDS} s", "s", more_is_better=False, targets=[]
    )
    begun = threading.Event()

    def pause() -> None:
        begun.wait()
        with lines.bad(("timeout", {"timeout": 0})):
            time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=pause)
    thread.start()
    with lines.bad(("bandwidth", {"rate": 20_000})):
        measure.add(OURS, lines.cold(lambda: lines.read(0, LONG_BYTES, lambda _: begun.set())))
        thread.join()
    measure.note = "read to its end"
    return measure
