"""Cuts a clip out of a video on key frames, without encoding it: packets are copied, and their times begin at 0.

A job of the sandbox. It reads no more than the index, the clip, and a little to find both.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain
from typing import NamedTuple, Protocol

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.video.stream import VideoStream

from roadvault_video import pyav  # noqa: F401 - all of PyAV is loaded
from roadvault_video.child import Out
from roadvault_video.packets import LATE, AnyPacket, NoClip, Video
from roadvault_video.reading import Blocks, Readable

_TAGS = {"h264": "avc1", "hevc": "hvc1", "aac": "mp4a"}
"""What an MP4 calls them: Safari plays no hev1, and MPEG-TS has other names."""
_FRAGMENTS = {
    "movflags": "frag_keyframe+delay_moov+default_base_moof",
    "min_frag_duration": "2000000",
    "frag_size": str(32 << 20),
}
"""Written from front to back: nobody may go back in the output, which is a pipe. The rest is in memory."""
_OUT_BYTES = 1 << 18


class Writable(Protocol):
    """Where a clip is written to."""

    def write(self, data: bytes, /) -> int:
        """Append all of `data`."""


class Wanted(NamedTuple):
    """What is wanted: seconds of the video or, if `on_clock`, since 1970; `recorded` is when it begins, if known."""

    begin: Fraction
    end: Fraction
    on_clock: bool = False
    recorded: Fraction | None = None


class Clip(NamedTuple):
    """What was made: seconds of the video, when that began, if known, and which of its streams were left out."""

    begin: Fraction
    end: Fraction
    recorded: Fraction | None
    dropped: list[str]


def cut(source: Readable, wanted: Wanted, out: Writable, largest: int) -> Clip:
    """Write an MP4 of what is wanted to `out`: from the last key frame before it, to its end or a little more.

    Raises:
        NoClip: There is none, or it has more than `largest` bytes.
    """
    try:
        video = Video(Blocks(source))
        try:
            return _cut(video, wanted, out, largest)
        finally:
            video.close()
    except av.FFmpegError as error:
        raise NoClip(f"it can't be read as an MP4, MOV, MPEG-TS or MKV: {error.strerror}") from error


def _cut(video: Video, wanted: Wanted, out: Writable, largest: int) -> Clip:
    recorded = video.recorded() if wanted.recorded is None else wanted.recorded
    begin, end = wanted.begin, wanted.end
    if wanted.on_clock:
        if recorded is None:
            raise NoClip("neither it nor its client says when it was recorded: ask for seconds of it")
        begin, end = begin - recorded, end - recorded
    if end <= 0:
        raise NoClip(f"it begins {float(-end):.3f} s after that")
    begin = max(begin, Fraction(0))
    with av.open(out, "w", format="mp4", options=_FRAGMENTS, buffer_size=_OUT_BYTES) as made:
        first, last = _copy(video, made, (begin, end), recorded, largest)
        if last <= begin:
            raise NoClip(f"it ends after {float(last):.3f} s")
    return Clip(first, last, None if recorded is None else recorded + first, video.dropped)


def _copy(
    video: Video, made: OutputContainer, span: tuple[Fraction, Fraction], recorded: Fraction | None, largest: int
) -> tuple[Fraction, Fraction]:
    """Copy what is wanted; return when the first picture begins, and the last one ends."""
    packets = video.packets(span[0])
    key = next(packets, None)
    if key is None:
        raise NoClip("it has no key frame there")
    first, last, size = video.time(key), Fraction(0), 0
    if recorded is not None:
        made.metadata["creation_time"] = datetime.fromtimestamp(float(recorded + first), UTC).isoformat()
    tracks = {one.index: _Track(made, one, video.origin + first) for one in video.streams}
    for packet in _until(video, chain([key], packets), span[1]):
        time = video.time(packet)
        if time < first:  # of pictures, those that need one before the first
            continue
        size += packet.size
        if size > largest:
            raise NoClip(f"it has more than {largest} bytes, the most that a clip may have")
        if video.is_picture(packet):
            last = max(last, time + (packet.duration or 0) * packet.time_base)
        tracks[packet.stream_index].add(packet)
    for track in tracks.values():
        track.end()
    return first, last


def _until(video: Video, packets: Iterable[AnyPacket], end: Fraction) -> Iterator[AnyPacket]:
    """Yield packets until each stream has come to a time, or has had long enough to."""
    latest, ended = Fraction(-1), set[int]()
    for packet in packets:
        time, decoded, picture = video.time(packet), video.decoded(packet), video.is_picture(packet)
        # A picture that is shown after all before it is the first that those before the end don't need.
        if decoded >= end and (not picture or time > latest):
            ended.add(packet.stream_index)
            if picture:
                video.end_pictures()
        if len(ended) == len(video.streams) or decoded >= end + LATE:
            return
        if packet.stream_index not in ended:
            latest = max(latest, time) if picture else latest
            yield packet


class _Track:
    """A stream of the clip: its packets' times begin at 0, and grow."""

    def __init__(self, made: OutputContainer, stream: VideoStream | AudioStream, shift: Fraction) -> None:
        self._made = made
        self._out = made.add_stream_from_template(stream)
        codec = stream.codec_context
        adts = codec.name == "aac" and not codec.extradata
        self._filter = BitStreamFilterContext("aac_adtstoasc", stream, self._out) if adts else None
        self._out.codec_context.codec_tag = _TAGS.get(codec.name, self._out.codec_context.codec_tag)
        self._shift = shift
        self._undated: list[AnyPacket] = []
        """Packets of which it is not told when they are decoded: that comes with the first that tells it."""
        self._last: int | None = None

    def add(self, packet: AnyPacket) -> None:
        """Take a packet."""
        if packet.dts is None:
            self._undated.append(packet)
            return
        decoded, each = packet.dts, packet.duration or 0
        self._date(decoded - len(self._undated) * each, each)
        self._write(packet, decoded)

    def end(self) -> None:
        """Take no more."""
        if self._undated:
            self._date(min(packet.pts or 0 for packet in self._undated), 1)

    def _date(self, begin: int, each: int) -> None:
        for number, packet in enumerate(self._undated):
            self._write(packet, begin + number * each)
        self._undated = []

    def _write(self, packet: AnyPacket, decoded: int) -> None:
        shift = round(self._shift / packet.time_base)
        shown = (decoded if packet.pts is None else packet.pts) - shift
        decoded = min(decoded - shift, shown)
        if self._last is not None:
            decoded = max(decoded, self._last + 1)
        packet.dts, packet.pts, self._last = decoded, max(shown, decoded), decoded
        for one in [packet] if self._filter is None else self._filter.filter(packet):
            one.stream = self._out
            self._made.mux(one)


class _Pipe:
    """The clip's bytes on their way out."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def write(self, data: bytes) -> int:
        self._out.data(bytes(data))
        return len(data)


def run(video: Readable, out: Out, *, begin: int, end: int, on_clock: bool, recorded: int | None, largest: int) -> None:
    """Say a clip's bytes, and then a note of what it is, or of why there is none (`refused`); times in milliseconds."""
    since = None if recorded is None else Fraction(recorded, 1000)
    try:
        clip = cut(video, Wanted(Fraction(begin, 1000), Fraction(end, 1000), on_clock, since), _Pipe(out), largest)
    except NoClip as error:
        out.note(refused=str(error))
        return
    starts = None if clip.recorded is None else round(clip.recorded * 1000)
    out.note(begin=round(clip.begin * 1000), end=round(clip.end * 1000), recorded=starts, dropped=clip.dropped)
