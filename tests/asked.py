"""What the dashboards in deploy/grafana ask Prometheus: their questions, and the metrics and labels that these name."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
_METRIC = re.compile(r"\b(roadvault_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_OF_PROMETHEUS = {"up": {"job"}, "ALERTS": {"alertstate"}}
_OF_SCRAPES = {"service", "instance", "job"}
"""Labels that Prometheus gives to whatever it reads."""


def questions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each panel's title, with its dashboard's name, and what it asks."""
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target


def wrong(exported: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """Return what the questions name that is not exported; `exported` has the labels of all series, by metric."""
    found = []
    for title, target in questions():
        expression, known = target["expr"], set(_OF_SCRAPES)
        for metric, matchers in _METRIC.findall(expression):
            series = exported.get(metric, [])
            if not series and metric not in _OF_PROMETHEUS:
                found.append(f"{title}: nobody exports {metric}")
            labels: set[str] = _OF_PROMETHEUS.get(metric, set()).union(*series)
            known |= labels
            for label, how, value in _MATCHER.findall(matchers):
                if label not in labels:
                    found.append(f"{title}: {metric} has no label {label}")
                elif how == "=" and series and all(one.get(label) != value for one in series):
                    found.append(f"{title}: no {metric} has {label}={value}")
        named = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
        named |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        found += [f"{title}: nothing there has the label {label}" for label in sorted(named - known)]
    return found
