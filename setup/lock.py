"""Writes what the image installs, each file by its hash: deploy/requirements.txt and deploy/requirements-build.txt.

`.venv/bin/python setup/lock.py` asks pip, in the versions of constraints.txt; run it after a change there, or of the
dependencies in pyproject.toml. No address of an index goes into the files.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNTIME, BUILD = ROOT / "deploy" / "requirements.txt", ROOT / "deploy" / "requirements-build.txt"
_HEAD = "# Made by setup/lock.py from constraints.txt, for Python 3.11 on Linux, x86_64 and aarch64: do not edit.\n"
_OTHER_MACHINE = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none")
_PLATFORMS = tuple(f"--platform=manylinux{version}_aarch64" for version in ("2014", "_2_17", "_2_28", "_2_31", "_2_34"))

Hashes = dict[str, set[str]]
"""SHA-256 sums of files by `name==version`."""


def main() -> None:
    """Write both files."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for target, wanted in ((RUNTIME, [str(ROOT)]), (BUILD, build)):
        files = _files(*wanted, "--ignore-installed", "--constraint", str(ROOT / "constraints.txt"))
        with tempfile.TemporaryDirectory() as scratch:
            elsewhere = ("--target", scratch, "--no-deps", "--only-binary=:all:", *_OTHER_MACHINE, *_PLATFORMS)
            for name, hashes in _files(*files, *elsewhere).items():
                files[name] |= hashes
        target.write_text(_HEAD + "".join(_entry(name, files[name]) for name in sorted(files, key=str.lower)))


def _files(*arguments: str) -> Hashes:
    """Return what pip would install, without installing it; RoadVault itself is left out."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report=-", *arguments]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)  # noqa: S603 - our own
    found = ((one["metadata"], one["download_info"].get("archive_info")) for one in report["install"])
    return {f"{of['name']}=={of['version']}": {file["hashes"]["sha256"]} for of, file in found if file}


def _entry(name: str, hashes: set[str]) -> str:
    return " \\\n".join([name, *(f"    --hash=sha256:{one}" for one in sorted(hashes))]) + "\n"


if __name__ == "__main__":
    main()
