"""Prometheus's own tools take our configuration, and show each rule firing on one history and silent on another."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from roadvault_stack.environment import GRANTS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HISTORIES = ("alerts_test.yml", "alerts_long_test.yml")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]


@pytest.mark.parametrize(
    "command",
    [
        ["promtool", "check", "config", "prometheus.yml"],
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"],
        ["promtool", "test", "rules", *HISTORIES],
        ["amtool", "check-config", "alertmanager.yml"],
    ],
    ids=["scrapes", "rules", "histories", "alertmanager"],
)
def test_the_tools_are_content(command: list[str]) -> None:
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_a_history_shows_the_rule_firing_and_another_moment_silent(alert: str) -> None:
    firing, silent = set(), set()
    for name in HISTORIES:
        for history in yaml.safe_load((DEPLOY / name).read_text())["tests"]:
            for question in history["promql_expr_test"]:
                labels = " ".join(sample["labels"] for sample in question["exp_samples"])
                firing |= set(re.findall(r'alertname="(\w+)", alertstate="firing"', labels))
                if not question["exp_samples"]:
                    silent |= set(re.findall(r"\w+", "".join(re.findall(r'alertname=~?"([^"]+)"', question["expr"]))))
    assert alert in firing
    assert alert in silent


def test_a_healthy_history_has_every_metric_that_a_rule_looks_at() -> None:
    healthy = yaml.safe_load((DEPLOY / HISTORIES[0]).read_text())["tests"][0]
    assert [question["exp_samples"] for question in healthy["promql_expr_test"]] == [[], []]
    series = {re.split(r"\W", one["series"])[0] for one in healthy["input_series"]}
    assert {name for rule in RULES for name in _metrics(rule)} | {"up"} <= series


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_looks_at_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    code = "".join(path.read_text() for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py"))
    exported = set(re.findall(r'"(roadvault_\w+)"', code))
    assert {name.removesuffix("_total") for name in _metrics(rule)} <= exported
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "action", "runbook_url"}
    assert f"`{rule['alert']}`" in (ROOT / "architecture" / "monitoring.md").read_text()


def test_every_service_is_missed() -> None:
    (rule,) = (rule for rule in RULES if rule["alert"] == "ServiceMissing")
    assert set(re.findall(r'service="([\w-]+)"', rule["expr"])) == GRANTS.keys()


def _metrics(rule: dict[str, Any]) -> set[str]:
    return set(re.findall(r"roadvault_\w+", rule["expr"]))
