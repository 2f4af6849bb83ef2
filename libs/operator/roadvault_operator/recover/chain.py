"""The last source: what an account ordered, by the chain's own blocks; the newest catalogue may be among it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.records import HEAD
from roadvault_common.errors import (
    ChainUnavailable,
    IntegrityError,
    IpfsUnavailable,
    Outage,
    PermanentError,
    RoadVaultError,
    SettingsError,
    brief,
)
from roadvault_common.ipfs.asking import Patience
from roadvault_common.ipfs.dag import BLOCK_BYTES, DAG_PB, Cid, directory
from roadvault_common.ipfs.reading import Reader
from roadvault_operator.config import OperatorSettings
from roadvault_operator.recover import catalogue as catalogues
from roadvault_operator.recover.catalogue import Catalogue
from roadvault_operator.recover.nodes import Head, Nodes
from roadvault_operator.recover.scan import Scan
from roadvault_operator.recover.scanned import FILE, Scanned, Sent

TERM = 2_592_000
"""Blocks that an order lasts at least: 180 days of 6 s, from the first replica on."""
_KEY_BYTES = 32
_AT_ONCE = 32
"""CIDs that are looked at together for a catalogue."""


@dataclass(frozen=True)
class Blocks:
    """Whose orders are looked for, and in which blocks."""

    account: str | None = None
    """An SS58 address; None: that of the seed in the settings."""
    first: int | None = None
    """None: back to the account's first extrinsic."""
    last: int | None = None
    """None: the finalized head."""


@dataclass(frozen=True)
class Ordered:
    """What was found."""

    cids: dict[str, int]
    """What was ordered, each once, the latest order first; and the block of that."""
    head: int
    """The finalized head."""
    told: str
    """What was read, in words."""
    missing: str | None
    """What the account has sent and was not found, in words."""

    def run_out(self, cid: str) -> bool:
        """Tell whether what was bought may have ended: no order was placed since then."""
        return self.cids[cid] + TERM < self.head


async def ordered(
    wanted: Blocks, root: Path, genesis: str | None, advance: Callable[[int, int], None], *, notes: bool
) -> Ordered:
    """Read blocks, and tell what was ordered. `genesis` is the chain's, if it is known already.

    With `notes` what was read is noted in the data directory, `root`; what is noted there is not read again.

    Raises:
        PermanentError: Some blocks, or all, can't be read: nothing may be made of a part.
        SettingsError: The account is not known, or there are no such blocks.
    """
    settings = OperatorSettings()
    key, address = await asyncio.to_thread(_account, wanted.account, settings.crust_seed)
    try:
        async with Nodes.open(settings.crust_url, genesis) as nodes:
            head = await nodes.head(address)
            first, last = _bounds(wanted, head, address)
            advance(last + 1 - first, 0)
            scanned = await asyncio.to_thread(Scanned.read, root, nodes.genesis or "", key, adds=notes)
            scan = Scan(nodes, key, scanned, first=first, last=last, fixed=wanted.first is not None)
            sent = await scan.run(partial(advance, 0))
    except ChainUnavailable as error:
        raise PermanentError(
            f"the chain's blocks can't be read, and nothing was changed: {brief(error)}. What was read is noted: run"
            " it again; ROADVAULT_CRUST_URL may name several nodes, and --chain-from and --chain-to do with some blocks"
        ) from error
    return _summed(wanted, head, sent, f"blocks {scan.floor} to {last} of the chain, for {address}")


def _account(address: str | None, seed: SecretStr | None) -> tuple[bytes, str]:
    """Return the account's public key and SS58 address. Blocks: the libraries take long to import."""
    from scalecodec.utils.ss58 import ss58_decode  # noqa: PLC0415 - other commands don't need it

    from roadvault_common.web import w3auth  # noqa: PLC0415 - likewise

    if address is None:
        if seed is None:
            raise SettingsError("whose orders? Give --account ADDRESS, or set ROADVAULT_CRUST_SEED")
        address = str(w3auth.keypair(seed).ss58_address)
    try:
        key = bytes.fromhex(ss58_decode(address))
    except (ValueError, IndexError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise SettingsError("--account is not the address of an account, as the recovery sheet has it")
    return key, address


def _bounds(wanted: Blocks, head: Head, address: str) -> tuple[int, int]:
    first = 0 if wanted.first is None else wanted.first
    last = head.height if wanted.last is None else wanted.last
    if not 0 <= first <= last <= head.height:
        raise SettingsError(
            f"--chain-from, --chain-to: there are no blocks {first} to {last}; the head is {head.height}"
        )
    if head.sent == 0 and wanted.first is None:
        raise PermanentError(
            f"{address} has sent nothing on this chain: it is another account, or another chain, or was emptied and"
            " removed since; to look for it all the same, say where from, by --chain-from"
        )
    return first, last


def _summed(wanted: Blocks, head: Head, sent: Sequence[Sent], what: str) -> Ordered:
    cids: dict[str, int] = {}
    for one in sent:
        if one.cid is not None:
            cids.setdefault(one.cid, one.block)
    orders = sum(one.cid is not None for one in sent)
    nonces = sorted({one.nonce for one in sent})
    begin = 0 if wanted.first is None else min(nonces, default=head.sent)
    end = head.sent if wanted.last is None else max(nonces, default=begin - 1) + 1
    missing = ", ".join(_gaps([begin - 1, *nonces, end]))
    return Ordered(
        cids,
        head.height,
        f"{what}: {orders} orders of {len(cids)} CIDs",
        f"{what}: extrinsics of the account were not found, by their numbers {missing}. They are not final yet, or a"
        f" node left them out: run it again, with another node, and without what is noted in {FILE}"
        if missing
        else None,
    )


def _gaps(numbers: Sequence[int]) -> list[str]:
    """Return, in words, what is missing between numbers in their order."""
    gaps = [(before + 1, after - 1) for before, after in pairwise(numbers) if after - before > 1]
    return [str(first) if first == last else f"{first} to {last}" for first, last in gaps]


async def newest_catalogue(reader: Reader, found: Ordered, keys: MasterKeys) -> Catalogue | None:
    """Return the newest catalogue among what was ordered, from the latest order backwards; None if there is none.

    Raises:
        IntegrityError: There are catalogues, and none that can be opened.
        Outage: IPFS is away.
    """
    cids, troubles = list(found.cids), list[str]()
    for begin in range(0, len(cids), _AT_ONCE):
        looks = (_look(reader, cid, keys) for cid in cids[begin : begin + _AT_ONCE])
        some = await asyncio.gather(*looks)
        if opened := [one for one in some if isinstance(one, Catalogue)]:
            return max(opened, key=lambda one: one.head.made)
        troubles += [one for one in some if isinstance(one, str)]
    if troubles:
        raise IntegrityError(f"catalogues that the account ordered can't be opened: {'; '.join(troubles)}")
    return None


async def _look(reader: Reader, cid: str, keys: MasterKeys) -> Catalogue | str | None:
    """Return the catalogue that a CID is of; why it can't be opened; None if it is something else, or does not come."""
    try:
        root = Cid.parse(cid)
        patience = Patience(reader.gateway.stall_seconds, None, partial(reader.gateway.meet, root))
        if root.codec != DAG_PB:
            return None
        if HEAD not in directory(await patience.insist(partial(reader.gateway.block, root, BLOCK_BYTES))):
            return None
    except Outage:
        raise
    except IpfsUnavailable:
        return None
    try:
        return await catalogues.read(reader, cid, keys)
    except Outage:
        raise
    except RoadVaultError as error:
        return f"{cid}: {brief(error)}"
