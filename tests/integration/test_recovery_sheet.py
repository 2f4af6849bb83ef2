"""The recovery sheet as an operator makes it: what is secret goes where the operator says, and nowhere else."""

import asyncio
import os
import pty
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_key, ipns_name
from roadvault_common.sql.db import Database
from roadvault_operator.__main__ import main
from roadvault_operator.sheet import shares
from roadvault_operator.sheet.shares import Joining, Split
from roadvault_stack.kubo import Kubo

ROADVAULT = Path(sys.executable).with_name("roadvault")
WRITING = re.compile(r'(?:open|openat|creat)\((?:AT_FDCWD, )?"([^"]+)", [^)]*O_(?:WRONLY|RDWR|CREAT)')
OTHERS = re.compile(r'\b(?:rename|link|symlink|mknod|mkdir)(?:at2?)?\(.*"([^"]+)"')
TRACED = ("strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o")


def written(trace: Path) -> set[str]:
    """Return the files that a traced command has opened to write, or made."""
    text = trace.read_text()
    assert "execve" in text
    return {name for call in (WRITING, OTHERS) for name in call.findall(text)} - {"/dev/null", "/dev/tty"}


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

    def check(self, *words: str) -> None:
        """See that nothing secret was told on stderr, and that no temporary file is or was there."""
        assert not [one for one in (*self.keys, *runs_of(*words)) if any(one in said for said in self.said)]
        assert not any("Traceback" in said for said in self.said)
        assert list(self.scratch.iterdir()) == []


def runs_of(*words: str) -> list[str]:
    """Return what would show a piece of shares: each two words in a row, behind the numbers of set and share."""
    return [" ".join(line.split()[at : at + 2]) for line in words for at in range(4, len(line.split()) - 1)]


def joined(*lines: str) -> str:
    joining = Joining()
    for line in lines:
        joining.add(line)
    return joining.master_key()


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
    code, out, errors = await shell.run("recovery-sheet", "--html", paper, "--text", under=[*TRACED, trace])
    assert code == 0, errors
    assert all(key in paper.read_text() and key in out for key in shell.keys)
    assert paper.stat().st_mode & 0o777 == 0o600
    assert written(trace) == {str(paper)}
    assert not any(key in trace.read_text() for key in shell.keys)

    before = paper.read_text()
    code, out, errors = await shell.run("recovery-sheet", "--html", paper, "--text")
    assert (code, out, errors) == (1, "", f"roadvault: {paper} can't be made: File exists; nothing was written\n")
    assert paper.read_text() == before
    shell.check()


async def test_shares_of_a_sheet_give_its_keys_back(shell: Shell, database_url: str, tmp_path: Path) -> None:
    async with Database.open(database_url, size=1) as db:
        for number, account in enumerate(("an earlier one", "cTHEACCOUNT")):
            await db.execute(
                "INSERT INTO order_info (zip_id, account, cid, declared_size, nonce, era_birth, era_death,"
                " extrinsic_hash, extrinsic, price) VALUES (1, %s, 'c', 1, 1, 1, 1, %s, '', 1)",
                (account, str(number)),
            )
    paper = tmp_path / "sheet.html"
    code, out, _ = await shell.run("recovery-sheet", "--shares", 3, "--threshold", 2, "--html", paper, "--text")
    assert code == 0
    assert "    cTHEACCOUNT\n" in out
    assert "an earlier one" not in out
    assert not any(key in out or key in paper.read_text() for key in shell.keys)
    found = shares_in(out)
    assert len(found) == 6
    for key in shell.keys:
        (key_id,) = MasterKeys(SecretStr(key)).ids
        assert joined(found[key_id, 2], found[key_id, 1]) == key
    lines, trace = [found[key_id, 3], "", found[key_id, 1]], tmp_path / "trace"
    code, out, errors = await shell.run("master-key", "join", lines=lines, under=[*TRACED, trace])
    assert (code, out) == (0, f"{key}\n")
    assert written(trace) == set()
    assert f"this is the master key {key_id}" in errors
    shell.check(*found.values())


def test_wrong_shares_end_with_one_line_that_has_nothing_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, _ = shares.split(os.urandom(32), Split(3, 2))
    other = shares.split(os.urandom(32), Split(3, 2))[0]
    unknown, swapped = f"{one} unheard-of", f"{' '.join(one.split()[:-2])} {two.split()[-1]} {one.split()[-2]}"
    monkeypatch.setattr(sys, "argv", ["roadvault", "master-key", "join"])
    for lines in ([], [one], [one, one], [one, other], [unknown], [swapped], ["\0\ud800", "a"]):
        monkeypatch.setattr(sys, "stdin", StringIO("\n".join(lines)))
        with pytest.raises(SystemExit) as ended:
            main()
        out, errors = capsys.readouterr()
        assert (ended.value.code, out) == (1, "")
        assert re.fullmatch(r"(share \d: \d of 2\n)?roadvault: .+\n", errors), errors
        told = f"{errors}{ended.value}{''.join(traceback.format_exception(ended.value))}"
        assert not [run for run in runs_of(one, two, other) if run in told]


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
        came = ""
        while not came.endswith(text):
            came += (await asyncio.to_thread(os.read, ours, 1000)).decode()
        seen += came

    async with asyncio.timeout(30):
        for line in (one, f"{one} gibberish", two):
            await until("(not shown): ")
            os.write(ours, f"{line}\n".encode())
        out, _ = await child.communicate()
    assert child.returncode == 0
    assert out.decode().strip() == joined(one, two)
    seen += os.read(ours, 1000).decode()
    os.close(ours)
    assert "share 1: 1 of 2" in seen
    assert "word 34 of 34 is not in SLIP-39's list; try again" in seen
    shell.said.append(seen)
    shell.check(one, two)


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
