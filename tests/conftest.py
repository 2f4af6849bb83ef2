"""What every test can ask for; the fixtures stand in the modules `servers_*`."""

import os
import signal
from types import FrameType

import structlog

from roadvault_stack.ports import FREE_PORTS

_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if _WORKER:
    # Tests that run side by side pick ports of their own, and so do the processes that they start.
    _first = 20_000 + int(_WORKER.removeprefix("gw")) % 4 * 3_000
    os.environ[FREE_PORTS] = f"{_first}-{_first + 2_999}"

pytest_plugins = [
    "servers_session",
    "servers_databases",
    "servers_agent",
    "servers_talk",
    "servers_devnet",
    "servers_door",
    "servers_ingest",
    "servers_access",
    "servers_upkeep",
    "servers_oidc",
    "servers_pages",
    "servers_orderer",
    "servers_services",
    "servers_faults",
    "servers_sentinel",
    "servers_galera",
    "servers_operator",
    "servers_estate",
    "servers_keeper",
    "servers_receipts",
    "servers_retriever",
    "servers_streaming",
    "servers_proof",
    "servers_recovery",
    "servers_rot",
    "browser",
    "custody_rows",
]

# As services tell of errors: structlog's own way of telling prints what each local variable holds, for seconds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


# As Python's own, but asyncio's runners leave it in place: theirs would have each fixture's value written out, for
# `signal.getsignal` puts the handler, and with it the task, into the text of an error that it then drops.
signal.signal(signal.SIGINT, _interrupt)
