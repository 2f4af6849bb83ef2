"""What outsiders said is shown as text: it steers no terminal, and turns no line."""

import pytest

from roadvault_common.errors import PermanentError, brief
from roadvault_common.plain import plain, plain_lines


@pytest.mark.parametrize(
    "unfit",
    [
        *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),
        *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        *"\u00ad\u180e\u200b\u2060\u2028\u2029\ufeff\ufff9\U000e0041",
        "\ud800",
    ],
    ids=lambda unfit: f"U+{ord(unfit):04X}",
)
def test_what_steers_turns_or_hides_is_marked(unfit: str) -> None:
    assert plain(f"a{unfit}b") == "a\ufffdb"
    assert unfit not in brief(ValueError(f"a{unfit}b"))


def test_all_else_stays() -> None:
    for text in ("摄像　1.mp4", "\u0646\u0645\u06cc\u200c\u062e", "👩\u200d🚒 ünïcode", "[red]\\x1b", "\u00a0", ""):
        assert plain(text) == text


def test_an_error_is_one_line() -> None:
    assert (
        brief(PermanentError("the\nnode says\x1b]0;owned\x07\x9b31m")) == "the node says\ufffd]0;owned\ufffd\ufffd31m"
    )
    assert plain_lines("one\ntwo\x1b\r\n\tthree\x85four") == "one\ntwo\ufffd\n\ufffdthree\nfour"
