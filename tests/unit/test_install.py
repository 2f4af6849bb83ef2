"""setup/install.sh asks apt for packages that have the programs it wants, also where apt knows nothing yet."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "setup"
ONLY_THE_PROGRAMS = "\nensure_programs\n"
"""The line of the script behind which it makes the virtual environment and builds servers."""
SUDO = '[ "$1" != -n ] || shift\nexec "$@"\n'
APT_CACHE = '[ -e "$STATE/lists" ] && grep -qx "$2" "$STATE/known"\n'
APT_GET = """
echo "$1" >>"$STATE/calls"
[ "$1" != update ] || touch "$STATE/lists"
[ "$1" = install ] || exit 0
for package in "$@"; do
    case "$package" in
        p7zip-full) program=7z ;;
        7zip) program=$(cat "$STATE/program-of-7zip") ;;
        *) continue ;;
    esac
    echo "$package" >>"$STATE/calls"
    ln -s /bin/true "$STATE/bin/$program"
done
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the script that ends once the programs are there, on a machine without 7z and without apt's lists."""
    places = tmp_path / "bin"
    places.mkdir()
    for directory in ("/usr/sbin", "/usr/bin", "/bin"):
        for program in Path(directory).iterdir():
            if not program.name.startswith(("7z", "apt", "sudo", "python")) and not (places / program.name).exists():
                (places / program.name).symlink_to(program)
    (places / "python3").symlink_to(Path(sys.executable).resolve())
    for name, text in (("sudo", SUDO), ("apt-cache", APT_CACHE), ("apt-get", APT_GET)):
        (places / name).write_text(f"#!/bin/sh\n{text}")
        (places / name).chmod(0o755)
    shutil.copytree(SETUP, tmp_path / "setup")
    script = tmp_path / "setup" / "install.sh"
    head, marker, _ = script.read_text().partition(ONLY_THE_PROGRAMS)
    assert marker
    script.write_text(head.replace("/usr/sbin/policy-rc.d", str(tmp_path / "policy")) + marker)
    return tmp_path


@pytest.mark.parametrize(
    ("known", "program_of_7zip", "asked_for"),
    [("p7zip-full 7zip", "7zz", "p7zip-full"), ("7zip", "7z", "7zip")],
    ids=["Debian 12", "no p7zip any more"],
)
def test_7z_is_there_afterwards(checkout: Path, known: str, program_of_7zip: str, asked_for: str) -> None:
    (checkout / "known").write_text("".join(f"{name}\n" for name in known.split()))
    (checkout / "program-of-7zip").write_text(program_of_7zip)
    done = subprocess.run(
        ["bash", str(checkout / "setup" / "install.sh")],
        env={"PATH": str(checkout / "bin"), "HOME": str(checkout), "STATE": str(checkout)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (checkout / "calls").read_text().split() == ["update", "install", asked_for]
    assert not (checkout / "policy").exists()


def test_without_apt_the_missing_package_is_named(checkout: Path) -> None:
    (checkout / "bin" / "apt-get").unlink()
    done = subprocess.run(
        ["bash", str(checkout / "setup" / "install.sh")],
        env={**os.environ, "PATH": str(checkout / "bin"), "HOME": str(checkout), "STATE": str(checkout)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "these packages are missing, and there is no apt-get to install them: p7zip-full" in done.stderr
