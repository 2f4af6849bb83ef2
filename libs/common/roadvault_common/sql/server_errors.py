"""What the numbers mean by which a server says why it does not do something (MariaDB's and MySQL's error lists)."""

from asyncmy.errors import Error as DriverError

from roadvault_common.errors import DatabaseUnavailable

_LOST = frozenset({1053, 1077, 1079, 1152, *range(1158, 1162), 1184, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
"""Error numbers of a server that is away, going down, or dropped the connection."""
_REFUSES_WRITES = {
    1290: "the server is read-only (read_only): is it a replica?",
    1665: "its binary log can't record what RoadVault writes: set binlog_format to ROW or MIXED",
    1792: "its transactions are read-only (tx_read_only)",
    1836: "the server is read-only (innodb_force_recovery)",
}
"""Error numbers of a server that is set up so that it takes no writes of ours, and what to do."""
_FULL = frozenset({3, 28, 1021, 1026, 1030, 1037, 1038, 1040, 1041, 1114, 1129, 1135, 1180, 1203, 1206, 1226, 1637})
"""Error numbers of a server without room, memory, threads, locks or connections left."""
_CUT_SHORT = frozenset({1205, 1317, 1969, 3024})
"""Error numbers of what did not take place: it waited too long for a lock, was killed, or took the server too long."""
_NOT_NOW = frozenset({1047, 1297, 1412, 1614, 1615, 3032, 3058, 3098})
"""Error numbers of a server that can't do this at the moment: Galera's or a group's node apart from the others, a table
that is being altered."""
_UNABLE = frozenset({*_FULL, *_CUT_SHORT, *_NOT_NOW, *_REFUSES_WRITES})
_ROLLED_BACK = frozenset({1020, 1213, 1613, 3101})
"""Error numbers of deadlocks and their like, Galera's at COMMIT among them: the same transaction may be run again."""
_NEVER_TOOK_PLACE = frozenset({*_ROLLED_BACK, *_CUT_SHORT, *_REFUSES_WRITES})
"""Answers to COMMIT that say so; after any other nobody knows."""


def explained(error: BaseException) -> str:
    """Return what a server says, and before it what to do if it is set up so that it takes no writes of ours."""
    advice = _REFUSES_WRITES.get(_number(error))
    return f"{advice} ({error})" if advice else str(error)


def duplicate_key(error: BaseException) -> bool:
    """Tell whether a unique key refused the row (error 1062)."""
    return _number(error) == 1062  # noqa: PLR2004 - ER_DUP_ENTRY


def _number(error: BaseException) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def lost(error: BaseException) -> bool:
    """Tell whether the connection is of no use any more."""
    return isinstance(error, OSError | EOFError) or _number(error) in _LOST or not isinstance(error, DriverError)


class RolledBack(DatabaseUnavailable):
    """The server has rolled a transaction back that may simply be run again."""


def meaning(error: BaseException) -> DatabaseUnavailable | None:
    """Return what an error of the driver means, None if the statement, and not the server, is to blame."""
    if _number(error) in _ROLLED_BACK:
        return RolledBack(f"the database rolled a transaction back: {error}")
    if lost(error) or _number(error) in _UNABLE:  # too busy, out of disk, a row locked long
        return DatabaseUnavailable(f"the database can't do this now: {explained(error)}")
    return None


def never_took_place(error: BaseException) -> bool:
    """Tell whether an answer to COMMIT says that it did nothing; after any other nobody knows."""
    return _number(error) in _NEVER_TOOK_PLACE
