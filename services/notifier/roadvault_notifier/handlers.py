"""What the notifier hears."""

from roadvault_common.events.bus import HandlerTable
from roadvault_common.events.kinds import FileExtracted
from roadvault_notifier.service import Notifier


async def file_extracted(notifier: Notifier, event: FileExtracted) -> None:
    """Call the client back."""
    await notifier.calling.work(event.download_id)


HANDLERS: HandlerTable = {FileExtracted: file_extracted}
