"""A pair of Kubo nodes of one's own that find each other's IPNS names, as nodes on the internet do."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from free_ports import pick_free
from servers_process import Running
from servers_session import wait_until_connected

from roadvault_stack.kubo import Kubo, KuboPorts


@contextmanager
def named_pair(parent: Path) -> Iterator[tuple[Running[Kubo], Running[Kubo]]]:
    """Run ours, and the network's."""
    ports = pick_free(6)
    ours = Kubo("ipfs", parent / "named-ipfs", KuboPorts(*ports[:3]), filestore=True, names=True)
    network = Kubo("network-ipfs", parent / "named-network-ipfs", KuboPorts(*ports[3:]), names=True)
    ours.peer_with(network)
    pair = Running(ours), Running(network)
    with ExitStack() as stack:
        for running in pair:
            stack.callback(running.stop)
            running.start()
        wait_until_connected(ours)
        yield pair
