"""`roadvault-stack` with all its servers, but one small stand-in in the place of devnet and services.

Run as a process of its own: `python -m servers_reduced_stack up`. The stand-in is what STAND_IN says: `healthy`,
`broken` (ends at once) or `deaf` (never ready).
"""

import os
import sys
from dataclasses import replace
from functools import partial

from roadvault_stack import __main__, plan
from roadvault_stack.plan import Group, Plan, Program, says, says_ready
from roadvault_stack.settings import StackSettings

_full = plan.make
_DEAF_SECONDS = 6
"""Long enough for the servers, which have to be ready before it, on a busy machine."""


def make(settings: StackSettings) -> Plan:
    everything = _full(settings)
    port = settings.ingest_port
    (everything.layout.devnet / "readyz").touch()
    serve = ["-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(everything.layout.devnet)]
    arguments = {
        "healthy": serve,
        "broken": ["-c", "raise SystemExit('broken on purpose')"],
        "deaf": ["-c", "__import__('time').sleep(60)"],
    }[os.environ["STAND_IN"]]
    program = Program("stand-in", [sys.executable, *arguments], {}, partial(says_ready, port), 5, partial(says, port))
    seconds = _DEAF_SECONDS if os.environ["STAND_IN"] == "deaf" else everything.ready_seconds
    return replace(everything, groups=[everything.groups[0], Group("services", [program])], ready_seconds=seconds)


if __name__ == "__main__":
    plan.make = make
    __main__.main()
