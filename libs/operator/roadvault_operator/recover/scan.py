"""What an account has sent, by the bodies of the chain's blocks: from the newest back to its first extrinsic.

Whether an order succeeded only the block's state tells, which ordinary nodes forget after 256 blocks; bodies are kept.
So all that was ordered counts: what a CID is, and whether the network has it, is found out anyway.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from roadvault_common.errors import ChainUnavailable, IntegrityError
from roadvault_common.receipts import extrinsic as extrinsics
from roadvault_operator.recover.nodes import Link, Nodes, NotKept
from roadvault_operator.recover.scanned import Scanned, Sent

CHUNK = 512
"""Blocks that are read, and noted as read, together; chunks begin at its multiples."""
_LINKS = 4
"""Connections."""
_LONGEST_CID = 100
"""Characters; ours have 59, and a node may send anything."""


class Scan:
    """One pass over blocks, downwards. It ends at the account's first extrinsic, unless `first` is `fixed`."""

    def __init__(self, nodes: Nodes, account: bytes, scanned: Scanned, *, first: int, last: int, fixed: bool) -> None:
        """Look at the blocks `first` to `last`, both included, but those that `scanned` has."""
        self._nodes = nodes
        self._account = account
        self._scanned = scanned
        self._last = last
        self._floor = first
        """The lowest block that is still looked at."""
        self._fixed = fixed
        self._trouble: ChainUnavailable | None = None
        self._sent: list[Sent] = []

    async def run(self, advance: Callable[[int], None]) -> list[Sent]:
        """Return what the account has sent, the latest first; `advance` is told how many blocks were read.

        Raises:
            ChainUnavailable: Some blocks can't be read; those that were are noted.
        """
        chunks = self._chunks()
        await asyncio.gather(*(self._work(chunks, number, advance) for number in range(_LINKS)))
        if self._trouble is not None:
            raise self._trouble
        return sorted(self._sent, key=lambda one: (one.block, one.nonce), reverse=True)

    @property
    def floor(self) -> int:
        """The lowest block that had to be read, so far."""
        return self._floor

    def _chunks(self) -> Iterator[range]:
        """Yield what is to be read, for as long as there is any hope in it."""
        begin = self._last - self._last % CHUNK
        while begin + CHUNK > self._floor and self._trouble is None:
            yield range(max(begin, self._floor), min(begin + CHUNK, self._last + 1))
            begin -= CHUNK

    async def _work(self, chunks: Iterator[range], number: int, advance: Callable[[int], None]) -> None:
        urls = self._nodes.urls
        link = Link(self._nodes, [*urls[number % len(urls) :], *urls[: number % len(urls)]])
        try:
            for chunk in chunks:
                known = self._scanned.found(chunk)
                self._take(await self._read(link, chunk) if known is None else known)
                advance(len(chunk))
        except ChainUnavailable as error:
            self._trouble = self._trouble or error
        finally:
            await link.close()

    def _take(self, found: list[Sent]) -> None:
        self._sent += found
        begun = [one.block for one in found if one.nonce == 0]
        if begun and not self._fixed:
            self._floor = max(self._floor, *begun)

    async def _read(self, link: Link, chunk: range) -> list[Sent]:
        hashes = await link.insist("chain_getBlockHash", [[list(chunk)]], partial(_hashes, chunk))
        questions = [[block_hash] for block_hash in hashes[0]]
        found = await link.insist("chain_getBlock", questions, partial(self._sent_in, chunk))
        sent = [one for some in found for one in some]
        await asyncio.to_thread(self._scanned.note, chunk, sent)
        return sent

    def _sent_in(self, chunk: range, number: int, answer: Any) -> list[Sent]:  # noqa: ANN401 - JSON
        height = chunk[number]
        if answer is None:
            raise NotKept(
                f"a Crust node does not have the body of block {height}, nor, it may be, those before: it keeps the"
                " latest only. Name one that keeps all (--blocks-pruning archive, or archive-canonical, which is usual)"
            )
        block = answer["block"]
        if int(block["header"]["number"], 16) != height:
            raise ValueError(height)
        ours = self._account.hex()
        # Most extrinsics don't have the account's bytes anywhere; to look for them takes no time.
        signed = [_sent(bytes.fromhex(one[2:]), height, self._account) for one in block["extrinsics"] if ours in one]
        return [one for one in signed if one is not None]


def _hashes(chunk: range, _: int, answer: Any) -> list[str]:  # noqa: ANN401 - JSON
    if len(answer) != len(chunk):
        raise ValueError(len(answer))
    if None in answer:
        raise NotKept(f"a Crust node does not have block {chunk[answer.index(None)]}: it is behind, or begins later")
    return [str(one) for one in answer]


def _sent(content: bytes, height: int, account: bytes) -> Sent | None:
    """Return what an extrinsic is that has the account's bytes in it; None if it is not the account's."""
    try:
        signer, nonce = extrinsics.sent_by(content)
    except IntegrityError:
        return None
    if signer != account:
        return None
    try:
        cid = extrinsics.read(content).cid
    except IntegrityError:
        return Sent(height, nonce, None)
    return Sent(height, nonce, cid if len(cid) <= _LONGEST_CID else None)
