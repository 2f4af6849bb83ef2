"""What the name of a file tells: dashcams and recorders put the time into it, recorders their channel, too.

2026_0501_071500_001A.MP4, 20260501071500_000123F.MP4, NO20260501-071500-000123F.MP4, 20260501_071500_NF.mp4,
2026-05-01_07-15-00-front.mp4, ch01_20260501071500.mp4, gate7_ch2_main_20260501071500_20260501072000.dav,
192.168.1.64_01_20260501071500123_TIMING.mp4
"""

import re
from dataclasses import dataclass
from datetime import datetime

_TIME = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_T. ]{0,3}(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?:\d{3})?(?!\d)", re.ASCII
)
_CHANNEL = re.compile(
    r"(?:(?P<of>.{1,80}?)[_-])?(?P<channel>ch(?:annel)?[ _-]?\d{1,3})(?=[_-])", re.ASCII | re.IGNORECASE
)
_ADDRESS = re.compile(r"(?P<camera>\d{1,3}(?:\.\d{1,3}){3}_\d{1,3})_(?=20\d{6})", re.ASCII)


@dataclass(frozen=True)
class Named:
    """What a name tells."""

    at: datetime | None = None
    """When the recording began, by the camera's clock, whose zone nobody says."""
    camera: str | None = None


def told_by(name: str) -> Named:
    """Return what a file's name tells."""
    name = name[:250]
    time = _TIME.search(name)
    if time is None:
        return Named()
    try:
        at = datetime(*map(int, time.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 - it has no zone
    except ValueError:
        return Named()
    before = name[: time.start()]
    if address := _ADDRESS.match(name):
        return Named(at, address["camera"])
    if channel := _CHANNEL.match(before):
        of, number = channel["of"], re.sub(r"\D", "", channel["channel"])
        return Named(at, f"{of} ch{number}" if of else f"ch{number}")
    return Named(at)
