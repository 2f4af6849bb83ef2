"""What every test can ask for; the fixtures stand in the modules `servers_*`."""

import os

from roadvault_stack.ports import FREE_PORTS

_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if _WORKER:
    # Tests that run side by side pick ports of their own, and so do the processes that they start.
    _first = 20_000 + int(_WORKER.removeprefix("gw")) % 4 * 3_000
    os.environ[FREE_PORTS] = f"{_first}-{_first + 2_999}"

pytest_plugins = [
    "servers_session",
    "servers_devnet",
    "servers_door",
    "servers_ingest",
    "servers_orderer",
    "servers_services",
    "servers_faults",
    "servers_operator",
    "servers_receipts",
    "servers_retriever",
    "servers_proof",
    "servers_recovery",
    "custody_rows",
]
