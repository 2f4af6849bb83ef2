"""What the agent's README shows can be used as it stands, and its service may do little."""

import re
import tomllib
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path

from prometheus_client import generate_latest

from roadvault_agent.config import Config, Folder, load
from roadvault_agent.tally import Tally

AGENT = Path(__file__).parents[2] / "clients" / "agent"
README = (AGENT / "README.md").read_text()


def test_the_example_is_understood(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "agent.toml").write_text(example)
    (folder,) = load(tmp_path / "agent.toml", {}).folders
    assert folder.camera_of("gate-7/20261128_083000.mp4") == "gate-7"
    assert str(folder.recorded_at("gate-7/20261128_083000.mp4", 0)) == "2026-11-28 00:30:00+00:00"
    assert tomllib.loads(example)


def test_every_setting_and_metric_is_there() -> None:
    settings = {one.name for kind in (Config, Folder) for one in fields(kind)} - {"folders"}
    assert {name for name in settings if f"`{name}`" not in README} == set()
    metrics = set(
        re.findall(r"^# TYPE roadvault_agent_(\w+) ", generate_latest(Tally().registry).decode(), re.MULTILINE)
    )
    assert {name for name in metrics if name not in README} - {f"{n}_created" for n in metrics} == set()


def test_the_service_may_do_little() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # names as systemd has them
    unit.read_string((AGENT / "roadvault-agent.service").read_text())
    service = unit["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert (service["NoNewPrivileges"], service["DynamicUser"], service["Restart"]) == ("yes", "yes", "always")
