"""The README's pictures are there, in both languages, each with words for who cannot see it, and small enough."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "architecture" / "pictures"
READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
_STILL_BYTES, _MOVING_BYTES = 300_000, 2_000_000


@pytest.mark.parametrize("language", READMES)
def test_a_readme_shows_the_pictures_of_its_language(language: str) -> None:
    text = READMES[language].read_text()
    named = re.findall(r'(?:src|srcset)="(architecture/pictures/[^"]+)"', text)
    assert {Path(name).name for name in named} == {path.name for path in FOLDER.glob(f"*-{language}*")}
    assert len(named) == 5, "a moving picture, and two others, light and dark"
    images = re.findall(r"<img [^>]+>", text)
    assert len(images) == 3
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)


def test_pictures_are_small() -> None:
    for path in FOLDER.iterdir():
        content = path.read_bytes()
        assert content[:4] + content[8:12] == b"RIFFWEBP"
        assert len(content) < (_MOVING_BYTES if b"ANIM" in content[:64] else _STILL_BYTES), path.name
    assert all(b"ANIM" in path.read_bytes()[:64] for path in FOLDER.glob("pipeline-*"))
