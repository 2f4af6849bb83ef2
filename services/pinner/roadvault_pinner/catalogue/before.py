"""Looks where our name leads before a catalogue takes it: a database may be new, or older than what was published."""

from collections.abc import Callable, Container

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.catalogue.records import HEAD, Head, open_head
from roadvault_common.errors import IntegrityError, IpfsAway, RoadVaultError, brief
from roadvault_common.ipfs.dag import Cid, directory
from roadvault_common.ipfs.publishing import resolve
from roadvault_common.ipfs.rpc import Ipfs

log = structlog.get_logger()

_SECONDS = 30
"""How long a block of it is looked for: nothing is lost of a catalogue that nobody has any more."""


async def unknown(
    ipfs: Ipfs, keys: MasterKeys, known: Container[str | None], progress: Callable[[], None]
) -> tuple[str, Head] | None:
    """Return the catalogue that our name leads to, with its head, if it is none of those `known`, and somebody has it.

    `progress` is called when our node has answered.

    Raises:
        IpfsAway: Our node can't be asked.
    """
    cid = None
    try:
        cid = await resolve(ipfs, ipns_name(keys))
        progress()
        if cid in known:
            return None
        links = directory(await _block(ipfs, Cid.parse(cid)))
        progress()
        return cid, open_head(await _block(ipfs, links[HEAD]), keys)
    except IpfsAway:
        raise
    except (RoadVaultError, KeyError) as error:
        log.info("our name leads to no catalogue that can be read", cid=cid, reason=brief(error))
        return None


async def _block(ipfs: Ipfs, cid: Cid) -> bytes:
    block = await ipfs.call("block/get", {"arg": str(cid), "timeout": f"{_SECONDS}s"})
    if not cid.fits(block):
        raise IntegrityError(f"{cid} is another block")
    return block
