"""Reasons: what stands in a column is read back, and each code has its words."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadvault_common.errors import DiskFull, Outage, PermanentError
from roadvault_common.work import reasons
from roadvault_common.work.reasons import CODES, LENGTH, Reason
from roadvault_ingest.pages.words import LANGUAGES

ROOT = Path(__file__).parents[2]
SOURCES = [path for part in ("libs", "services") for path in sorted((ROOT / part).rglob("*.py"))]


def test_a_reason_reads_as_it_was_written() -> None:
    reason = Reason("no_room", "no room for an upload", need_bytes=5 << 30, free_bytes=1)
    assert str(reason) == "no room for an upload [no_room need_bytes=5368709120 free_bytes=1]"
    assert reason == "no room for an upload"
    read = reasons.parse(str(reason))
    assert read is not None
    assert (read.code, read.words, dict(read.params)) == (reason.code, reason.words, dict(reason.params))


@pytest.mark.parametrize(
    "text",
    ["plain words of an older service", "", "ends with a bracket [x]", "[not_a_code a=1]", "[disk_full", "disk_full]"],
)
def test_words_without_a_code_of_ours_are_words_alone(text: str) -> None:
    read = reasons.parse(text)
    assert read is not None
    assert (read.code, read.words, dict(read.params), str(read)) == ("", text, {}, text)


def test_nothing_is_no_reason() -> None:
    assert reasons.parse(None) is None
    assert reasons.words(None) is None


def test_parameters_that_are_not_the_codes_own_are_left_out() -> None:
    read = reasons.parse("w [client_waits host=h:1 colour=red]")
    assert read is not None
    assert dict(read.params) == {"host": "h:1"}


@given(
    st.sampled_from(sorted(CODES)),
    st.text(max_size=700),
    st.lists(st.one_of(st.integers(-(10**30), 10**30), st.text(max_size=200), st.floats()), min_size=4, max_size=4),
)
def test_whatever_is_in_it_the_code_is_never_cut_off(code: str, words: str, values: list[str | int | float]) -> None:
    reason = Reason(code, words, **dict(zip(CODES[code], values, strict=False)))
    text = str(reason)
    assert type(text) is str
    assert len(text) <= LENGTH
    read = reasons.parse(text)
    assert read is not None
    assert (read.code, set(read.params)) == (code, set(reason.params))
    assert all(read.params[name] == value for name, value in reason.params.items() if isinstance(value, int))
    assert read.words == words or len(text) == LENGTH


def test_among_other_words_a_reason_is_its_words() -> None:
    reason = Reason("no_room", "full", need_bytes=2, free_bytes=1)
    assert f"again: {reason}, {reason:>6}" == "again: full,   full"
    assert str(reason.again(f"again: {reason}")) == "again: full [no_room need_bytes=2 free_bytes=1]"


def test_an_error_gives_its_code_and_parameters() -> None:
    assert str(reasons.of(DiskFull("full", code="no_room", need_bytes=2, free_bytes=1, more=3))) == (
        "full [no_room need_bytes=2 free_bytes=1]"
    )
    assert str(reasons.of(DiskFull("full"))) == "full [disk_full]"
    assert str(reasons.of(PermanentError("no", code="no_cid"))) == "no [no_cid]"
    assert reasons.of(Outage("away")).code == "outage"
    assert str(reasons.of(KeyError("x"))) == "KeyError: 'x' [unexpected kind=KeyError]"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_each_code_has_words(language: str) -> None:
    texts = {key.removeprefix("reason_"): text for key, text in LANGUAGES[language].items() if key[:7] == "reason_"}
    assert set(texts) == set(CODES)
    for code, text in texts.items():
        assert set(re.findall(r"\{(\w+)\}", text)) <= set(CODES[code]), code


ALWAYS = {"client_away", "callback_not_taken", "callback_refused", "no_clip", "pin_broken"}
"""Codes of kinds of errors that are raised with all their parameters."""


def test_sources_use_each_code_with_all_its_parameters_and_no_other() -> None:
    found = [one for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) for one in _codes(node)]
    made_for_both = {"recount", "reproof"}
    assert {code for code, _ in found} | made_for_both == set(CODES)
    wrong = {code: names for code, names in found if names is not None and set(names) != set(CODES[code])}
    assert not wrong
    assert {code for code, names in found if names is None and CODES[code]} <= {*ALWAYS, "ended"}


def _codes(node: ast.AST) -> list[tuple[str, list[str] | None]]:
    """Return the codes that a piece of source names, with the parameters that it gives; None for a kind of errors."""
    match node:
        case ast.Call(func=ast.Name(id="Reason"), args=[ast.Constant(value=str(code)), *_], keywords=names):
            return [(code, [name.arg for name in names if name.arg])] if code else []
        case ast.Call(keywords=names):
            own = [name.value.value for name in names if name.arg == "code" and isinstance(name.value, ast.Constant)]
            given = [name.arg for name in names if name.arg not in {"code", None}]
            return [(code, [name for name in given if name]) for code in own if isinstance(code, str) and code in CODES]
        case ast.ClassDef(body=body):
            return [(code, None) for part in body for code in _own(part)]
        case _:
            return []


def _own(part: ast.AST) -> list[str]:
    match part:
        case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
            return [code] if code in CODES else []
        case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code))):
            return [code] if code in CODES else []
        case _:
            return []
