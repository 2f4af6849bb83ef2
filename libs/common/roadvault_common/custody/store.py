"""SQL of the custody log's chain. Lines are written by `sql/custody_lines.py`."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from roadvault_common.custody.chain import Head, Link, Subject
from roadvault_common.custody.tree import LOWEST, Known, Node, Span, needed
from roadvault_common.sql.db import Database, Row, Transaction, marks

_COLUMNS = "line_id, act, file_id, zip_id, done_at, facts, position, follows, hash, salt"

Source = Database | Transaction


async def head(source: Source) -> Head | None:
    """Return how far the chain has come; None if its row is gone."""
    row = await source.fetch_one("SELECT size, hash FROM custody_head_info WHERE one = 1")
    return None if row is None else Head(row["size"], row["hash"])


async def lock_head(tx: Transaction) -> Head | None:
    """As `head`; nobody else moves it until the transaction ends."""
    row = await tx.fetch_one("SELECT size, hash FROM custody_head_info WHERE one = 1 FOR UPDATE")
    return None if row is None else Head(row["size"], row["hash"])


async def move_head(tx: Transaction, head: Head) -> None:
    """Note how far the chain has come."""
    await tx.execute("UPDATE custody_head_info SET size = %s, hash = %s WHERE one = 1", (head.size, head.hash))


async def unchained(tx: Transaction, limit: int) -> list[Row]:
    """Return lines that have no place yet, in the order in which they were written."""
    return await tx.fetch_all(
        f"SELECT {_COLUMNS} FROM custody_info WHERE position IS NULL ORDER BY line_id LIMIT %s",  # noqa: S608
        (limit,),
    )


async def unchained_seconds(db: Database) -> float:
    """Return for how long the oldest line without a place has waited; 0 if none does."""
    row = await db.fetch_one(
        "SELECT TIMESTAMPDIFF(MICROSECOND, done_at, UTC_TIMESTAMP(6)) AS us FROM custody_info"
        " WHERE position IS NULL ORDER BY line_id LIMIT 1"
    )
    return 0 if row is None else max(float(row["us"]) / 1e6, 0)


async def latest(tx: Transaction, subjects: Iterable[Subject]) -> dict[Subject, Link]:
    """Return the last line in the chain of each of some files and archives."""
    found: dict[Subject, Link] = {}
    for file_id, zip_id in subjects:
        row = await tx.fetch_one(
            "SELECT position, follows, hash FROM custody_info WHERE zip_id <=> %s AND file_id <=> %s"
            " AND position IS NOT NULL ORDER BY position DESC LIMIT 1",
            (zip_id, file_id),
        )
        if row is not None:
            found[file_id, zip_id] = Link(**row)
    return found


async def place(tx: Transaction, rows: Sequence[Row], links: Sequence[Link]) -> None:
    """Give lines their places, and the salts that they were hashed with."""
    placed = [
        {"i": row["line_id"], "p": one.position, "f": one.follows, "h": one.hash.hex(), "s": row["salt"].hex()}
        for row, one in zip(rows, links, strict=True)
    ]
    # Where there are few lines the server would rather read them all, and wait for acts that are not committed yet.
    await tx.execute(
        "UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (line_id BIGINT PATH '$.i', position BIGINT PATH '$.p',"
        " follows BIGINT PATH '$.f', hash CHAR(64) PATH '$.h', salt CHAR(32) PATH '$.s')) AS member"
        " STRAIGHT_JOIN custody_info FORCE INDEX (PRIMARY) ON custody_info.line_id = member.line_id"
        " SET custody_info.position = member.position, custody_info.follows = member.follows,"
        " custody_info.hash = UNHEX(member.hash), custody_info.salt = UNHEX(member.salt)",
        (orjson.dumps(placed).decode(),),
    )


async def insert(tx: Transaction, rows: Sequence[Row], links: Sequence[Link]) -> None:
    """Write lines that have their places already: those of a recovered log."""
    values: list[object] = []
    for row, one in zip(rows, links, strict=True):
        values += [row[name] for name in ("act", "file_id", "zip_id", "done_at", "facts")]
        values += [one.position, one.follows, one.hash, row["salt"]]
    holes = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s)"] * len(rows))
    await tx.execute(
        "INSERT INTO custody_info (act, file_id, zip_id, done_at, facts, position, follows, hash, salt)"  # noqa: S608 - holes
        f" VALUES {holes}",
        values,
    )


async def add_nodes(tx: Transaction, nodes: Mapping[Node, bytes]) -> None:
    """Keep nodes of the tree that are complete now."""
    if nodes:
        values = [part for (level, number), hashed in nodes.items() for part in (level, number, hashed)]
        holes = ", ".join(["(%s, %s, %s)"] * len(nodes))
        await tx.execute(f"INSERT INTO custody_node_info (level, number, hash) VALUES {holes}", values)  # noqa: S608


async def put_nodes(tx: Transaction, nodes: Mapping[Node, bytes]) -> None:
    """Keep nodes of the tree in place of what was kept."""
    for (level, number), hashed in nodes.items():
        await tx.execute(
            "REPLACE INTO custody_node_info (level, number, hash) VALUES (%s, %s, %s)", (level, number, hashed)
        )


async def nodes(source: Source, wanted: Iterable[Node]) -> dict[Node, bytes]:
    """Return those of some nodes that are kept."""
    asked = sorted(wanted)
    if not asked:
        return {}
    holes = " OR ".join(["(level = %s AND number = %s)"] * len(asked))
    rows = await source.fetch_all(
        f"SELECT level, number, hash FROM custody_node_info WHERE {holes}",  # noqa: S608 - holes
        [part for node in asked for part in node],
    )
    return {(row["level"], row["number"]): row["hash"] for row in rows}


async def lines(source: Source, first: int, last: int) -> list[Row]:
    """Return lines of the chain from one position up to another, in their order."""
    return await source.fetch_all(
        f"SELECT {_COLUMNS} FROM custody_info WHERE position >= %s AND position < %s ORDER BY position",  # noqa: S608
        (first, last),
    )


async def behind(db: Database, size: int) -> int | None:
    """Return the lowest position that a line has at or behind `size`, or None."""
    row = await db.fetch_one(
        "SELECT position FROM custody_info WHERE position >= %s ORDER BY position LIMIT 1", (size,)
    )
    return None if row is None else int(row["position"])


async def hashes(source: Source, first: int, last: int) -> dict[int, bytes]:
    """Return the hashes of lines from one position up to another, by position."""
    rows = await source.fetch_all(
        "SELECT position, hash FROM custody_info WHERE position >= %s AND position < %s", (first, last)
    )
    return {row["position"]: row["hash"] for row in rows}


async def hashes_at(source: Source, positions: Iterable[int]) -> dict[int, bytes]:
    """Return the hashes of lines, by position."""
    asked = sorted(set(positions))
    if not asked:
        return {}
    rows = await source.fetch_all(
        f"SELECT position, hash FROM custody_info WHERE position IN ({marks(asked)})",  # noqa: S608
        asked,
    )
    return {row["position"]: row["hash"] for row in rows}


async def known(source: Source, spans: Sequence[Span]) -> Known:
    """Return what it takes to tell the hashes of parts of the tree."""
    wanted, stretches = needed(spans)
    blocks: dict[int, Span] = {}
    for first, last in stretches:
        low, high = blocks.get(first >> LOWEST, (first, last))
        blocks[first >> LOWEST] = min(low, first), max(high, last)
    found: dict[int, bytes] = {}
    for first, last in blocks.values():
        found |= await hashes(source, first, last)
    return Known(await nodes(source, wanted), found)


async def of_subject(source: Source, subject: Subject, before: int, limit: int, *, oldest: bool = False) -> list[Row]:
    """Return lines of a file or of an archive that stand before a position: the newest first, or the oldest first."""
    file_id, zip_id = subject
    return await source.fetch_all(
        f"SELECT {_COLUMNS} FROM custody_info WHERE zip_id <=> %s AND file_id <=> %s AND position < %s"  # noqa: S608
        f" ORDER BY position {'ASC' if oldest else 'DESC'} LIMIT %s",
        (zip_id, file_id, before, limit),
    )


async def unchained_of(db: Database, subject: Subject, limit: int) -> list[Row]:
    """Return lines of a file or of an archive that have no place in the chain yet."""
    file_id, zip_id = subject
    return await db.fetch_all(
        f"SELECT {_COLUMNS} FROM custody_info WHERE zip_id <=> %s AND file_id <=> %s AND position IS NULL"  # noqa: S608
        " ORDER BY line_id LIMIT %s",
        (zip_id, file_id, limit),
    )


async def archive_of(db: Database, file_id: int) -> Row | None:
    """Return `zip_id` of the archive that has a file, NULL if none has; None if there is no such file."""
    return await db.fetch_one("SELECT zip_id FROM file_upload_info WHERE file_id = %s", (file_id,))
