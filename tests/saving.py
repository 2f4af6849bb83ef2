"""What browsers do with links: files and what they are saved as, a video, a script that reads one."""

import io
import os
from fractions import Fraction
from pathlib import Path

import av

BYTES = bytes(range(256)) * 40
NAMES = {
    "京A12345_前方 7.mp4": None,
    "2025年1月 路口（3）：“東門”.ts": None,  # noqa: RUF001 - as people write
    "𠮷野家🚗.mov": None,
    "长" * 80 + ".mp4": None,  # 244 bytes; Chromium asks for another name if there are more
    "a%2Fb%22 100%.mp4": None,
    "a+b&c=d;e#f'g.mp4": None,
    "-rf": None,
    "x.html": None,
    "=?UTF-8?Q?=E6=B5=8B?=.mp4": "=_UTF-8_Q_=E6=B5=8B_=.mp4",
    'say "hi"; filename=evil.exe.mp4': "say _hi_; filename=evil.exe.mp4",
    "a:b?.mp4": "a_b_.mp4",
    "a.": "a",
    "..b.mp4": "b.mp4",
    ".profile": "profile",
    "~": "_",
    "\u202e4pm.exe": "_4pm.exe",
}
"""What browsers call a file that is called so, where it is something else."""
READ = """async ([url, headers]) => {
  const answer = await fetch(url, { headers });
  const told = Object.fromEntries(answer.headers);
  return { ...told, status: answer.status, bytes: Array.from(new Uint8Array(await answer.arrayBuffer())) };
}"""


def whole(path: Path) -> bool:
    """Tell whether a file is there, and no longer a browser's empty place for it."""
    return path.exists() and path.stat().st_size == len(BYTES)


def saved_files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def video() -> bytes:
    """Return thirty seconds whose index is at the end, too long to be had at once."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=4, options={"preset": "ultrafast", "qp": "24", "g": "4"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 320, 240, "yuv420p", Fraction(1, 4)
        for number in range(120):
            frame = av.VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(os.urandom(plane.buffer_size))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
