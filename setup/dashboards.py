"""Writes deploy/grafana/dashboards/*.json, Grafana's dashboards; `.venv/bin/python setup/dashboards.py` runs it.

A panel is a line: its title, its unit, and what is asked with what each answer is called. Panels stand in rows of two;
a number stands above them, four in a row. Tests see that Prometheus can read each question, and that services export
what it asks for.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "roadvault"}
_COLUMNS, _NUMBER_HEIGHT, _PLOT_HEIGHT = 24, 4, 8
_NUMBER_WIDTH, _PLOT_WIDTH = _COLUMNS // 4, _COLUMNS // 2
_GREEN = {"color": "green", "value": None}


@dataclass(frozen=True)
class Panel:
    """What one panel shows: of each question its expression, and a name with labels such as {{stage}}."""

    title: str
    unit: str
    questions: dict[str, str]
    number: bool = False
    amber: float | None = None
    red: float | None = None
    """From these values on a number has another colour; where red is below amber, up to them."""

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return it as Grafana has it."""
        width, height = (_NUMBER_WIDTH, _NUMBER_HEIGHT) if self.number else (_PLOT_WIDTH, _PLOT_HEIGHT)
        targets = [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": name}
            for index, (name, expression) in enumerate(self.questions.items())
        ]
        defaults: dict[str, Any] = {"unit": self.unit}
        if self.number:
            defaults |= {"thresholds": {"mode": "absolute", "steps": self._steps()}, "noValue": "not known"}
        else:
            defaults |= {"min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}}
        return {
            "id": number,
            "type": "stat" if self.number else "timeseries",
            "title": self.title,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": targets,
        }

    def _steps(self) -> list[dict[str, Any]]:
        bounds = [("orange", self.amber), ("red", self.red)]
        if self.amber is not None and self.red is not None and self.red < self.amber:
            return [
                {"color": "red", "value": None},
                {"color": "orange", "value": self.red},
                {**_GREEN, "value": self.amber},
            ]
        return [_GREEN, *({"color": color, "value": value} for color, value in bounds if value is not None)]


def number(title: str, unit: str, expression: str, amber: float | None = None, red: float | None = None) -> Panel:
    """Return a panel of one number."""
    return Panel(title, unit, {title: expression}, number=True, amber=amber, red=red)


def plot(title: str, unit: str, questions: dict[str, str]) -> Panel:
    """Return a plot."""
    return Panel(title, unit, questions)


DAY = 86_400
PEOPLES = '{route!~"/metrics|/healthz|/readyz"}'
"""Requests that are not for the health of a service."""
OVERVIEW = (
    number("Processes that answer", "none", 'sum(up{job="roadvault"})', 7, 6),
    number("Alerts that fire", "none", 'count(ALERTS{alertstate="firing"}) or vector(0)', 1, 5),
    number("Rows that failed, and wait for a person", "none", "sum(max by (stage) (roadvault_rows_failed))", red=1),
    number("Longest outage now", "s", 'max(roadvault_breaker_open_seconds{domain!="callback host"})', 1, 900),
    plot("Rows due", "none", {"{{stage}}": "max by (stage) (roadvault_rows_due)"}),
    plot(
        "How long the oldest waits to be done with",
        "s",
        {"{{stage}}": "max by (stage) (roadvault_oldest_waiting_seconds)"},
    ),
    plot(
        "Attempts, by how they ended",
        "ops",
        {
            "{{stage}} {{outcome}}": "sum by (stage, outcome)"
            " (rate(roadvault_stage_outcomes_total[$__rate_interval])) > 0"
        },
    ),
    plot(
        "Time of an attempt, 95th percentile",
        "s",
        {
            "{{stage}}": "histogram_quantile(0.95, sum by (stage, le)"
            " (rate(roadvault_stage_seconds_bucket[$__rate_interval])))"
        },
    ),
    plot(
        "Bytes through each stage",
        "Bps",
        {"{{stage}}": "sum by (stage) (rate(roadvault_stage_bytes_total[$__rate_interval]))"},
    ),
    plot("Rows that failed", "none", {"{{stage}}": "max by (stage) (roadvault_rows_failed)"}),
    plot(
        "Requests, by status",
        "reqps",
        {"{{status}}": f"sum by (status) (rate(roadvault_http_seconds_count{PEOPLES}[$__rate_interval]))"},
    ),
    plot(
        "Time to handle a request, 95th percentile",
        "s",
        {
            "{{route}}": "histogram_quantile(0.95, sum by (route, le)"
            f" (rate(roadvault_http_seconds_bucket{PEOPLES}[$__rate_interval])))"
        },
    ),
    plot("Events not read yet", "none", {"{{stream}}": "max by (stream) (roadvault_stream_lag_events)"}),
    plot("What is away, and for how long", "s", {"{{domain}}": "max by (domain) (roadvault_breaker_open_seconds)"}),
    plot(
        "Builds that run",
        "none",
        {"{{service}} {{revision}}": "count by (service, version, revision) (roadvault_build_info)"},
    ),
    plot(
        "Age of what gauges show",
        "s",
        {"{{service}} {{sample}}": "max by (service, sample) (roadvault_sample_age_seconds)"},
    ),
)
MONEY = (
    number("Balance, CRU", "none", "max(roadvault_crust_balance_cru)"),
    number("Runway, days", "none", "min(roadvault_crust_runway_days)", 30, 7),
    number("The first order ends in", "s", "min(roadvault_soonest_expiry_seconds)", 7 * DAY, 4 * DAY),
    number("Archives without an order in force", "none", "max(roadvault_archives_expired)", red=1),
    plot("Balance, CRU", "none", {"balance": "max(roadvault_crust_balance_cru)"}),
    plot("Committed since midnight UTC, CRU", "none", {"spent today": "max(roadvault_crust_spent_today_cru)"}),
    plot("Price of an order with its fee, CRU", "none", {"price": "max(roadvault_crust_price_cru)"}),
    plot("Runway, days", "none", {"runway": "min(roadvault_crust_runway_days)"}),
    plot(
        "Archives that are not live, by state",
        "none",
        {"{{state}}": 'max by (state) (roadvault_archives{state!="live"})'},
    ),
    plot(
        "Purchases and looks, by how they ended, an hour",
        "none",
        {
            "{{stage}} {{outcome}}": "sum by (stage, outcome)"
            ' (increase(roadvault_stage_outcomes_total{stage=~"order|watch"}[1h]))'
        },
    ),
)
STORAGE = (
    number("Archives live on the network", "none", 'max(roadvault_archives{state="live"})'),
    number("Bytes of them", "bytes", "max(roadvault_stored_bytes)"),
    number("Free in the data directory", "bytes", "min(roadvault_disk_free_bytes)", 100e9, 20e9),
    number("Free at our Kubo", "bytes", "min(roadvault_ipfs_disk_free_bytes)", 50e9, 10e9),
    plot("Bytes stored", "bytes", {"stored": "max(roadvault_stored_bytes)"}),
    plot("Archives live", "none", {"live": 'max(roadvault_archives{state="live"})'}),
    plot(
        "Free room",
        "bytes",
        {"data directory": "min(roadvault_disk_free_bytes)", "Kubo": "min(roadvault_ipfs_disk_free_bytes)"},
    ),
    plot("Reserved room, by what for", "bytes", {"{{purpose}}": "sum by (purpose) (roadvault_disk_reserved_bytes)"}),
    plot(
        "How long no room was found, by what for",
        "s",
        {"{{purpose}}": "max by (purpose) (roadvault_disk_waiting_seconds)"},
    ),
    plot("In quarantine", "bytes", {"{{directory}}": "max by (directory) (roadvault_quarantine_bytes)"}),
    plot(
        "Uploads",
        "none",
        {
            "open": "max(roadvault_uploads_open)",
            "untagged": "max(roadvault_uploads_untagged)",
            "set aside": "max(roadvault_files_set_aside)",
        },
    ),
    plot(
        "The catalogue, and the custody log",
        "s",
        {
            "catalogue not published for": "max(roadvault_catalogue_unpublished_seconds)",
            "catalogue last named": "max(roadvault_catalogue_named_seconds)",
            "acts not chained for": "max(roadvault_custody_unchained_seconds)",
        },
    ),
)
# One store today, the network's: once there are more, each question gets a label of theirs.
STORES = (
    number("Archives under the replica floor", "none", "max(roadvault_archives_under_floor)", red=1),
    number("Archives that an audit found unsound", "none", "sum(max by (place) (roadvault_archives_unsound))", red=1),
    number(
        "The oldest unproven archive waits for", "s", "max(roadvault_oldest_unreplicated_seconds)", 3 * DAY, 7 * DAY
    ),
    number("A finalized block was last seen before", "s", "min(roadvault_finalized_head_age_seconds)", 300, 1800),
    plot(
        "Replicas that looks found",
        "none",
        {
            "median": "histogram_quantile(0.5, sum by (le) (rate(roadvault_replicas_bucket[1h])))",
            "lowest tenth": "histogram_quantile(0.1, sum by (le) (rate(roadvault_replicas_bucket[1h])))",
        },
    ),
    plot(
        "The longest ago that an archive was audited",
        "s",
        {"{{place}}": "max by (place) (roadvault_oldest_audit_seconds)"},
    ),
    plot(
        "Audits that found something wrong, a day",
        "none",
        {"{{place}}": "sum by (place) (increase(roadvault_audit_failures_total[1d]))"},
    ),
    plot("Peers of the witness", "none", {"peers": "min(roadvault_witness_peers)"}),
    plot(
        "Files brought back, by where from, an hour",
        "none",
        {"{{source}}": "sum by (source) (increase(roadvault_fetch_sources_total[1h]))"},
    ),
    plot(
        "Copies that had rotted, an hour",
        "none",
        {"{{source}}": "sum by (source) (increase(roadvault_fetch_rot_total[1h]))"},
    ),
    plot(
        "Our Kubo",
        "s",
        {"no garbage collected for": "max(roadvault_garbage_stays_seconds)"},
    ),
    plot("Pins that our Kubo can't follow", "none", {"pins": "max(roadvault_pins_broken)"}),
)
DASHBOARDS = {"overview": OVERVIEW, "money": MONEY, "storage": STORAGE, "stores": STORES}


def render(name: str) -> str:
    """Return a dashboard as the text of its file."""
    panels, x, y, height = [], 0, 0, 0
    for index, panel in enumerate(DASHBOARDS[name]):
        shown = panel.json(index + 1, x, y)
        if x and (x + shown["gridPos"]["w"] > _COLUMNS or shown["gridPos"]["h"] != height):
            x, y = 0, y + height
            shown["gridPos"] |= {"x": x, "y": y}
        panels.append(shown)
        x, height = x + shown["gridPos"]["w"], shown["gridPos"]["h"]
    dashboard = {
        "uid": f"roadvault-{name}",
        "title": f"RoadVault: {name}",
        "tags": ["roadvault"],
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "schemaVersion": 39,
        "links": [{"type": "dashboards", "tags": ["roadvault"], "title": "", "asDropdown": False, "keepTime": True}],
        "panels": panels,
    }
    return json.dumps(dashboard, indent=1) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(render(each))
