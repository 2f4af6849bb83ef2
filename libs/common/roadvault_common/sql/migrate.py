"""Applies the migrations in `schema/`, in order, each once.

A new schema is applied while old services run: a migration only adds (expand), and old code goes on beside it. What
takes away has `_contract_` in its name, and is applied once no service needs it any more.
"""

from collections.abc import Callable
from pathlib import Path

import pymysql
import structlog
from prometheus_client import Gauge

from roadvault_common.errors import DatabaseUnavailable, SettingsError
from roadvault_common.sql.applying import alone, apply_all
from roadvault_common.sql.db import Database
from roadvault_common.sql.server_errors import explained
from roadvault_common.sql.servers import connect_to_all, database_of

log = structlog.get_logger()

_CONTRACT = "_contract_"
SCHEMA = Gauge("roadvault_schema_version", "Number of the latest migration that the database has")
_CLUSTER = "SHOW VARIABLES WHERE Variable_name LIKE 'wsrep%%' OR Variable_name = 'innodb_autoinc_lock_mode'"
WRITTEN_ROWS, WRITTEN_BYTES = 200_000, 256 << 20
"""What one transaction may have to write in a cluster: the files of a folder, each some hundred bytes before and after,
many times over."""
PACKET_BYTES = 4 << 20
"""The longest statement names the members of an archive, 20 000 of some 40 bytes; longer folders are allowed."""


def schema_dir() -> Path:
    """Return the directory of the migrations: inside the installed package, or the checkout's `schema/`."""
    packaged = Path(__file__).parents[1] / "schema"
    return packaged if packaged.is_dir() else Path(__file__).parents[4] / "schema"


async def check_schema(db: Database) -> None:
    """See that the database's schema is one that this code can work with.

    Raises:
        SettingsError: A migration that the code needs is missing, or a later one took away what it may need.
        DatabaseUnavailable: It can't be told now.
    """
    listed = await db.fetch_one(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '_yoyo_migration'"
    )
    rows = await db.fetch_all("SELECT migration_id FROM _yoyo_migration") if listed else []
    known, applied = {path.stem for path in schema_dir().glob("*.sql")}, {row["migration_id"] for row in rows}
    missing = sorted(known - applied)
    if missing:
        raise SettingsError(f"the database lacks the migration {missing[0]}: run `roadvault migrate`, then start again")
    contracted = sorted(name for name in applied - known if _CONTRACT in name)
    if contracted:
        raise SettingsError(f"the database has the migration {contracted[0]}, which is newer: upgrade this service")


async def show_schema(db: Database) -> None:
    """Show Prometheus which schema the database has, by the number in the name of its latest migration."""
    latest = await db.fetch_value("SELECT MAX(migration_id) FROM _yoyo_migration")
    SCHEMA.set(int(latest.partition("_")[0]))


async def check_server(db: Database) -> None:
    """See that the server lets the services do what they do: transactions on every table, long statements, writes.

    Raises:
        SettingsError: It does not, and will not before somebody changes it.
        DatabaseUnavailable: It takes no writes now, or can't be asked.
    """
    tables = await db.fetch_all(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()"
        " AND table_type = 'BASE TABLE' AND engine <> 'InnoDB'"
    )
    if tables:
        names = ", ".join(sorted(row["name"] for row in tables))
        raise SettingsError(
            f"these tables know no transactions: {names}; ALTER TABLE … ENGINE = InnoDB, then start again"
        )
    packet = await db.fetch_value("SELECT @@max_allowed_packet")
    if packet < PACKET_BYTES:
        raise SettingsError(f"the database's max_allowed_packet is {packet} bytes: set it to at least {PACKET_BYTES}")
    variables = {row["Variable_name"]: row["Value"] for row in await db.fetch_all(_CLUSTER)}
    _refuse_node(variables)
    keyless = await db.fetch_all(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()"
        " AND table_type = 'BASE TABLE' AND table_name NOT IN (SELECT table_name FROM information_schema.statistics"
        " WHERE table_schema = DATABASE() AND index_name = 'PRIMARY')"
    )
    if keyless and variables.get("wsrep_on") == "ON":
        names = ", ".join(sorted(row["name"] for row in keyless))
        raise SettingsError(f"these tables have no primary key, which a cluster needs: {names}; give them one")
    await db.ping()


def migrate(url: str, say: Callable[[str], None] = log.info) -> list[str]:
    """Bring the database at `url` (mysql://…) up to date; return the ids of the migrations applied.

    Blocks; several callers at once are safe, they wait for each other. What one that was killed has left is taken over,
    and `say` is told of it.

    Raises:
        DatabaseUnavailable: The database can't be reached, or refuses.
        SettingsError: The URL is not one of a database, or the server is not set up for what RoadVault does.
    """
    try:
        with connect_to_all(url) as connections, connections[0].cursor() as cursor:
            cursor.execute("SHOW VARIABLES")
            _refuse_server(variables := dict(cursor.fetchall()))
            _refuse_node(variables)
            with alone(connections, database_of(url), say):
                return apply_all(cursor, schema_dir(), say)
    except pymysql.err.MySQLError as error:
        raise DatabaseUnavailable(f"the database can't be migrated: {explained(error)}") from error


def _refuse_node(variables: dict[str, str]) -> None:
    """Raise SettingsError for a node of a Galera cluster that would not do what others did, or not enough at once."""
    if variables.get("wsrep_on") != "ON":
        return
    if variables["wsrep_osu_method"] != "TOI":
        raise SettingsError("the database's wsrep_OSU_method is RSU: tables would be changed at one node alone; TOI")
    if variables["innodb_autoinc_lock_mode"] != "2":
        raise SettingsError("the database's innodb_autoinc_lock_mode has to be 2 at each node of a Galera cluster")
    rows, size = int(variables["wsrep_max_ws_rows"]), int(variables["wsrep_max_ws_size"])
    if 0 < rows < WRITTEN_ROWS or size < WRITTEN_BYTES:
        raise SettingsError(
            f"the database's wsrep_max_ws_rows is {rows} and its wsrep_max_ws_size {size}: set them to 0, and to at"
            f" least {WRITTEN_BYTES}"
        )


def _refuse_server(variables: dict[str, str]) -> None:
    """Raise SettingsError for a server on which the tables could be made, but not worked with."""
    if variables["log_bin"] == "ON" and variables["binlog_format"] == "STATEMENT":
        raise SettingsError("the database's binlog_format is STATEMENT, which can't record what RoadVault writes: ROW")
    if variables["read_only"] == "ON":
        raise SettingsError("the database is read-only (read_only): is it a replica?")
    if (engine := variables["default_storage_engine"]) != "InnoDB":
        raise SettingsError(f"the database's default_storage_engine is {engine}, which knows no transactions: InnoDB")
