"""Traces that are off cost nothing, and what others say of theirs is taken for nothing but a trace."""

import socket
import subprocess
import sys

import pytest
from collector import collecting
from pydantic import ValidationError

from roadvault_common.build import VERSION
from roadvault_common.tracing import spans
from roadvault_door.config import DoorSettings
from roadvault_stack.environment import GRANTS

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_libraries_of_traces_are_not_imported_while_they_are_off() -> None:
    mains = [f"roadvault_{name.replace('-', '_')}.__main__" for name in GRANTS]
    code = f"import sys, {', '.join(mains)}; sys.exit(str([name for name in sys.modules if 'opentelemetry' in name]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_off_a_span_is_nothing() -> None:
    with spans.under(GOOD), spans.span("x", parent=GOOD, links=[GOOD]) as span:
        span.note({"a": 1})
        span.fail("b")
        assert spans.current() is None
    assert spans.mark(None, "", {"event": "x"}) == {"event": "x"}


@pytest.mark.parametrize(
    "came",
    [
        [],
        [""],
        [GOOD, GOOD],
        [GOOD.upper()],
        [f"{GOOD}\n"],
        [f"{GOOD}-more"],
        [f"ff-{TRACE}-{SPAN}-01"],
        [f"00-{'0' * 32}-{SPAN}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE[:-1]}\N{ARABIC-INDIC DIGIT ONE}-{SPAN}-01"],
        [b"\xff" * 55],
        ["0" * 1_000_000],
    ],
)
def test_what_is_no_traceparent_is_passed_over(came: list[str | bytes]) -> None:
    assert spans.read(came) is None


def test_a_traceparent_is_read() -> None:
    assert spans.read([GOOD]) == spans.read([GOOD.encode()]) == GOOD


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://collector:4318", True),
        ("https://[::1]:4318/otlp/", True),
        ("", True),
        ("collector:4318", False),
        ("http://user:secret@collector:4318", False),
        ("http://collector:4318/v1/traces", False),
        ("http://collector:4318?a=b", False),
    ],
)
def test_where_traces_go_is_a_plain_url(url: str, *, right: bool) -> None:
    settings = {"database_url": "mysql://x@y/z", "data_dir": "/", "link_secret": "s" * 32, "otlp_url": url}
    if right:
        assert DoorSettings.model_validate(settings).otlp_url == (url or None)
    else:
        with pytest.raises(ValidationError, match="must look like"):
            DoorSettings.model_validate(settings)


def test_on_a_span_goes_on_another_and_is_sent_with_no_word_of_its_error() -> None:
    with collecting() as collector:
        spans.begin("packer", VERSION, collector.url)
        try:
            with (
                pytest.raises(ValueError, match="secret"),
                spans.under(GOOD),
                spans.span("outer", kind="server"),
                spans.span("inner", links=[GOOD, GOOD], facts={"zip_id": 3, "http.route": "/d/{token}"}),
            ):
                assert spans.mark(None, "", {}) == {"trace_id": TRACE}
                parent = spans.current()
                assert parent is not None
                assert spans.same_trace(parent, GOOD)
                raise ValueError("a secret")
            with spans.under(GOOD), spans.span("apart", parent=spans.ROOT):
                pass
        finally:
            spans.end()
        assert spans.current() is None
        inner, outer = collector.of(TRACE)["inner"], collector.of(TRACE)["outer"]
        assert (inner.parent, outer.parent, inner.failed, outer.failed) == (outer.span, SPAN, True, True)
        assert (inner.facts, inner.links) == ({"roadvault.zip_id": "3", "http.route": "/d/{token}"}, frozenset([TRACE]))
        (apart,) = [one for one in collector.seen if one.name == "apart"]
        assert (apart.parent, apart.trace == TRACE) == ("", False)
        assert b"secret" not in b"".join(collector.raw)


def test_a_collector_that_never_answers_holds_nobody_up_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spans.begin("packer", VERSION, f"http://127.0.0.1:{silent.getsockname()[1]}")
        for _ in range(5000):  # more than wait for it
            with spans.span("x"):
                pass
        silent.settimeout(30)
        asked, _ = silent.accept()
        spans.end()  # though the collector holds its line, and answers nothing
        asked.close()
    assert not caplog.records


def test_a_collector_that_is_away_holds_nobody_up_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    spans.begin("packer", VERSION, "http://127.0.0.1:9")
    for _ in range(5000):
        with spans.span("x"):
            pass
    spans.end()
    assert not caplog.records
