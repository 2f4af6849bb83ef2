"""The log: whoever says something, each event is one line in the log's own form."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

ROOM = """
import asyncio, logging, sys, threading, warnings
from types import SimpleNamespace
import structlog
from aiohttp.http_exceptions import BadHttpMessage, InvalidURLError
from roadvault_common.process import log

log.configure("packer", SimpleNamespace(log_level="info", log_format=sys.argv[1], otlp_url=None))
"""
NOISE = """
def fail(error):
    raise error

async def loop():
    task = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    await task
    asyncio.get_running_loop().call_soon(fail, ValueError("a defect\\x1b[31m\\n\\u202e"))
    asyncio.get_running_loop().call_soon(fail, ConnectionResetError("reset by\\x1b[31m\\npeer"))
    await asyncio.sleep(0)

structlog.get_logger().info("own \\x9b31m", name="a\\x1b]0;owned\\x07\\u061cb")
logging.getLogger("redis").warning("several\\nlines \\x1b[31m of %s", "a library")
logging.getLogger("asyncmy").info("not said")
try:
    fail(BadHttpMessage("Invalid header value char:\\n\\n  b'Cookie: hush\\x1b'"))
except BadHttpMessage:
    logging.getLogger("aiohttp.server").exception("Error handling request")
try:
    fail(InvalidURLError("/d/hush"))
except InvalidURLError:
    logging.getLogger("aiohttp.server").exception("Error handling request")
warnings.warn("a warning\\x1b[31m", stacklevel=1)
asyncio.run(loop())
thread = threading.Thread(target=fail, args=(ValueError("in a thread\\x1b[31m"),))
thread.start()
thread.join()
class Falls:
    def __del__(self):
        raise ValueError("on the way out\\x1b[31m")

Falls()
raise ValueError("in the end\\x1b[31m")
"""
SAID = [
    ("own", "info"),
    ("several lines", "warning"),
    ("Error handling request: BadHttpMessage: Invalid header value char", "info"),
    ("Error handling request: InvalidURLError", "info"),
    ("UserWarning: a warning", "warning"),
    ("Exception in callback fail(ValueError", "error"),
    ("Exception in callback fail(ConnectionRes", "error"),
    ("uncaught", "critical"),
    ("uncaught", "critical"),
    ("uncaught", "critical"),
]
"""What each event's line begins with or has in it, and its level."""


def said(form: str, noise: str = NOISE) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ROOM + noise), form], capture_output=True, check=False,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    return done.stderr.decode()


def test_each_event_is_one_line_of_json() -> None:
    text = said("json")
    assert text.isascii()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == len(SAID), text
    for line, (event, level) in zip(lines, SAID, strict=True):
        assert event in line["event"]
        assert (line["service"], line["level"]) == ("packer", level)
    defects = [line for line in lines if "exception" in line]
    assert [line["exception"].splitlines()[0] for line in defects] == ["Traceback (most recent call last):"] * 4
    assert lines[0]["name"] == "a\x1b]0;owned\x07\u061cb"  # nothing is lost: it is escaped
    assert "hush" not in text


def test_the_console_gets_nothing_that_steers_it() -> None:
    text = said("console")
    assert text.replace("\n", "").isprintable()
    lines = text.splitlines()
    for event, level in SAID:
        assert any(event in line and level in line for line in lines), text
    assert text.count("Traceback") == 4  # of what may be defects of ours
    assert "hush" not in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_is_below_the_level_is_not_said(form: str) -> None:
    assert said(form, 'logging.getLogger("aiohttp.server").info("x"); logging.getLogger("a").debug("y")') == ""
