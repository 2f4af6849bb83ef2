"""The settings page says what the code says, and so does the Helm chart's list of what may be set."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "setup" / "settings_page.py"))
    assert script["PAGE"].read_text() == script["render"](), "run .venv/bin/python setup/settings_page.py"
    assert script["CHART"].read_text() == script["render_chart"](), "run .venv/bin/python setup/settings_page.py"
