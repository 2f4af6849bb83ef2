"""Grafana's dashboards are what their script writes, and Prometheus can read each of their questions."""

import json
import runpy
import subprocess
from pathlib import Path

import pytest
import yaml
from asked import DEPLOY, FILES, questions, wrong

SCRIPT = runpy.run_path(str(DEPLOY.parent / "setup" / "dashboards.py"))
COMPOSE = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_a_dashboard_is_what_the_script_writes(path: Path) -> None:
    assert path.read_text() == SCRIPT["render"](path.stem), "run setup/dashboards.py"


def test_there_is_one_for_each_that_the_script_has() -> None:
    assert {path.stem for path in FILES} == SCRIPT["DASHBOARDS"].keys()


def test_prometheus_can_read_every_question(tmp_path: Path) -> None:
    expressions = [target["expr"].replace("$__rate_interval", "1m") for _, target in questions()]
    rules = [{"record": f"asked:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 50


def test_panels_stand_beside_and_below_each_other() -> None:
    for path in FILES:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


def test_what_nobody_exports_is_found() -> None:
    assert any("nobody exports roadvault_rows_due" in one for one in wrong({}))
    labels = wrong({"roadvault_archives": [{"state": "expired"}]})
    assert "storage: Archives live: no roadvault_archives has state=live" in labels
    assert "overview: Rows due: nothing there has the label stage" in labels


def test_compose_gives_grafana_what_it_is_to_read() -> None:
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    for source in ("source.yml", "dashboards.yml", "dashboards"):
        assert (DEPLOY / "grafana" / source).exists()
        assert f"./deploy/grafana/{source}" in mounts
    (provider,) = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yml").read_text())["providers"]
    assert provider["options"]["path"] == mounts["./deploy/grafana/dashboards"]
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "source.yml").read_text())["datasources"]
    assert {target["datasource"]["uid"] for _, target in questions()} == {source["uid"]}
