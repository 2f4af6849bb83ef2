"""No query grows with the archive: every SQL statement is run on a filled database, and its plan is looked at.

Sources are read as well, so that a statement that nobody runs here fails too: add its call to `statements.py`, or to
`statements_work.py`.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import statements
import statements_work
from filled import fill

from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_ingest.store import IngestStore
from roadvault_operator import store as operator

pytestmark = pytest.mark.timeout(400)
"""Tables like those of years are filled first."""
FILES, EACH_ARCHIVE, EACH_REQUEST = 20_000, 10, 10
MOST_READ = 1300
"""Rows and index entries that a statement may read; there are 2000 archives and requests, 20 000 files and orders."""
ROOT = Path(__file__).parents[2]
SOURCES = ("libs/common", "libs/operator", "services")
WITHIN = tuple(str(ROOT / source) for source in SOURCES)
BY_PYMYSQL = {"alone.py", "applying.py", "locks.py", "rehearsal.py", "servers.py"}
"""What makes tables, or keeps others out for longer than a transaction, is run by hand, by another driver."""

UNINDEXED = {
    "_yoyo_migration": "one row for each migration",
    "catalogue_segment_info": "a row for each thousand archives, read when one of them has changed",
    "catalogue_log_info": "a row for each 4096 lines, read as a whole when a person accepts that some are lost",
    "catalogue_pin_info": "a row for each catalogue that is pinned: two, or a few more while they change",
    "tables": "the server's own list, asked for one name when a service starts",
    "statistics": "likewise, and for the names of all tables' keys",
    "left_out_info": "a row for each archive that a recovery left out: few, and none in most systems",
    "store_info": "a row for each store: some hundred at most",
    "heartbeat_info": "a row for each process that ran within a day",
    "renewal_info": "one row for each day on which orders end",
    "period_key_info": "one row for each month in which archives end",
    "member": "the JSON that the packer sends, a table only for this statement",
}
"""Tables that may be read as a whole."""

_EXPLAINED = re.compile(r"\s*(SELECT|UPDATE|DELETE|INSERT\b.*\bSELECT)\b", re.DOTALL)
_SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WHERE|AND|ORDER BY)\b|%s|\} = NULL|UTC_TIMESTAMP")
_HOLE = re.compile(r"\{\w*\}")


@dataclass(frozen=True)
class Ran:
    """A statement that was run: its plan just before, what it read, and the functions that it came from."""

    sql: str
    plan: list[Row]
    read: int
    functions: frozenset[tuple[str, int]]
    """By file and first line."""

    def __str__(self) -> str:
        lines = [f"    {step['table']}: {step['type']}, key {step['key']}, {step['Extra']}" for step in self.plan]
        return "\n".join([f"  {_shown(self.sql)}", f"    read {self.read}", *lines])


def _shown(sql: str) -> str:
    return re.sub(r"(%s, )+", "%s, … ", " ".join(sql.split()))


class Recorder:
    """Notes each statement of the sources that a transaction runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[Ran] = []
        self._ask = Transaction.fetch_all
        for name in ("execute", "insert", "fetch_all"):
            monkeypatch.setattr(Transaction, name, self._recording(getattr(Transaction, name)))

    def _recording(self, run: Any) -> Any:  # noqa: ANN401 - any of the three methods
        async def record(tx: Transaction, sql: str, args: Sequence[object] = ()) -> object:
            functions = frozenset(_functions())
            plan = await self._ask(tx, f"EXPLAIN {sql}", args) if _EXPLAINED.match(sql) else []
            before = await self._reads(tx)
            result = await run(tx, sql, args)
            self.ran.append(Ran(sql, plan, await self._reads(tx) - before, functions))
            return result

        return record

    async def _reads(self, tx: Transaction) -> int:
        rows = await self._ask(tx, "SHOW SESSION STATUS LIKE 'Handler_read%%'", ())
        return sum(int(row["Value"]) for row in rows)


def _functions() -> Iterator[tuple[str, int]]:
    """Yield the functions of the sources that are being run."""
    frame = sys._getframe(1)
    while frame is not None:
        code, frame = frame.f_code, frame.f_back  # type: ignore[assignment]
        if code.co_filename.startswith(WITHIN):
            yield code.co_filename, code.co_firstlineno


