"""Locks of the server, by name, that end with the connection that took them, whatever becomes of the process.

A node of a cluster knows its own alone. So they are taken at all nodes that are well, the written one first: who works
at another node, because it can't reach that one, is met at the third.
"""

from collections.abc import Sequence
from contextlib import suppress

from pymysql import Connection, MySQLError
from pymysql.cursors import Cursor


def take(connections: "Sequence[Connection[Cursor]]", name: str, seconds: int) -> bool:
    """Take a lock over each connection, waiting so long at the first; False, with none taken, if somebody has one."""
    for number, connection in enumerate(connections):
        with connection.cursor() as cursor:
            try:
                cursor.execute("SELECT GET_LOCK(%s, %s)", (name, 0 if number else seconds))
            except MySQLError:
                if not number:
                    raise
                continue  # that node is not well any more
            if cursor.fetchone() != (1,):
                release(connections[:number], name)
                return False
    return True


def release(connections: "Sequence[Connection[Cursor]]", name: str) -> None:
    """Give a lock up over each connection."""
    for connection in connections:
        with suppress(MySQLError), connection.cursor() as cursor:
            cursor.execute("SELECT RELEASE_LOCK(%s)", (name,))
