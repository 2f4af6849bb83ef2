"""Every command of `roadvault` takes --json, its exit codes are those that are documented, and shells complete it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from roadvault_common.build import VERSION
from roadvault_operator import top
from roadvault_operator.__main__ import Exit, every_command_takes_json, run
from roadvault_operator.shell import app

PAGE = (Path(__file__).parents[2] / "architecture" / "operator.md").read_text()


def commands(command: Any, name: str = "roadvault") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's own click
    yield name, command
    for below, one in getattr(command, "commands", {}).items():
        yield from commands(one, f"{name} {below}")


Complete = Callable[..., str]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What a shell is told that calls `roadvault` with these variables."""

    def told(how: str, **variables: str) -> str:
        for name, value in {"_ROADVAULT_COMPLETE": how, **variables}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            run([])
        assert ended.value.code in {0, None}
        return capsys.readouterr().out

    return told


def test_every_command_takes_json() -> None:
    found = dict(commands(every_command_takes_json(typer.main.get_command(app))))
    assert len(found) > 40
    for name, command in found.items():
        assert [option.name for option in command.params].count("json") == 1, name


def test_every_command_is_documented() -> None:
    said = [re.findall(r"`([^`]+)`", row) for row in re.findall(r"^\| `roadvault .*", PAGE, re.MULTILINE)]
    rows = [[tuple(span.split()) for span in row] for row in said]
    for name, command in commands(typer.main.get_command(app)):
        if not getattr(command, "commands", {}):
            *group, last = words = tuple(name.split())
            spans = {span[: len(words)] for row in rows for span in row}
            # Behind a command of a group its others stand by their last words alone.
            below = {
                span[0] for row in rows if row[0][: len(group)] == tuple(group) != ("roadvault",) for span in row[1:]
            }
            assert words in spans or last in below, name


def test_exit_codes_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)
    assert [int(code) for code in rows] == [code.value for code in Exit]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == Exit.DONE
    assert capsys.readouterr().out.startswith(f"roadvault {VERSION} (")


def test_an_interruption_has_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("ROADVAULT_DATABASE_URL", "mysql://x@127.0.0.1:1/x")
    monkeypatch.setattr(top, "look", interrupted)
    assert run(["top"]) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "roadvault: interrupted\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_a_script(complete: Complete, shell: str) -> None:
    script = complete(f"source_{shell}")
    assert "roadvault" in script
    assert f"complete_{shell}" in script
    assert f"source_{shell} roadvault" in PAGE


def test_shells_complete_commands_and_options(complete: Complete) -> None:
    assert complete("complete_bash", COMP_WORDS="roadvault ret", COMP_CWORD="1").split() == ["retry", "retention"]
    assert "--catalogue" in complete("complete_bash", COMP_WORDS="roadvault recover --cat", COMP_CWORD="2")
    assert "retention" in complete("complete_zsh", _TYPER_COMPLETE_ARGS="roadvault ret")
    words = {"_TYPER_COMPLETE_ARGS": "roadvault quarantine re", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "restore" in complete("complete_fish", **words)
