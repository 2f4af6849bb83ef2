"""What the retriever hears."""

from roadvault_common.events.bus import HandlerTable
from roadvault_common.events.kinds import DownloadRequested
from roadvault_retriever.service import Retriever


async def download_requested(retriever: Retriever, event: DownloadRequested) -> None:
    """Bring the file back."""
    await retriever.fetching.work(event.download_id)


HANDLERS: HandlerTable = {DownloadRequested: download_requested}
