"""Where an upload went."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Placed:
    """Where a file went and when (UTC), and the folder that closed before or with it, if any.

    `twice` says that the upload came before: the file is the first one's; `differs` that this has other bytes.
    """

    file_id: int
    folder_id: int
    create_time: datetime
    closed_folder_id: int | None = None
    twice: bool = False
    differs: bool = False
