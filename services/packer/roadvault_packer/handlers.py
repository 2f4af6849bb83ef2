"""What the packer hears."""

from roadvault_common.events.bus import HandlerTable
from roadvault_common.events.kinds import FileReceived
from roadvault_packer.service import Packer


async def file_received(packer: Packer, event: FileReceived) -> None:
    """Pack the file's folder, if it has closed."""
    await packer.packing.work(event.folder_id)


HANDLERS: HandlerTable = {FileReceived: file_received}
