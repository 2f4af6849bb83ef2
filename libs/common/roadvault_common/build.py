"""Which build of RoadVault runs: of what version, and made of which revision of the sources."""

import os
from importlib.metadata import version

from prometheus_client import Gauge

VERSION = version("roadvault")
REVISION = os.environ.get("ROADVAULT_REVISION") or "unknown"
"""What the image was built of (`docker compose build --build-arg REVISION=…`); in a checkout nobody says."""

INFO = Gauge("roadvault_build_info", "Which build of which service runs", ["service", "version", "revision"])


def show(service: str) -> None:
    """Show Prometheus what runs."""
    INFO.labels(service, VERSION, REVISION).set(1)
