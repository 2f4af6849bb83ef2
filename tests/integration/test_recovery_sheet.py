"""The recovery sheet as an operator makes it: what is secret goes where the operator says, and nowhere else."""

import asyncio
import os
import pty
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_key, ipns_name
from roadvault_common.sql.db import Database
from roadvault_operator.sheet import shares
from roadvault_operator.sheet.shares import Split
from roadvault_stack.kubo import Kubo

ROADVAULT = Path(sys.executable).with_name("roadvault")
WRITING = re.compile(r'(?:open|openat|creat)\((?:AT_FDCWD, )?"([^"]+)", [^)]*O_(?:WRONLY|RDWR|CREAT)')
OTHERS = re.compile(r'(?:rename|link|symlink|mknod|mkdir)\w*\(.*"([^"]+)"')


@dataclass
class Shell:
    """Runs `roadvault` with some master keys; what it may use for temporary files is seen."""

    keys: list[str]
    environment: dict[str, str]
    scratch: Path
    said: list[str] = field(default_factory=list)
    """All that came on stderr."""

    async def run(
        self, *arguments: object, lines: Sequence[str] = (), under: Sequence[object] = ()
    ) -> tuple[int, str, str]:
        child = await asyncio.create_subprocess_exec(
            *map(str, (*under, ROADVAULT, *arguments)), env=self.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await asyncio.wait_for(child.communicate("".join(f"{line}\n" for line in lines).encode()), 60)
        assert child.returncode is not None
        self.said.append(errors.decode())
        return child.returncode, out.decode(), errors.decode()

    def secrets(self, *words: str) -> list[str]:
        """Return the master keys, and what shows a piece of a share: three of its words in a row."""
        runs = [" ".join(line.split()[at : at + 3]) for line in words for at in range(4, len(line.split()) - 2)]
        return [*self.keys, *runs]

    def check(self, *words: str) -> None:
        """See that nothing secret was told on stderr, and that no temporary file is or was there."""
        assert not [one for one in self.secrets(*words) if any(one in said for said in self.said)]
        assert not any("Traceback" in said for said in self.said)
        assert list(self.scratch.iterdir()) == []


@pytest.fixture
def shell(database_url: str, tmp_path: Path) -> Shell:
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_MASTER_KEYS": ",".join(keys),
    }
    return Shell(keys, environment, scratch)


def shares_in(text: str) -> dict[tuple[str, int], str]:
    """Return the shares of a printed sheet, by their master key's id and their number."""
    heads = re.findall(r"Share (\d+) of \d+ of the master key (\w+)", text)
    words = [
        " ".join(re.sub(r"\d+\.", "", block).split()) for block in re.findall(r"(1\..*\n.*12\..*\n.*33\..*)", text)
    ]
    return {(key_id, int(number)): one for (number, key_id), one in zip(heads, words, strict=True)}


async def test_a_sheet_goes_where_the_operator_says_and_nowhere_else(shell: Shell, tmp_path: Path) -> None:
    paper, trace = tmp_path / "sheet.html", tmp_path / "trace"
    under = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o", trace]
    code, out, errors = await shell.run("recovery-sheet", "--html", paper, under=under)
    assert (code, out) == (0, ""), errors
    assert all(key in paper.read_text() for key in shell.keys)
    assert paper.stat().st_mode & 0o777 == 0o600
    written = {name for call in (WRITING, OTHERS) for name in call.findall(trace.read_text())}
    assert written - {"/dev/null", "/dev/tty"} == {str(paper)}
    assert not any(key in trace.read_text() for key in shell.keys)

    code, out, _ = await shell.run("recovery-sheet", under=[*under[:-1], tmp_path / "trace of text"])
    assert code == 0
    assert all(key in out for key in shell.keys)
    assert not WRITING.findall((tmp_path / "trace of text").read_text())
    shell.check()


async def test_no_file_is_written_over(shell: Shell, tmp_path: Path) -> None:
    there, elsewhere = tmp_path / "there.html", tmp_path / "elsewhere"
    there.write_text("of the operator")
    (tmp_path / "link.html").symlink_to(elsewhere)
    for path, why in {
        there: "File exists",
        tmp_path / "link.html": "File exists",
        tmp_path / "no" / "a.html": "",
    }.items():
        code, out, errors = await shell.run("recovery-sheet", "--html", path, "--text")
        assert (code, out) == (1, "")
        assert f"{path} can't be made: {why}" in errors
    assert there.read_text() == "of the operator"
    assert not elsewhere.exists()
    shell.check()


