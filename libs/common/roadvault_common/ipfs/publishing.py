"""Blocks that we make ourselves, and the IPNS name under which they are found."""

from collections.abc import Sequence

import aiohttp
import orjson

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.car import encode_car
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.rpc import PATIENT, Ipfs

_KEY_EXISTS = "already exists"
_IMPORT_SECONDS = 120
"""What an import may take; one that has to wait for a garbage collection is done again."""
_NAME_LIFETIME, _NAME_TTL, _NAME_SECONDS = "8760h", "1m", 300
"""How long a record of a name is valid: whoever has kept one can still use it when our node has been gone for long; how
long it may be taken for the newest; and what publishing it may take on a large network, in seconds."""
_RESOLVE_SECONDS, _ANSWER_SECONDS = 60, 15
"""What looking for an IPNS name's records may take, and the answer besides: on a large network Kubo, silent, uses all
of it, and then gives the best that it found."""


async def import_blocks(node: Ipfs, blocks: Sequence[tuple[Cid, bytes]], *, pin: bool) -> None:
    """Store blocks; pin the first, with all that is below it, if that is wanted.

    What is below it and not among the blocks has to be in the node's store. A garbage collection comes before the
    import, or after the pin.

    Raises:
        IpfsUnavailable: The node is away or refused, or lacks some of what is below the root.
        IpfsDiskFull: Its disk is full.
    """
    # What is missing would be looked for on the network, for ever.
    parameters = {"pin-roots": "true" if pin else "false", "timeout": f"{_IMPORT_SECONDS}s"}
    answer = await node.call("dag/import", parameters, _part(encode_car(blocks)), PATIENT)
    for line in map(orjson.loads, answer.splitlines()):
        trouble = (line.get("Root") or {}).get("PinErrorMsg")
        if trouble:
            raise IpfsUnavailable(f"Kubo's dag/import: {trouble}")


async def publish_name(node: Ipfs, key_name: str, key: bytes, cid: str) -> str:
    """Publish a CID under the IPNS name of a private key (libp2p's protobuf), which the node keeps; return it.

    A node without peers publishes when it has some: it does so again and again by itself.

    Raises:
        IpfsUnavailable: The node is away or refused.
    """
    imported = {"arg": key_name, "format": "libp2p-protobuf-cleartext"}
    await node.call_unless(_KEY_EXISTS, "key/import", imported, body=_part(key))
    parameters = {
        "arg": f"/ipfs/{cid}", "key": key_name, "lifetime": _NAME_LIFETIME, "ttl": _NAME_TTL,
        "allow-offline": "true", "resolve": "false", "ipns-base": "base36",
    }  # fmt: skip
    limits = aiohttp.ClientTimeout(total=_NAME_SECONDS, sock_connect=5)
    return str(orjson.loads(await node.call("name/publish", parameters, limits=limits))["Name"])


async def resolve(node: Ipfs, name: str) -> str:
    """Return the CID that an IPNS name stands for now, as its newest record says that can be found.

    Raises:
        IpfsUnavailable: The node is away, finds none, or the name stands for something else.
    """
    parameters = {"arg": f"/ipns/{name}", "nocache": "true", "dht-timeout": f"{_RESOLVE_SECONDS}s"}
    limits = aiohttp.ClientTimeout(total=_RESOLVE_SECONDS + _ANSWER_SECONDS, sock_connect=5)
    path = str(orjson.loads(await node.call("name/resolve", parameters, limits=limits)).get("Path", ""))
    return str(Cid.parse(path.removeprefix("/ipfs/")))


def _part(data: bytes) -> aiohttp.MultipartWriter:
    """Return a body of one file."""
    form = aiohttp.MultipartWriter("form-data")
    form.append(data).set_content_disposition("form-data", name="file", filename="file")
    return form
