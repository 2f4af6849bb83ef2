"""What the image installs: every dependency, in the versions that are tested, by hash, from whatever index."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.txt": PYPROJECT["project"]["dependencies"],
    "requirements-build.txt": PYPROJECT["build-system"]["requires"],
}


def pins(path: Path) -> dict[str, str]:
    """Return the versions that a file of pins has, by name."""
    found = re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def needed(requirements: list[str]) -> set[str]:
    """Return the names of all that these need, as installed here; what is not installed needs nothing."""
    found: set[str] = set()
    left = [Requirement(one) for one in requirements]
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        if name in found or (one.marker and not one.marker.evaluate({"extra": "", "python_full_version": "3.11.9"})):
            continue
        found.add(name)
        try:
            left += [Requirement(text) for text in distribution(name).requires or []]
        except ModuleNotFoundError:
            continue
    return found


@pytest.mark.parametrize("lock", list(LOCKS))
def test_the_image_has_what_is_tested(lock: str) -> None:
    locked, tested = pins(ROOT / "deploy" / lock), pins(ROOT / "constraints.txt")
    assert locked.items() <= tested.items(), "run setup/lock.py"
    assert needed(LOCKS[lock]) <= locked.keys(), "run setup/lock.py"


@pytest.mark.parametrize("lock", list(LOCKS))
def test_every_file_has_its_hash_and_none_an_address(lock: str) -> None:
    text = (ROOT / "deploy" / lock).read_text()
    entries = re.findall(r"^[\w.-]+==\S+((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert len(entries) == len(pins(ROOT / "deploy" / lock)) > 0
    assert "://" not in text
    assert " @ " not in text


def test_the_image_is_built_of_nothing_else() -> None:
    installs = re.findall(r"pip (?:install|wheel) .*", (ROOT / "Dockerfile").read_text())
    assert len(installs) == 4
    for line in installs:
        assert "--no-deps" in line
        assert "--require-hashes" in line or "--no-build-isolation" in line or "--no-index" in line
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names.split()} == let_in
