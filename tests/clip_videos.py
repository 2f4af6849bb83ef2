"""Videos to cut clips out of, made with PyAV, and what ffprobe and ffmpeg say of the clips."""

import io
import json
import random
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

RATE = 10
_SAMPLES = 1024


def make(
    path: Path,
    codec: str = "libx264",
    *,
    seconds: int = 8,
    gop: int = 2,
    rotation: int = 0,
    sound: str | None = "aac",
    recorded: str | None = None,
) -> None:
    """Write a small video, with B frames and a key frame every `gop` seconds."""
    with av.open(str(path), "w") as container:
        if recorded is not None:
            container.metadata["creation_time"] = recorded
        pictures = _pictures(container, codec, (160, 96), gop * RATE)
        if rotation:
            pictures.set_display_rotation(rotation)
        samples = None if sound is None else container.add_stream(sound, rate=8000 if "law" in sound else 16000)
        assert samples is None or isinstance(samples, AudioStream)
        dice, told = random.Random(1), 0
        for number in range(seconds * RATE):
            container.mux(pictures.encode(_frame(dice, 160, 96, number)))
            while samples is not None and told < (number + 1) * samples.rate // RATE:
                container.mux(samples.encode(_silence(samples, told)))
                told += _SAMPLES
        container.mux(pictures.encode(None))
        if samples is not None:
            container.mux(samples.encode(None))


def repeated(path: Path, seconds: int, *, only_key: bool = False) -> None:
    """Write a large MP4, some 3.6 MB a second, with a key frame each second: two seconds of noise, copied again.

    With `only_key` the first is the only key frame.
    """
    noise = io.BytesIO()
    with av.open(noise, "w", format="mpegts") as container:
        pictures = _pictures(container, "libx264", (640, 360), 2 * RATE if only_key else RATE, crf="10")
        for number in range(2 * RATE):
            container.mux(pictures.encode(_frame(random.Random(number), 640, 360, number)))
        container.mux(pictures.encode(None))
    noise.seek(0)
    with av.open(noise, "r") as came, av.open(str(path), "w") as made:
        source = came.streams.video[0]
        copy, packets = made.add_stream_from_template(source), [one for one in came.demux(source) if one.size]
        samples, told = made.add_stream("aac", rate=16000), 0
        assert isinstance(samples, AudioStream)
        begin, each = packets[0].pts or 0, int(2 / packets[0].time_base)
        for turn in range(seconds // 2):
            for one in [one for one in packets if not (only_key and turn and one.is_keyframe)]:
                packet = Packet(bytes(one))
                packet.stream, packet.time_base, packet.is_keyframe = copy, one.time_base, one.is_keyframe
                packet.pts = (one.pts or 0) - begin + turn * each
                packet.dts = (one.dts or 0) - begin + turn * each
                made.mux(packet)
            while told < (turn + 1) * 2 * samples.rate:
                made.mux(samples.encode(_silence(samples, told)))
                told += _SAMPLES
        made.mux(samples.encode(None))


def copied(source: Path, target: Path, *options: str) -> None:
    """Write the same video in another kind of file."""
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), "-map", "0", "-c", "copy", *options, str(target)]
    subprocess.run(command, check=True, capture_output=True)


def probed(path: Path) -> dict[str, Any]:
    """Return what ffprobe says of a clip: start and length of its pictures, codec, tag, rotation, names of streams."""
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    (pictures,) = [one for one in told["streams"] if one["codec_type"] == "video"]
    sides = pictures.get("side_data_list", [])
    return {
        "start": float(pictures["start_time"]),
        "seconds": float(pictures["duration"]),
        "codec": pictures["codec_name"],
        "tag": pictures["codec_tag_string"],
        "rotation": next((one["rotation"] for one in sides if "rotation" in one), 0),
        "streams": sorted(one["codec_name"] for one in told["streams"]),
        "sound": [float(one["duration"]) for one in told["streams"] if one["codec_type"] == "audio"],
        "created": told["format"].get("tags", {}).get("creation_time"),
    }


def frames(path: Path) -> int:
    """Return how many pictures of a clip ffmpeg can decode; that it complains of nothing."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0", "-f", "framecrc", "-"]
    done = subprocess.run(command, check=True, capture_output=True)
    assert done.stderr == b"", done.stderr.decode()
    return sum(line.startswith(b"0,") for line in done.stdout.splitlines())


def _encoding(codec: str, frames_of_group: int) -> dict[str, str]:
    params = f"keyint={frames_of_group}:min-keyint={frames_of_group}:scenecut=0:bframes=2:b-adapt=0"
    if codec == "libx265":
        return {"preset": "ultrafast", "x265-params": f"{params}:log-level=none"}
    return {"preset": "ultrafast", "x264-params": params}


def _pictures(container: OutputContainer, codec: str, size: tuple[int, int], group: int, **options: str) -> VideoStream:
    stream = container.add_stream(codec, rate=RATE, options={**_encoding(codec, group), **options})
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    return stream


def _silence(stream: AudioStream, begin: int) -> AudioFrame:
    frame = AudioFrame(format=stream.format.name, layout=stream.layout.name, samples=_SAMPLES)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.rate, frame.pts, frame.time_base = stream.rate, begin, Fraction(1, stream.rate)
    return frame


def _frame(dice: random.Random, width: int, height: int, number: int) -> VideoFrame:
    frame = VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        plane.update(dice.randbytes(plane.buffer_size))
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame
