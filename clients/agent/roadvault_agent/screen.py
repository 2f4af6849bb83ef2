"""What a terminal shows while the agent runs."""

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from roadvault_agent.agent import Agent
from roadvault_agent.names import shown


def live(agent: Agent, console: Console) -> Live:
    """Show it as long as this is entered."""
    return Live(console=console, get_renderable=lambda: view(agent), refresh_per_second=4, transient=True)


def view(agent: Agent) -> RenderableType:
    """Return how things stand."""
    tally = agent.tally
    table = Table.grid(padding=(0, 2))
    for path, sent, size in list(tally.moving.values()):
        done = sent / size if size else 0
        bar = "━" * int(done * 20)
        table.add_row(Text(shown(path)), f"{bar:<20} {done:4.0%}", f"{size / 1e6:,.1f} MB")
    words = f"{tally.counts['waiting']} waiting, {tally.counts['sent']} sent, {tally.counts['done']} done"
    if tally.counts["waiting"]:
        words += f"; the oldest for {_time(tally.oldest_seconds)}"
    lines: list[RenderableType] = [table, Text(words)]
    if agent.rest.since is not None:
        lines.append(Text(f"server away for {_time(agent.rest.away_seconds)}: {shown(agent.rest.reason)}", "yellow"))
    lines += [Text(f"not there: {shown(folder)}", "yellow") for folder in sorted(tally.away)]
    return Group(*lines)


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
