"""Templates of pages: each compiles, and all words that they name are there in both languages."""

import re
from string import Formatter

import pytest

from roadvault_common.sql.states import OrderStatus, RequestStatus
from roadvault_common.work.backlog import STEPS
from roadvault_common.work.stages import STAGES
from roadvault_ingest.pages.files.filters import NAMES
from roadvault_ingest.pages.render import HERE, Renderer
from roadvault_ingest.pages.words import LANGUAGES
from roadvault_ingest.states import STATES

TEMPLATES = sorted(path.relative_to(HERE / "templates").as_posix() for path in (HERE / "templates").rglob("*.html"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_compiles_and_its_words_are_there(name: str) -> None:
    Renderer(auth=False)._templates.get_template(name)
    words = set(re.findall(r"\bt\.(\w+)", (HERE / "templates" / name).read_text()))
    assert words <= LANGUAGES["en"].keys() | {"format"}, words - LANGUAGES["en"].keys()


def test_both_languages_leave_the_same_room() -> None:
    def holes(text: str) -> set[str]:
        return {field for _, field, _, _ in Formatter().parse(text) if field is not None}

    for key, english in LANGUAGES["en"].items():  # a reason may be said without all that is known of it
        assert LANGUAGES["zh"][key], key
        assert key.startswith("reason_") or holes(english) == holes(LANGUAGES["zh"][key]), key


def test_each_stage_and_state_has_words() -> None:
    words = LANGUAGES["en"].keys()
    assert {f"stage_{stage.name}" for stage in STAGES} <= words
    assert {f"of_{stage.table}" for stage in STAGES} <= words
    assert {f"step_{name}" for name in STEPS} | {f"doing_{name}" for name in STEPS} <= words
    assert {f"state_is_{state}" for state in STATES} | {f"filter_{name}" for name in NAMES} <= words
    assert {f"request_{status.value}" for status in RequestStatus} <= words
    assert {f"purchase_{status.value}" for status in OrderStatus} <= words
