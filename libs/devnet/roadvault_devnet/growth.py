"""How replicas of files come in: some more with each block, once a storage node really holds the file."""

from collections.abc import Callable
from functools import partial

from roadvault_devnet import files, keys, market
from roadvault_devnet.chain import Chain
from roadvault_devnet.runtime import Change


class Growth:
    """Adds replicas. A file that has all it is to get, or is past its term, is left alone until it changes."""

    def __init__(self, chain: Chain, holds: Callable[[str], bool]) -> None:
        """Ask `holds` whether a storage node has a CID; nothing is reported before that."""
        self._chain = chain
        self._holds = holds
        self._settled: dict[bytes, tuple[bytes, int]] = {}

    def ordered(self) -> dict[str, bytes]:
        """Return the CIDs that the market knows at the head, and the keys of their files."""
        prefix = keys.plain("Market", self._chain.rules.generation.files_item)
        return {keys.cid_of(key).decode(errors="replace"): key for key in self._chain.keys_at(prefix, None)}

    def changes(self) -> list[Change]:
        """Return what the next block reports."""
        ordered = self.ordered()
        self._settled = {key: self._settled[key] for key in ordered.values() if key in self._settled}
        wanted = [self._change(key) for cid, key in ordered.items() if self._holds(cid)]
        return [change for change in wanted if change is not None]

    def _change(self, key: bytes) -> Change | None:
        rules = self._chain.rules
        stored = self._chain.read(key) or b""
        # Reading a file with all its replicas takes a while; most files are done, and look as they did.
        if not rules.replicas_per_block or self._settled.get(key) == (stored, rules.max_replicas):
            return None
        info = files.decode(stored, rules.generation)
        over = bool(info.expired_at) and info.expired_at <= self._chain.head.number
        if over or info.reported_replica_count >= rules.max_replicas:
            self._settled[key] = (stored, rules.max_replicas)
            return None
        count = min(info.reported_replica_count + rules.replicas_per_block, rules.max_replicas)
        return partial(market.report_replicas, cid=keys.cid_of(key), count=count)
