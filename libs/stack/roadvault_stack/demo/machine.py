"""The machine is lost: all that RoadVault has on it is thrown away; and it begins anew beside the network.

What lives on is what would: the network's node, the chain, and, of secrets, the file that has the master key.
"""

import shutil
from dataclasses import replace

from rich.console import Console

from roadvault_stack.kubo import NetworkKubo
from roadvault_stack.plan import Group, Plan
from roadvault_stack.readiness import Readiness, until
from roadvault_stack.up import Stack

_STOP_SECONDS = 60


class Machine:
    """RoadVault and its own servers in a stack that is up. All of it blocks."""

    def __init__(self, stack: Stack, plan: Plan, console: Console) -> None:
        self._stack = stack
        self._plan = plan
        self._readiness = Readiness(stack.supervisor, plan.layout, console, plan.ready_seconds)
        self._servers = [server for server in plan.servers if not isinstance(server, NetworkKubo)]
        names = {server.name for server in self._servers}
        group = plan.groups[0]
        self._group = replace(group, programs=[program for program in group.programs if program.name in names])

    @property
    def _services(self) -> Group:
        return self._plan.groups[-1]

    def stop_services(self) -> None:
        """Stop RoadVault; its servers go on."""
        self._stack.supervisor.halt(self._services, _STOP_SECONDS)

    def throw_away(self) -> None:
        """Stop our servers, and remove their data and RoadVault's data directory."""
        self._stack.supervisor.halt(self._group, _STOP_SECONDS)
        for path in (*(server.home for server in self._servers), self._plan.layout.vault):
            shutil.rmtree(path)

    def begin_anew(self) -> None:
        """Start our servers with nothing in them, as on a fresh machine."""
        self._plan.layout.create()
        for server in self._servers:
            server.prepare()
        self._stack.supervisor.launch(self._group)
        self._readiness.wait_for(self._group)
        for condition in self._plan.settle:
            until(condition, "a connection between Kubo nodes", self._plan.ready_seconds)

    def start_services(self) -> None:
        """Start RoadVault again."""
        self._stack.supervisor.launch(self._services)
        self._readiness.wait_for(self._services)
