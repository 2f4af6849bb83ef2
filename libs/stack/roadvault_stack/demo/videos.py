"""Makes real, playable road-scene videos of a wanted size with PyAV."""

import random
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame

WIDTH, HEIGHT, RATE = 640, 360, 25
_MOST_FRAMES = 2000
_CHROMA = bytes([128]) * (WIDTH // 2 * HEIGHT // 2)
"""Neutral colour: the scene is grey, as at night."""


def make(path: Path, size: int, seed: int) -> int:
    """Write an MP4 of about `size` bytes to `path`; return how many frames it has. Blocks."""
    dice = random.Random(seed)  # noqa: S311 - a picture, not a secret
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "18"}
        written = frames = 0
        while written < size and frames < _MOST_FRAMES:
            for packet in stream.encode(_frame(dice, frames)):
                written += packet.size
                container.mux(packet)
            frames += 1
        for packet in stream.encode(None):
            container.mux(packet)
    return frames


def _frame(dice: random.Random, number: int) -> VideoFrame:
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    frame.planes[0].update(_luma(dice, number))
    frame.planes[1].update(_CHROMA)
    frame.planes[2].update(_CHROMA)
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def _luma(dice: random.Random, number: int) -> bytes:
    """Return a sky, a road with a dashed line that moves towards the camera, and the sensor's noise."""
    rows = []
    for y in range(HEIGHT):
        if y < HEIGHT // 3:
            rows.append(bytes([40]) * WIDTH)
            continue
        half = 4 + (y - HEIGHT // 3) // 20
        noise = dice.randbytes(WIDTH // 4)
        road = bytearray(bytes([90]) * (WIDTH // 2) + noise + noise)
        if (y + number * 6) // 24 % 2:
            road[WIDTH // 2 - half : WIDTH // 2 + half] = bytes([230]) * (2 * half)
        rows.append(bytes(road))
    return b"".join(rows)


def frames_of(path: Path) -> int:
    """Return how many frames of a video can be decoded: whether it plays."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
