"""The runbook: its commands exist, its settings and containers too, and each alert has its section there."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import roadvault_operator.__main__  # noqa: F401 - it gives the application its commands
from roadvault_common.settings.config import PREFIX
from roadvault_operator.shell import app

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "architecture"
RUNBOOK = (PAGES / "runbook.md").read_text()
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
(USAGE_ERROR,) = typer.BadParameter.__bases__
CONTAINERS = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].keys()
CALL = re.compile(r"(?:^|(?<=[`\s]))roadvault [a-z][^`\n]*")


def slug(heading: str) -> str:
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(text: str) -> dict[str, str]:
    """Return what stands below each heading of a page, by its anchor."""
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {slug(heading): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def calls(text: str) -> Iterator[str]:
    """Return the calls of `roadvault` in a page's examples, and between backticks; without remarks behind them."""
    fenced = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    inline = "\n".join(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))
    for line in (fenced.replace("\\\n", "") + inline).splitlines():
        for found in CALL.findall(re.sub(r"(^|\s)#.*|alias .*", "", line)):
            yield re.split(r"\s*(?:&&|;|\||>)", found)[0].strip()


def silent(command: Any) -> Any:  # noqa: ANN401 - typer has a click of its own
    """Return a command that is parsed and does nothing, with all below it."""
    command.callback = lambda **_: None
    for below in getattr(command, "commands", {}).values():
        silent(below)
    return command


def parse(call: str) -> None:
    """Have the command line parse a call; USAGE_ERROR if there is no such command, option or argument."""
    silent(typer.main.get_command(app)).main(shlex.split(call)[1:], standalone_mode=False)


@pytest.mark.parametrize("call", sorted(set(calls(RUNBOOK))))
def test_a_command_of_the_runbook_exists_with_its_options(call: str) -> None:
    parse(call)


def test_what_does_not_exist_is_found() -> None:
    for call in ("roadvault recovr", "roadvault retry order --every", "roadvault quarantine purge --al"):
        with pytest.raises(USAGE_ERROR):
            parse(call)
    assert len(set(calls(RUNBOOK))) > 30


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_links_to_a_section_that_names_it(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert f"`{rule['alert']}`" in sections((ROOT / page).read_text())[anchor]


def test_a_section_is_where_all_alerts_link_to_that_it_says_are_its_own() -> None:
    linked = {rule["alert"]: rule["annotations"]["runbook_url"].partition("#")[2] for rule in RULES}
    for anchor, body in sections(RUNBOOK).items():
        for line in re.findall(r"^Alerts?: ([^\n]*)", body, re.MULTILINE):
            own = re.findall(r"`(\w+)`", line.partition(".")[0])
            assert own
            assert {name: linked[name] for name in own} == dict.fromkeys(own, anchor)


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: str(page.stem))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for path, anchor in re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", page.read_text()):
        text = (page.parent / path if path else page).read_text()
        assert anchor in {*sections(text), *re.findall(r'<a id="([\w-]+)">', text)}, (path, anchor)


def test_containers_and_settings_of_the_runbook_exist() -> None:
    known = (PAGES / "settings.md").read_text() + (ROOT / ".env.example").read_text()
    for name in set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", RUNBOOK)):
        assert name.removesuffix("_FILE") in known, name
    joined = RUNBOOK.replace("\\\n", " ")
    for line in re.findall(r"docker compose (?:up|stop|start|restart|logs|run|exec|ps|rm)\b([^\n`#&;]*)", joined):
        words = re.sub(r"-[ev] \S+|--(?:entrypoint|user|tail|scale) \S+", "", line).split()
        named = itertools.takewhile(lambda word: word in CONTAINERS, (w for w in words if not w.startswith("-")))
        first = next((word for word in words if not word.startswith("-")), None)
        assert first is None or list(named), line
