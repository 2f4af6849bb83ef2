"""A job that does what a parser could be made to do by a hostile video; it runs in the sandbox's child."""

import os
import struct
import time
from collections.abc import Callable

from roadvault_video.child import ASK, Out, Video


def spin() -> None:
    while True:
        pass


def eat() -> None:
    held = []
    while True:
        held.append(bytearray(1 << 20))


def crash() -> None:
    os.write(1, b"N")
    os._exit(9)


def again(what: Callable[[], object]) -> Callable[[], object]:
    def do() -> None:
        while True:
            what()

    return do


def run(video: Video, out: Out, *, do: str, seconds: float = 0) -> None:
    def wait() -> None:
        video.at(0, 1)
        time.sleep(seconds)
        out.data(b"waited")

    def copy() -> None:
        while data := video.read(1 << 20):
            out.data(data)

    acts: dict[str, Callable[[], object]] = {
        "echo": lambda: out.data(video.readall()),
        "copy": copy,
        "spin": spin,
        "hang": lambda: time.sleep(600),
        "eat": eat,
        "crash": crash,
        "nonsense": lambda: os.write(1, b"GET / HTTP/1.0\r\n\r\n"),
        "huge": lambda: os.write(1, struct.pack(">cI", b"D", 0xFFFFFFFF) + b"x" * 60_000),
        "chatter": again(lambda: out.note(nothing="x" * 1000)),
        "flood": again(lambda: out.data(bytes(1 << 20))),
        "ask for ever": again(lambda: video.at(0, 1 << 16)),
        "ask beyond": lambda: os.write(1, struct.pack(">cI", b"R", ASK.size) + ASK.pack(1 << 63, 1 << 20)),
        "wait": wait,
    }
    acts[do]()
