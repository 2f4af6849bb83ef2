"""What the pages take from npm is what its packages have, at the versions that are named, with their licences."""

import hashlib
import re

import pytest

from roadvault_ingest.pages.render import HERE

VENDOR = HERE / "static" / "vendor"
LINES = (VENDOR / "manifest.txt").read_text().splitlines()
SCRIPT = (HERE.parents[3] / "setup" / "vendor.sh").read_text()


@pytest.mark.parametrize("line", LINES)
def test_each_file_is_what_its_package_has(line: str) -> None:
    found = re.fullmatch(r"([0-9a-f]{64})  (\S+)  (\S+)@([0-9.]+) (\S+)", line)
    assert found is not None
    digest, name, package, version, origin = found.groups()
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    assert len((VENDOR / f"{package}.LICENSE").read_text()) > 300
    assert re.search(rf'"{package} {version} .*{origin}', SCRIPT), "setup/vendor.sh names another version"


def test_nothing_else_is_there() -> None:
    named = {line.split()[1] for line in LINES} | {f"{line.split()[2].partition('@')[0]}.LICENSE" for line in LINES}
    assert {path.name for path in VENDOR.iterdir()} == named | {"manifest.txt"}