@pytest.fixture
async def ran(database_url: str, monkeypatch: pytest.MonkeyPatch) -> list[Ran]:
    async with Database.open(database_url, size=1) as db:
        filled = await fill(db, FILES, EACH_ARCHIVE, EACH_REQUEST)
        recorder = Recorder(monkeypatch)
        looks = [*statements.sweeps(), *statements.status(filled), *statements.of_a_row(filled)]
        looks += statements.lists(filled)
        for statement in [*looks, *statements_work.work(filled)]:
            await statement.run(db)
    return recorder.ran


async def test_every_statement_has_an_index(ran: list[Ran]) -> None:
    wrong = {f"{', '.join(troubles)}:\n{one}" for one in ran if (troubles := list(_troubles(one)))}
    seen = {one.sql for one in ran if not any("Impossible" in (step["Extra"] or "") for step in one.plan)}
    wrong |= {f"has no plan, for its arguments fit no row:\n{one}" for one in ran if one.sql not in seen}
    assert not wrong, "\n".join(f"A statement {one}" for one in sorted(wrong))
    unseen = _unseen(ran)
    assert not unseen, "SQL that no call of statements.py or statements_work.py runs:\n" + "\n".join(unseen)


async def test_all_paths_that_rows_name_are_found_however_many_are_asked_for(database_url: str) -> None:
    async with Database.open(database_url, size=1) as db:
        await fill(db, 1000)
        paths = {row["path"] for row in await operator.uploads_after(db, "", 10_000)}
        assert len(paths) > len(statements.NO_PATHS) // 3
        assert await IngestStore(db).named([*statements.NO_PATHS, *paths]) == paths


def _troubles(one: Ran) -> Iterator[str]:
    """Yield what is wrong with a statement's plan, or with what it read."""
    if one.read > MOST_READ:
        yield f"reads {one.read} rows"
    for step in one.plan:
        table, extra = step["table"] or "", step["Extra"] or ""
        if table in UNINDEXED or table.startswith("<"):  # what another step of the plan has read
            continue
        if step["type"] == "ALL":
            yield f"reads the whole of {table}"
        # In the order of an index one reads up to the LIMIT, unless all rows are wanted, to sort them.
        if step["type"] == "index" and ("LIMIT" not in one.sql or re.search("filesort|temporary", extra)):
            yield f"reads the whole index {step['key']} of {table}"


def _unseen(ran: list[Ran]) -> list[str]:
    """Return the pieces of SQL in the sources that were not run from the function where they stand."""
    return [
        f"{piece.path.relative_to(ROOT)}:{piece.line}: {piece.text}"
        for source in SOURCES
        for path in sorted((ROOT / source).rglob("*.py"))
        if path.name not in BY_PYMYSQL
        for piece in _pieces(path, ast.parse(path.read_text()), None)
        if not any(piece.function in {None, *one.functions} and piece.pattern.search(one.sql) for one in ran)
    ]


@dataclass(frozen=True)
class Piece:
    """A string in the sources that is SQL or a part of it, and the function that it stands in, if any."""

    path: Path
    line: int
    text: str
    pattern: re.Pattern[str]
    function: tuple[str, int] | None


def _pieces(path: Path, node: ast.AST, function: tuple[str, int] | None) -> Iterator[Piece]:
    """Yield what is SQL below a node; holes of f-strings and of templates match anything."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = str(path), min(part.lineno for part in (node, *node.decorator_list))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    known = [part.value if isinstance(part, ast.Constant) else None for part in parts]
    texts = [text for text in known if isinstance(text, str)]
    if texts and _SQL.search("".join(texts)):
        assert isinstance(node, ast.expr)
        pieces = [_HOLE.split(text) if isinstance(text, str) else ["", ""] for text in known]
        pattern = "".join(".*".join(re.escape(part) for part in piece) for piece in pieces)
        yield Piece(path, node.lineno, " ".join("…".join(texts).split()), re.compile(pattern, re.DOTALL), function)
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from _pieces(path, child, function)
