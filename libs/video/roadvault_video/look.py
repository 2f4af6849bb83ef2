"""The job that looks at a video: facts first, then pictures. Runs in the sandbox."""

import av

from roadvault_video import facts, posters, pyav  # noqa: F401 - all of PyAV is loaded
from roadvault_video.child import Out, Video

_CONTAINERS = "mov,mpegts,matroska,avi,mpeg,flv,asf,dhav"
"""What cameras and recorders write, and nothing that leads to other files."""
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none", "max_streams": "32"}
_BUFFER_BYTES = 1 << 16


def run(video: Video, out: Out) -> None:
    """Look at it."""
    with av.open(video, "r", metadata_errors="replace", options=_OPTIONS, buffer_size=_BUFFER_BYTES) as container:
        out.note(**facts.of(container, video))
        posters.make(container, out)
