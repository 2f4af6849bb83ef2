"""What a run did and found: told as it goes, and in one table at the end."""

import time
from collections import Counter
from pathlib import Path

from chaos.arena import Arena
from chaos.load import Load
from chaos.throws import Findings
from chaos.transfers import Transfer
from rich import box
from rich.console import Console
from rich.table import Table


class Timeline:
    """What happened when: for the console, and at once for a file, which outlives whatever ends the run."""

    def __init__(self, console: Console, file: Path) -> None:
        self._console = console
        self._start = time.monotonic()
        self.file = file
        self.lines: list[str] = []
        file.write_text("")

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self._start:8.1f} s  {text}"
        self.lines.append(line)
        with self.file.open("a") as file:
            file.write(line + "\n")
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def figures(arena: Arena, load: Load, findings: Findings, names: list[str], watched: int) -> dict[str, object]:
    """Count what was injected, and what went on meanwhile; sizes are bytes, times seconds."""
    requests = arena.sql("SELECT source, callback_reason, callback_failed_at FROM download_info")
    fetched = arena.sql(
        "SELECT COALESCE(SUM(file.size), 0) AS bytes FROM download_info JOIN file_upload_info AS file USING (file_id)"
        " WHERE source = 'ipfs'"
    )
    reasons = Counter(row["callback_reason"] for row in requests if row["callback_failed_at"] is not None)
    asked = [request for loss in findings.losses for request in loss.requests] + load.requests
    return {
        "faults": dict(Counter(names).most_common()),
        "events injected": dict(findings.injected),
        "rows that a stopped process lost to another": len(findings.taken_over),
        "late workers that found their lease lost": arena.said("lease lost"),
        "uploads acknowledged": len(load.files) + len(load.lost),
        "bytes uploaded": sum(file.size for file in load.files.values()),
        "archives": len(arena.sql("SELECT zip_id FROM zip_ipfs_info")),
        "requests accepted": len(asked),
        "callbacks, by the receiver's mood": dict(load.receiver.calls),
        "links followed to the right bytes": sum(map(load.right, asked)),
        "files brought back, by source": dict(Counter(row["source"] for row in requests if row["source"])),
        "bytes read from the network": int(fetched[0]["bytes"]),
        "requests given up, by reason": dict(reasons),
        "uploads gone on with or sent again": {
            f"{way}, {what}": sum(test(one) for one in load.transfers.all if one.way == way)
            for way in ("key", "pieces", "parts")
            for what, test in {"whole": _whole, "in more than one go": _again, "left": _left}.items()
        },
        "batches told of": len(load.receiver.reports),
        "refused, by what the client saw": dict((load.refused + load.transfers.refused).most_common()),
        "longest time without an acknowledged upload, s": round(load.longest_outage, 1),
        "named files watched": watched,
    } | {loss.name: loss.figures for loss in findings.losses}


def _whole(one: Transfer) -> bool:
    return bool(one.file_ids)


def _again(one: Transfer) -> bool:
    return one.again > 0


def _left(one: Transfer) -> bool:
    return one.left


def table(report: dict[str, object]) -> Table:
    """Return the figures as one table, which is Markdown, too."""
    shown = Table("what", "how much", box=box.MARKDOWN)
    for name, value in report.items():
        if isinstance(value, dict):
            for key, count in value.items():
                shown.add_row(f"{name}: {key}", f"{count:,}")
        elif isinstance(value, int | float):
            shown.add_row(name, str(value) if name == "seed" else f"{value:,}")
    return shown