async def test_the_sheet_names_who_pays(shell: Shell, database_url: str) -> None:
    async with Database.open(database_url, size=1) as db:
        for number, account in enumerate(("an earlier one", "cTHEACCOUNT")):
            await db.execute(
                "INSERT INTO order_info (zip_id, account, cid, declared_size, nonce, era_birth, era_death,"
                " extrinsic_hash, extrinsic, price) VALUES (1, %s, 'c', 1, 1, 1, 1, %s, '', 1)",
                (account, str(number)),
            )
    code, out, _ = await shell.run("recovery-sheet")
    assert code == 0
    assert "    cTHEACCOUNT\n" in out
    assert "an earlier one" not in out


async def test_shares_of_a_sheet_give_each_key_back(shell: Shell, tmp_path: Path) -> None:
    paper = tmp_path / "sheet.html"
    code, out, _ = await shell.run("recovery-sheet", "--shares", 3, "--threshold", 2, "--html", paper, "--text")
    assert code == 0
    assert not any(key in out or key in paper.read_text() for key in shell.keys)
    found = shares_in(out)
    assert len(found) == 6
    for key in shell.keys:
        (key_id,) = MasterKeys(SecretStr(key)).ids
        # The paper has the same shares: they come from one split.
        lines = [found[key_id, 3], "", found[key_id, 1]]
        code, out, errors = await shell.run("master-key", "join", lines=lines)
        assert (code, out) == (0, f"{key}\n")
        assert f"this is the master key {key_id}" in errors
    shell.check(*found.values())


async def test_wrong_shares_end_with_one_line_that_has_nothing_of_them(shell: Shell) -> None:
    one, two, _ = shares.split(os.urandom(32), Split(3, 2))
    other = shares.split(os.urandom(32), Split(3, 2))[0]
    unknown, swapped = f"{one} unheard-of", f"{' '.join(one.split()[:-2])} {two.split()[-1]} {one.split()[-2]}"
    for lines in (
        [],
        [one],
        [one, one],
        [one, other],
        [unknown],
        [swapped],
        ["\0\udcff".encode("utf-8", "replace").decode()],
    ):
        code, out, errors = await shell.run("master-key", "join", lines=lines)
        assert (code, out) == (1, "")
        assert errors.splitlines()[-1].startswith("roadvault: ")
    for wrong in (["--shares", 3], ["--shares", 2, "--threshold", 3], ["--shares", 3, "--threshold", 1]):
        assert (await shell.run("recovery-sheet", *wrong))[:2] == (1, "")
    shell.check(one, two, other)


async def test_a_terminal_shows_nothing_of_what_is_typed_and_asks_again(shell: Shell) -> None:
    one, two, _ = shares.split(os.urandom(32), Split(3, 2))
    ours, theirs = pty.openpty()
    child = await asyncio.create_subprocess_exec(
        ROADVAULT, "master-key", "join", env=shell.environment, start_new_session=True,
        stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = ""

    async def until(text: str) -> None:
        nonlocal seen
        while not seen.endswith(text):
            seen += (await asyncio.to_thread(os.read, ours, 1000)).decode()

    async with asyncio.timeout(30):
        for line in (one, f"{one} gibberish", two):
            await until("(not shown): ")
            os.write(ours, f"{line}\n".encode())
        out, _ = await child.communicate()
    assert child.returncode == 0
    assert out.decode().strip() == shares_key(one, two)
    seen += os.read(ours, 1000).decode()
    os.close(ours)
    assert "share 1: 1 of 2" in seen
    assert "word 34 of 34 is not in SLIP-39's list; try again" in seen
    shell.said.append(seen)
    shell.check(one, two)


def shares_key(*lines: str) -> str:
    joining = shares.Joining()
    for line in lines:
        joining.add(line)
    return joining.master_key()


async def test_kubo_gives_the_key_the_name_that_the_sheet_has(kubo: Kubo, shell: Shell) -> None:
    async with aiohttp.ClientSession(kubo.rpc_url) as http:
        for number, key in enumerate(shell.keys):
            keys = MasterKeys(SecretStr(key))
            form = aiohttp.FormData()
            form.add_field("key", ipns_key(keys), filename="key")
            name = f"catalogue-{keys.ids[0]}-{number}"
            query = {"arg": name, "format": "libp2p-protobuf-cleartext", "ipns-base": "base36"}
            async with http.post("/api/v0/key/import", params=query, data=form) as response:
                assert response.status == 200, await response.text()
                assert (await response.json())["Id"] == ipns_name(keys)
            async with http.post("/api/v0/key/rm", params={"arg": name}) as response:
                assert response.status == 200
    both = MasterKeys(SecretStr(",".join(shell.keys)))
    assert ipns_name(both) == ipns_name(both, both.ids[0]) != ipns_name(both, both.ids[1])
