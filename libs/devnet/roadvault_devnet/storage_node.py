"""The network's storage node: pulls what is ordered into its own Kubo, over bitswap, and lets go of it in the end."""

import asyncio
import json

import aiohttp
import structlog

from roadvault_devnet import files
from roadvault_devnet.chain import Chain
from roadvault_devnet.growth import Growth
from roadvault_devnet.store import Store

_log = structlog.get_logger()

_PULLS = 4
"""Files at a time, of those that were not tried yet, and of the others: one that nobody has keeps none waiting."""
_STALL_SECONDS = 60.0
"""A pull that brings no new block for so long is given up, and tried again later."""
_RETRY_SECONDS = 5.0
_PASS_SECONDS = 1.0
_GRACE_BLOCKS = 100
"""So long after its term a file stays pinned: who orders it again in time loses nothing."""
_NOT_PINNED = "not pinned"


class PullFailed(Exception):
    """Kubo could not pin a file now."""


class StorageNode:
    """Keeps in its Kubo what the market knows."""

    def __init__(self, chain: Chain, store: Store, http: aiohttp.ClientSession, kubo_rpc_url: str | None) -> None:
        """Use the Kubo node at that URL; without one, everything counts as held and nothing is pulled."""
        self._chain = chain
        self._store = store
        self._http = http
        self._url = kubo_rpc_url and kubo_rpc_url.rstrip("/")
        self._held = store.held()
        self._not_before: dict[str, float] = {}
        self._pulling: set[str] = set()
        self._lost: dict[str, int] = {}
        """What was paid for files when they were lost: they are pulled anew once more was."""
        self._first = asyncio.Semaphore(_PULLS)
        self._again = asyncio.Semaphore(_PULLS)
        self._wake = asyncio.Event()
        self.growth = Growth(chain, self.holds)

    @property
    def held(self) -> set[str]:
        """The CIDs that are pinned."""
        return set(self._held)

    def holds(self, cid: str) -> bool:
        """Tell whether replicas of a file may be reported."""
        return self._url is None or cid in self._held

    async def lose(self, cid: str) -> bool:
        """Lose a file, as a broken disk does, and go on reporting it; False if Kubo did not let go of it now."""
        self._lost[cid] = self._paid(cid)
        await self._let_go(cid)
        timeout = aiohttp.ClientTimeout(total=_STALL_SECONDS)
        async with self._http.post(f"{self._url}/api/v0/repo/gc", timeout=timeout) as response:
            await response.read()
        return cid not in self._held

    def _paid(self, cid: str) -> int:
        """Return what was paid so far, in planck, of what goes to those who store a file."""
        stored = self._chain.read(self.growth.ordered()[cid]) or b""
        return files.decode(stored, self._chain.rules.generation).amount

    async def run(self) -> None:
        """Pull and let go until cancelled."""
        self._chain.on_head.append(lambda _block: self._wake.set())
        async with asyncio.TaskGroup() as pulls:
            while True:
                self._wake.clear()
                ordered = self._living()
                for cid in self._due(ordered):
                    self._pulling.add(cid)
                    pulls.create_task(self._pull(cid))
                for cid in self._held - ordered:
                    await self._let_go(cid)
                await self._next_pass()

    async def _next_pass(self) -> None:
        """Wait for a block, or a little: a retry comes due also while no blocks are made."""
        try:
            async with asyncio.timeout(_PASS_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return

    def _living(self) -> set[str]:
        """Return the CIDs whose term has not begun or not long ended."""
        over = self._chain.head.number - _GRACE_BLOCKS
        known = {cid: self._chain.read(key) or b"" for cid, key in self.growth.ordered().items()}
        return {cid for cid, stored in known.items() if not 0 < files.expired_at(stored) <= over}

    def _due(self, ordered: set[str]) -> list[str]:
        now = asyncio.get_running_loop().time()
        lost = {cid for cid, paid in self._lost.items() if cid in ordered and self._paid(cid) <= paid}
        missing = ordered - self._held - self._pulling - lost
        return sorted(cid for cid in missing if self._not_before.get(cid, 0) <= now)

    async def _pull(self, cid: str) -> None:
        try:
            async with self._again if cid in self._not_before else self._first:
                await self._pin(cid)
        except (PullFailed, aiohttp.ClientError, TimeoutError) as error:
            _log.warning("pull failed, will try again", cid=cid, error=str(error) or type(error).__name__)
            self._not_before[cid] = asyncio.get_running_loop().time() + _RETRY_SECONDS
        else:
            _log.info("pulled", cid=cid)
            self._not_before.pop(cid, None)
            self._store.set_held(cid, held=True)
            self._held.add(cid)
        finally:
            self._pulling.discard(cid)

    async def _pin(self, cid: str) -> None:
        """Pin a file with all its blocks. Kubo tells now and then how many it has, also when there are no more."""
        options = {"arg": cid, "progress": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_RETRY_SECONDS, sock_read=_STALL_SECONDS)
        async with self._http.post(f"{self._url}/api/v0/pin/add", params=options, timeout=timeout) as response:
            if response.status != 200:  # noqa: PLR2004 - anything else is an error with a text
                raise PullFailed((await response.text())[:500])
            await self._follow(response)

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        clock = asyncio.get_running_loop().time
        blocks, since, pinned = -1, clock(), False
        async for line in response.content:
            message = json.loads(line)
            pinned = pinned or bool(message.get("Pins"))
            if message.get("Progress", blocks) != blocks:
                blocks, since = message["Progress"], clock()
            elif clock() - since > _STALL_SECONDS:
                raise PullFailed(f"no new block for {_STALL_SECONDS:.0f} s, {blocks} so far")
        if not pinned:
            raise PullFailed("the node ended the pull without a pin")

    async def _let_go(self, cid: str) -> None:
        timeout = aiohttp.ClientTimeout(total=_STALL_SECONDS)
        try:
            options = {"arg": cid}
            async with self._http.post(f"{self._url}/api/v0/pin/rm", params=options, timeout=timeout) as response:
                if response.status != 200 and _NOT_PINNED not in await response.text():  # noqa: PLR2004
                    return
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("unpin failed, will try again", cid=cid, error=str(error) or type(error).__name__)
            return
        _log.info("let go", cid=cid)
        self._store.set_held(cid, held=False)
        self._held.discard(cid)
