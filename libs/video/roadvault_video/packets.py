"""Reads the packets of a video from any time on, and little else of it. In the sandbox alone."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from roadvault_video.fragments import fragments
from roadvault_video.matroska import clusters
from roadvault_video.reading import Blocks, Seekable, Spliced
from roadvault_video.search import Parts
from roadvault_video.transport import transport

AnyPacket: TypeAlias = "Packet[Stream]"
LATE = Fraction(1)
"""Seconds by which sound may lie behind the pictures that it belongs to, or a picture be shown after it was decoded."""
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,mpegts,matroska,webm"
_PROBE = {"probesize": "1000000", "analyzeduration": "3000000", "format_whitelist": _DEMUXERS}
_WITHOUT_INDEX: tuple[tuple[Callable[[Blocks], Parts | None], dict[str, str]], ...] = (
    (fragments, {"fflags": "ignidx"}),  # else each fragment is looked at
    (clusters, {}),
    # It says what its sound is in the sound alone, and that may lie behind many pictures.
    (transport, {"probesize": "3000000", "fpsprobesize": "5"}),
)
_IO_BYTES = 1 << 16
_PICTURES = {"h264", "hevc"}
_SOUND = {"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"}
"""What an MP4 holds for players; the mu-law of cameras is not among it."""
_HELD_BYTES = 64 << 20
"""That are kept until the next key frame is seen to be too late; if there are more, this one it is. In as many there
has to be one."""
_SOUND_BYTES = 64 << 20
"""In which sound is looked for that belongs to pictures before it."""
_BACK = Fraction(1, 2)
"""Seconds by which a key frame is looked for further in front, then twice as many, and so on."""
_BEFORE = Fraction(-2)
"""In front of everything: the first picture is decoded before it is shown."""
_CLOCKS_SET = datetime(1990, 1, 1, tzinfo=UTC)
"""A camera that says it was recorded before that does not know."""


class NoClip(Exception):
    """The video has no such clip; another try changes nothing."""


class Video:
    """A video. Times are seconds from its first picture on.

    Raises:
        NoClip: It is none that can be cut.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._source: Blocks | Spliced = blocks
        self._parts: Parts | None = None
        self._probe = _PROBE
        for find, options in _WITHOUT_INDEX:
            if self._parts is None and (parts := find(blocks)):
                self._parts, self._probe = parts, {**_PROBE, **options}
        self.container = self._reading = self._open()
        every = self.container.streams
        pictures = [one for one in every.video if not one.disposition & Disposition.attached_pic]
        if not pictures:
            raise NoClip("it is no video")
        self.pictures: VideoStream = pictures[0]
        if _codec(self.pictures) not in _PICTURES:
            raise NoClip(f"its pictures are {_codec(self.pictures)}; only H.264 and H.265 are cut")
        self.sound = [one for one in every.audio if _codec(one) in _SOUND and one.codec_context.sample_rate]
        kept: list[Stream] = [self.pictures, *self.sound]
        self.dropped = [f"{one.type} {_codec(one)}" for one in every if one not in kept]
        self.origin = Fraction(0)
        """When the first picture is shown, as the file counts."""
        begin, base = self.pictures.start_time, self.pictures.time_base or Fraction(1)
        if begin is None or self.container.format.name.startswith("matroska"):  # which may give that of the sound
            first = next((one for one in self._demuxed(_BEFORE) if self.is_picture(one)), None)
            self.origin = Fraction(0) if first is None else self.time(first)
        else:
            self.origin = begin * base

    @property
    def streams(self) -> list[VideoStream | AudioStream]:
        """What goes into a clip, the pictures first."""
        return [self.pictures, *self.sound]

    def _open(self, time: Fraction | None = None) -> InputContainer:
        if self._parts is None:
            self._blocks.seek(0)
            self._source = self._blocks
        else:
            self._source = self._parts.begin_at(_BEFORE if time is None else time)
        options, size = self._probe, _IO_BYTES
        return av.open(self._source, "r", container_options=options, buffer_size=size, metadata_errors="replace")

    def close(self) -> None:
        """Let go of what FFmpeg holds."""
        self._reading.close()
        self.container.close()

    def recorded(self) -> Fraction | None:
        """Return when it says that it was recorded, in seconds since 1970."""
        for metadata in (self.container.metadata, self.pictures.metadata):
            with suppress(ValueError, KeyError):
                time = datetime.fromisoformat(metadata["creation_time"])
                time = time if time.tzinfo else time.replace(tzinfo=UTC)
                if time > _CLOCKS_SET:
                    return Fraction(round(time.timestamp() * 1000), 1000)
        return None

    def end_pictures(self) -> None:
        """Have no more pictures read while sound is read on: of an MP4 that may lie far from those of its time."""
        if self._reading.format.name.startswith("mov"):
            self._reading.streams[self.pictures.index].discard = Discard.all
            if isinstance(self._source, Seekable):
                self._source.end_within(_SOUND_BYTES)

    def is_picture(self, packet: AnyPacket) -> bool:
        """Tell whether a packet is a picture, and not sound."""
        return packet.stream_index == self.pictures.index

    def time(self, packet: AnyPacket) -> Fraction:
        """Return when a packet is shown, or when it is decoded if that is all that is known."""
        stamp = packet.dts if packet.pts is None else packet.pts
        return (stamp or 0) * packet.time_base - self.origin

    def decoded(self, packet: AnyPacket) -> Fraction:
        """Return when a packet is decoded, or a time before that."""
        if packet.dts is None:  # pictures are shown in another order than they are decoded in
            return self.time(packet) - LATE
        return packet.dts * packet.time_base - self.origin

    def packets(self, begin: Fraction) -> Iterator[AnyPacket]:
        """Yield packets from the last key frame at or before a time on; if there is none, from the first one on."""
        # Where there is no index, what is found for a time is hardly ever a key frame.
        back = _BACK if self._parts is None and self.container.format.name == "mpegts" else Fraction(0)
        while True:
            at = max(begin - back, _BEFORE)
            held: list[AnyPacket] = []
            size, found, following, vain = 0, False, self._demuxed(at), 0
            for packet in following:
                picture, time = self.is_picture(packet), self.time(packet)
                if picture and packet.is_keyframe and (time <= begin or not found):
                    if time > begin and at > _BEFORE:
                        break  # too late: it has to be looked for further in front
                    found, held = True, [one for one in held if not self.is_picture(one) and self.time(one) >= time]
                    held.insert(0, packet)
                    size = packet.size
                elif found or not picture:
                    held.append(packet)
                    size += packet.size
                    if found and picture and (self.decoded(packet) > begin or size > _HELD_BYTES):
                        yield from held
                        yield from following
                        return
                vain += 0 if found else packet.size
                if vain > _HELD_BYTES:
                    return
            if found or at <= _BEFORE:
                yield from held if found else ()
                return
            back = max(2 * back, _BACK)

    def _demuxed(self, time: Fraction) -> Iterator[AnyPacket]:
        """Yield packets from about a time on, as far as they can be read."""
        if self._parts is None:
            place = int((time + self.origin) / (self.pictures.time_base or 1))
            self.container.seek(place, stream=self.pictures)
        else:
            if self._reading is not self.container:
                self._reading.close()
            self._reading = self._open(time)
        streams = [self._reading.streams[one.index] for one in self.streams]
        with suppress(av.InvalidDataError):  # it breaks off there
            for packet in self._dated(self._reading.demux(streams)):
                if packet.size and not (packet.pts is None and packet.dts is None):
                    yield packet

    def _dated(self, packets: Iterator[AnyPacket]) -> Iterator[AnyPacket]:
        """Yield packets; of an MPEG-TS the first ones of sound come without a time, but for one at the head of each."""
        sounds, follows = {one.index: one.codec_context for one in self.sound}, dict[int, int]()
        for packet in packets:
            if (sound := sounds.get(packet.stream_index)) is not None and packet.size:
                if packet.pts is None and packet.dts is None:
                    packet.pts = packet.dts = follows.get(packet.stream_index)
                time = packet.dts if packet.pts is None else packet.pts
                if time is not None and sound.frame_size:
                    lasts = Fraction(sound.frame_size, sound.sample_rate)
                    follows[packet.stream_index] = time + round(lasts / packet.time_base)
            yield packet


def _codec(stream: Stream) -> str:
    context = getattr(stream, "codec_context", None)
    return "of no known kind" if context is None else context.name
