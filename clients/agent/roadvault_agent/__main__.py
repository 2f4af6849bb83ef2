"""The command `roadvault-agent`."""

import argparse
import logging
import os
import signal
import ssl
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path

from rich.console import Console

from roadvault_agent import config, names, screen, state
from roadvault_agent.agent import Agent
from roadvault_agent.bucket import Bucket
from roadvault_agent.config import BadConfig, Config
from roadvault_agent.delivery import Delivery
from roadvault_agent.state import InUse, State
from roadvault_agent.tally import Tally
from roadvault_client import Client, Retries

_RETRIES = Retries(attempts=4, longest_seconds=5)
"""Of one upload; the agent itself comes again and again."""
_SHOWN = 20


class _Plain(logging.Formatter):
    """Names come from outside: nothing that a terminal obeys gets to it."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(names.shown(line) for line in super().format(record).splitlines())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="roadvault-agent", description="Hands finished files over to RoadVault.")
    parser.add_argument("--config", "-c", type=Path, default=os.environ.get(f"{config.PREFIX}CONFIG"))
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="watch the folders until told to stop")
    commands.add_parser("once", help="hand over what is there; 1 if something is left")
    commands.add_parser("status", help="show how many files wait, and what holds them up")
    commands.add_parser("check", help="read the settings, and say what is wrong with them")
    arguments = parser.parse_args()
    try:
        told = config.load(arguments.config, os.environ)
        match arguments.command:
            case "check":
                told.secret()
                _say(f"{len(told.folders)} folders, to {told.url}")
            case "status":
                _status(told)
            case _:
                once = arguments.command == "once"
                sys.exit(0 if _run(told, once=once) or not once else 1)
    except (BadConfig, InUse, OSError) as error:
        sys.exit(f"roadvault-agent: {error}")


def _run(told: Config, *, once: bool) -> bool:
    console = Console(stderr=True)
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("roadvault_agent").addHandler(handler)
    logging.getLogger("roadvault_agent").setLevel(logging.INFO)
    tls = None if told.ca_file is None else ssl.create_default_context(cafile=str(told.ca_file))
    client = Client(told.url, token=told.secret(), tls=tls, retries=_RETRIES)
    with closing(State(told.state)) as rows, client:
        tally = Tally()
        if told.metrics_port:
            tally.serve(told.metrics_host, told.metrics_port)
        agent = Agent(told, rows, Delivery(client, rows, Bucket(told.bytes_per_second)), tally)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        with screen.live(agent, console) if console.is_terminal else nullcontext():
            return agent.run(once=once)


def _status(told: Config) -> None:
    counts = state.counts(told.state) if state.place(told.state).exists() else {}
    _say(", ".join(f"{counts.get(step, 0)} {step}" for step in ("waiting", "sent", "done")))
    if counts.get("waiting"):
        _say(f"the oldest waits for {time.time() - state.oldest(told.state):.0f} s")
    for path, reason in state.reasons(told.state, _SHOWN) if counts else []:
        _say(f"{path}: {reason}")


def _say(text: str) -> None:
    sys.stdout.write(names.shown(text) + "\n")


if __name__ == "__main__":
    main()
