"""What a spoil is, and the hands to spoil rows and what was noted; each thing is put right again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chaos.arena import Arena

NOWHERE = "received/00/nowhere"
NOW = "now"
"""As a column's value: the time of the database."""

Spoil = Callable[[], Any]
"""Makes a context in which something is wrong."""


@dataclass(frozen=True)
class Case:
    """A check, what it has to say, and what makes it say so; all at once where one does not hide another."""

    check: str
    spoils: dict[str, Spoil]


@contextmanager
def changed(arena: Arena, table: str, key: str, row_id: int | str, **values: object) -> Iterator[None]:
    """Change some columns of a row for a while."""
    columns = ", ".join(f"`{name}`" for name in values)
    (before,) = arena.sql(f"SELECT {columns} FROM {table} WHERE {key} = %s", (row_id,))  # noqa: S608 - names in this file
    _write(arena, table, key, row_id, values)
    try:
        yield
    finally:
        _write(arena, table, key, row_id, before)


def _write(arena: Arena, table: str, key: str, row_id: int | str, values: dict[str, Any]) -> None:
    changes = ", ".join(f"`{name}` = {'UTC_TIMESTAMP(6)' if value == NOW else '%s'}" for name, value in values.items())
    given = [value for value in values.values() if value != NOW]
    arena.sql(f"UPDATE {table} SET {changes} WHERE {key} = %s", (*given, row_id))  # noqa: S608 - names in this file


@contextmanager
def put(where: dict[Any, Any], key: object, value: object) -> Iterator[None]:
    """Have a dictionary say something else for a while."""
    known, before = key in where, where.get(key)
    where[key] = value
    try:
        yield
    finally:
        if known:
            where[key] = before
        else:
            del where[key]
