"""What the pinner hears."""

from roadvault_common.events.bus import HandlerTable
from roadvault_common.events.kinds import FolderSealed, ZipReplicated
from roadvault_pinner.service import Pinner


async def folder_sealed(pinner: Pinner, event: FolderSealed) -> None:
    """Put the new archive on IPFS."""
    await pinner.pinning.work(event.zip_id)


async def zip_replicated(pinner: Pinner, event: ZipReplicated) -> None:
    """Drop the archive's local copies."""
    await pinner.dropping.work(event.zip_id)


HANDLERS: HandlerTable = {FolderSealed: folder_sealed, ZipReplicated: zip_replicated}
