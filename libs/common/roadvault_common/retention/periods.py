"""The period keys' SQL and their life: made before the first archive that one wraps, kept in the keyring, destroyed.

One row for each month in which archives end, so that lists of them stay short however many archives there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from prometheus_client import Gauge

from roadvault_common.archive import keyring
from roadvault_common.archive.crypto import MasterKeys, PeriodKey
from roadvault_common.catalogue.records import MOST_DESTROYED, DestroyedKey
from roadvault_common.errors import TransientError, Waiting
from roadvault_common.retention.asking import in_doubt
from roadvault_common.retention.ends import IDLE
from roadvault_common.retention.places import Places
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.server_errors import duplicate_key

log = structlog.get_logger()

PLACES_BEHIND = Gauge(
    "roadvault_keyring_places_behind", "Places of the keyring that could not be written, and lack a change of it"
)
UNKNOWN = Gauge(
    "roadvault_keyring_keys_unknown", "Period keys that the keyring has and the database does not: they are kept there"
)
_TOLD_DAYS = 90
"""So long it is told that a period key was destroyed, and that copies may have to be destroyed by hand."""
_STATES: Final = "SELECT period_key, period, `key` IS NOT NULL AS lives, destroyed_at FROM period_key_info FOR UPDATE"
_LIVING: Final = "SELECT period, `key` FROM period_key_info WHERE `key` IS NOT NULL ORDER BY period, period_key"


@dataclass(frozen=True)
class End:
    """When an archive ends (UTC), and the key that wraps its own."""

    at: datetime
    key: PeriodKey


class Periods:
    """Period keys, as a service has them that may make, keep and destroy them."""

    def __init__(self, db: Database, keys: MasterKeys, places: Places) -> None:
        self._db = db
        self._keys = keys
        self._places = places

    async def end_in(self, days: float) -> End:
        """Return the end of an archive that is kept for so many days from now; its period key is in all places.

        Raises:
            Waiting: A place of the keyring can't be written, and the month's key is new.
        """
        row = await self._db.fetch_one("SELECT UTC_TIMESTAMP(6) + INTERVAL %s SECOND AS at", (days * 86_400,))
        assert row is not None  # noqa: S101 - a SELECT without a table
        at: datetime = row["at"]
        period = f"{at:%Y-%m}"
        found = await self._wrapping(period)
        if found is None or found["kept_at"] is None:
            if found is None:
                await self._make(period)
            wrong = await self.keep()
            if wrong:
                raise Waiting(
                    f"the key of archives that end in {period} is not in all places of the keyring yet, and nothing is"
                    f" packed before it is: {'; '.join(wrong)}",
                    code="period_key_waits",
                    period=period,
                )
            found = await self._wrapping(period)
        if found is None:
            raise TransientError(f"the key of archives that end in {period} is gone; it is made anew")
        return End(at, self._keys.unwrap_period(found["key"], period))

    async def _wrapping(self, period: str) -> Row | None:
        return await self._db.fetch_one(
            "SELECT `key`, kept_at FROM period_key_info WHERE period = %s AND wraps = 1 AND `key` IS NOT NULL",
            (period,),
        )

    async def _make(self, period: str) -> None:
        try:
            await self._db.transact(lambda tx: add(tx, self._keys, PeriodKey.new(period), wraps=True))
        except Exception as error:
            if not duplicate_key(error):  # another packer was quicker: its key is the one
                raise

    async def keep(self) -> list[str]:
        """Write the keyring wherever it is not as it should be; return what is wrong with places that lack it.

        The rows are locked meanwhile: what is written is what they say, whoever else writes. Keys that no row knows
        stay: the database may be a dump from before them, or not recovered yet. Those that were destroyed have a row.
        """

        async def write(tx: Transaction) -> tuple[list[str], list[str]]:
            rows = await tx.fetch_all("SELECT period_key, period, `key` FROM period_key_info FOR UPDATE")
            known = {row["period_key"] for row in rows}
            living = [self._keys.unwrap_period(row["key"], row["period"]) for row in rows if row["key"] is not None]
            unknown = list[str]()

            def make(held: str) -> bytes:
                unknown.extend(keyring.unknown(held, self._keys, known))
                return keyring.encode(self._keys, living, unknown)

            wrong = await self._places.keep(make)
            if not wrong:
                await tx.execute("UPDATE period_key_info SET kept_at = UTC_TIMESTAMP(6) WHERE kept_at IS NULL")
            return wrong, unknown

        wrong, unknown = await self._db.transact(write)
        PLACES_BEHIND.set(len(wrong))
        UNKNOWN.set(len(unknown))
        if unknown:
            log.warning(
                "the keyring has keys that the database does not: `roadvault recover --keyring` adds them",
                keys=[line.split()[1] for line in unknown], periods=sorted({line.split()[0] for line in unknown}),
            )  # fmt: skip
        if wrong:
            log.error("the keyring is not in all places", places="; ".join(wrong))
        return wrong

    async def tend(self) -> None:
        """Destroy the keys of periods that are over and wrap nothing any more; see that the places have the rest."""
        destroyed = await self._db.transact(destroy)
        if destroyed:
            log.warning(
                "period keys destroyed: what is on the network of their archives is shredded", periods=destroyed
            )
        await self.keep()


async def add(tx: Transaction, keys: MasterKeys, one: PeriodKey, *, wraps: bool = False) -> None:
    """Add a period key; one that is brought back from a keyring, or a sheet, only opens, and may be there already."""
    await tx.execute(
        f"INSERT {'' if wraps else 'IGNORE'} INTO period_key_info (period_key, period, wraps, `key`, master_key)"  # noqa: S608
        " VALUES (%s, %s, %s, %s, %s)",
        (one.id, one.period, 1 if wraps else None, keys.wrap(one.text.get_secret_value().encode()), keys.ids[0]),
    )


async def bring_back(
    db: Database, keys: MasterKeys, some: Sequence[PeriodKey], gone: Iterable[DestroyedKey] = ()
) -> list[Row]:
    """Add the period keys of a keyring that the database does not know; those that were destroyed stay so.

    `gone` were, by a catalogue, which is noted, so that ours carries that on. Return `period_key`, `period`,
    `destroyed_at` and whether it `lives` of what was destroyed and is in the keyring, or lives here all the same.
    """

    async def write(tx: Transaction) -> list[Row]:
        there = {row["period_key"]: row for row in await tx.fetch_all(_STATES)}
        found = list[Row]()
        for one in gone:
            at = one.at.astimezone(UTC).replace(tzinfo=None)
            if one.period_key not in there:
                await tx.execute(
                    "INSERT INTO period_key_info (period_key, period, wraps, destroyed_at) VALUES (%s, %s, NULL, %s)",
                    (one.period_key, one.period, at),
                )
                there[one.period_key] = {
                    "period_key": one.period_key, "period": one.period, "lives": 0, "destroyed_at": at,
                }  # fmt: skip
            elif there[one.period_key]["lives"]:  # a dump of before
                found.append({**there[one.period_key], "destroyed_at": at})
        for key in some:
            if key.id in there and not there[key.id]["lives"]:
                found.append(there[key.id])
            else:
                await add(tx, keys, key)
        return found

    return await db.transact(write)


async def hold(tx: Transaction, period_key: str) -> None:
    """Make sure that a period key lives until the transaction ends, which names it in an archive's row.

    Raises:
        TransientError: It was destroyed.
    """
    lives = await tx.execute(
        "UPDATE period_key_info SET held_at = UTC_TIMESTAMP(6) WHERE period_key = %s AND `key` IS NOT NULL",
        (period_key,),
    )
    if not lives:
        raise TransientError(f"the period key {period_key} was destroyed meanwhile")


async def destroy(tx: Transaction) -> list[str]:
    """Destroy the keys of periods that are over and wrap no archive's key any more; return those periods.

    All stay in a database that is in doubt, as each is that was recovered into, or that lacks archives that a recovery
    left out: they may wrap what it does not know.
    """
    if await in_doubt(tx) or await tx.fetch_one("SELECT 1 FROM left_out_info LIMIT 1") is not None:
        return []
    await tx.fetch_all(
        f"{_LIVING} FOR UPDATE"
    )  # an archive that is being sealed is seen below, or waits, and finds none
    over = await tx.fetch_all(IDLE)
    for row in over:
        await tx.execute(
            "UPDATE period_key_info SET `key` = NULL, master_key = NULL, wraps = NULL,"
            " destroyed_at = UTC_TIMESTAMP(6) WHERE period_key = %s",
            (row["period_key"],),
        )
    return [row["period"] for row in over]


async def living(db: Database, keys: MasterKeys) -> list[PeriodKey]:
    """Return the period keys that live."""
    return [keys.unwrap_period(row["key"], row["period"]) for row in await db.fetch_all(_LIVING)]


async def destroyed(db: Database) -> Sequence[Row]:
    """Return `period` and `destroyed_at` of the period keys that were destroyed lately, the latest first."""
    return await db.fetch_all(
        "SELECT period, destroyed_at FROM period_key_info WHERE destroyed_at > UTC_TIMESTAMP(6) - INTERVAL %s DAY"
        " ORDER BY period DESC",
        (_TOLD_DAYS,),
    )


async def gone(db: Database) -> tuple[list[DestroyedKey], list[str]]:
    """Return all period keys that were destroyed, and the ids of those of which the catalogue does not say so yet."""
    rows = await db.fetch_all(
        "SELECT period_key, period, destroyed_at, catalogued FROM period_key_info WHERE destroyed_at IS NOT NULL"
        " ORDER BY period DESC, period_key LIMIT %s",
        (MOST_DESTROYED,),
    )
    found = [
        DestroyedKey(period_key=row["period_key"], period=row["period"], at=row["destroyed_at"].replace(tzinfo=UTC))
        for row in rows
    ]
    return found, [row["period_key"] for row in rows if not row["catalogued"]]


async def note_catalogued(db: Database, ids: Sequence[str]) -> None:
    """Note that the catalogue says of these period keys that they were destroyed."""
    if ids:
        await db.execute(f"UPDATE period_key_info SET catalogued = 1 WHERE period_key IN ({marks(ids)})", ids)  # noqa: S608


async def rewrap(db: Database, keys: MasterKeys) -> None:
    """Wrap every period key under the first master key."""

    async def write(tx: Transaction) -> None:
        for row in await tx.fetch_all(
            "SELECT period_key, `key` FROM period_key_info WHERE `key` IS NOT NULL AND master_key <> %s FOR UPDATE",
            (keys.ids[0],),
        ):
            if keys.wrapped_by(row["key"]) is not None:
                await tx.execute(
                    "UPDATE period_key_info SET `key` = %s, master_key = %s WHERE period_key = %s",
                    (keys.rewrap(row["key"]), keys.ids[0], row["period_key"]),
                )

    await db.transact(write)
