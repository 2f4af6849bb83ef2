"""What the orderer hears."""

from roadvault_common.events.bus import HandlerTable
from roadvault_common.events.kinds import ZipPinned
from roadvault_crust_orderer.service import Orderer


async def zip_pinned(orderer: Orderer, _event: ZipPinned) -> None:
    """Buy storage for the archive, when its turn comes: its row is due."""
    orderer.buying.nudge()


HANDLERS: HandlerTable = {ZipPinned: zip_pinned}
