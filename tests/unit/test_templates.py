"""Templates of pages: each compiles, and all words that they name are there in both languages."""

import re
from string import Formatter

import pytest

from roadvault_ingest.pages.render import HERE, Renderer
from roadvault_ingest.pages.words import LANGUAGES

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
