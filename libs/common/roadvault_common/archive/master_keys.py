"""Which archives need which master key, so that one that is missing is named, and one that leaked can be retired.

Each archive's row notes the id of the master key that wraps its own key. What costs more than a look at an index is
done in pages, by the packer's timer and by `roadvault rewrap`.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

from roadvault_common.archive.crypto import SHREDDED, MasterKeys
from roadvault_common.errors import MasterKeyMissing
from roadvault_common.sql.db import Database, Row
from roadvault_common.web.health import Check

UNKNOWN = "unknown"
"""`master_key` of an archive whose key none of the master keys wraps that the packer had when it looked."""
MISSING = Gauge("roadvault_master_keys_missing", "Master keys that archives need and the settings lack")
_PERIODS = "SELECT period_key, period, master_key FROM period_key_info WHERE `key` IS NOT NULL"
_AT_ONCE = 500
"""Archives that are read at a time."""


@dataclass(frozen=True)
class Use:
    """The archives, by their lowest and highest id, that need a master key; None as its id: not looked at yet.

    Of a master key that wraps period keys the archives are those of these, `periods` says which.
    """

    master_key: str | None
    first: int
    last: int
    periods: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.periods:
            return f"the master key {self.master_key} (of archives that end in {', '.join(self.periods)})"
        which = "a master key that is not known" if self.master_key == UNKNOWN else f"the master key {self.master_key}"
        return f"{which} (archives from {self.first} to {self.last})"


async def uses(db: Database) -> list[Use]:
    """Return which master keys archives need; as quick with any number of archives."""
    rows = await db.fetch_all(
        "SELECT master_key, MIN(zip_id) AS first, MAX(zip_id) AS last FROM zip_ipfs_info GROUP BY master_key"
    )
    periods = {row["period_key"]: row for row in await db.fetch_all(_PERIODS)}
    direct = [Use(**row) for row in rows if row["master_key"] != SHREDDED and row["master_key"] not in periods]
    return direct + _of_periods(rows, periods)


def _of_periods(rows: list[Row], periods: Mapping[str, Row]) -> list[Use]:
    """Return the master keys that wrap period keys, with the archives that these wrap."""
    wrapped = {row["master_key"]: row for row in rows if row["master_key"] in periods}
    found: dict[str, list[str]] = {}
    for name, period in periods.items():
        found.setdefault(period["master_key"], []).append(name)
    return [
        Use(
            master_key,
            min((wrapped[name]["first"] for name in names if name in wrapped), default=0),
            max((wrapped[name]["last"] for name in names if name in wrapped), default=0),
            tuple(sorted(periods[name]["period"] for name in names)),
        )
        for master_key, names in found.items()
    ]


async def lacking(db: Database, keys: MasterKeys) -> list[Use]:
    """Return the master keys that archives need and `keys` lacks."""
    known = (None, *keys.ids)
    return [use for use in await uses(db) if use.master_key not in known]


def check(db: Database, keys: MasterKeys) -> Check:
    """Return a check that raises MasterKeyMissing while archives need a key that `keys` lacks."""

    async def look() -> None:
        missing = await lacking(db, keys)
        MISSING.set(len(missing))
        if missing:
            raise MasterKeyMissing(
                f"ROADVAULT_MASTER_KEYS lacks {'; '.join(map(str, missing))}: these archives wait, add the keys to it"
            )

    return look


async def measure(db: Database, keys: MasterKeys) -> None:
    """Show in the metrics how many master keys are missing, also where nobody asks for /readyz."""
    MISSING.set(len(await lacking(db, keys)))


async def note(db: Database, keys: MasterKeys) -> None:
    """Note which master key wraps the key of each archive that does not say so, or that nobody knew so far."""
    for noted in (None, UNKNOWN):
        async for row in _wrapped_by(db, noted):
            found = keys.wrapped_by(row["key"]) or UNKNOWN
            if found != noted:
                await _write(db, row, row["key"], found)


async def rewrap(db: Database, keys: MasterKeys, advance: Callable[[int], None]) -> list[int]:
    """Wrap every archive's key under the first master key; return the archives whose key none of `keys` unwraps.

    `advance` is told how many ids lie behind, of those from each key's first archive to its last. May be run again, and
    while services run: who packs with another key first meanwhile has it wrapped by the next run.
    """
    failed: list[int] = []
    for use in await uses(db):
        if use.master_key == keys.ids[0] or use.periods:
            continue  # period keys are wrapped anew by themselves, and nothing of their archives changes
        position = use.first - 1
        async for row in _wrapped_by(db, use.master_key):
            if not row["key"]:  # the catalogue's: it has no key to wrap, and is sealed anew by who publishes it
                await _write(db, row, "", keys.ids[0])
            elif keys.wrapped_by(row["key"]) is None:
                failed.append(row["zip_id"])
            else:
                await _write(db, row, keys.rewrap(row["key"]), keys.ids[0])
            advance(row["zip_id"] - position)
            position = row["zip_id"]
    return failed


async def _wrapped_by(db: Database, master_key: str | None) -> AsyncGenerator[Row, None]:
    last = 0
    while rows := await page(db, master_key, last):
        for row in rows:
            yield row
        last = rows[-1]["zip_id"]


async def page(db: Database, master_key: str | None, after: int) -> list[Row]:
    """Return `zip_id`, `key`, `iv` and `master_key` of archives behind the id `after` that need a master key."""
    return await db.fetch_all(
        "SELECT zip_id, `key`, iv, master_key FROM zip_ipfs_info WHERE master_key <=> %s AND zip_id > %s"
        " ORDER BY zip_id LIMIT %s",
        (master_key, after, _AT_ONCE),
    )


async def _write(db: Database, row: Row, wrapped: str, master_key: str) -> None:
    # Unless somebody has wrapped it anew meanwhile.
    await db.execute(
        "UPDATE zip_ipfs_info SET `key` = %s, master_key = %s WHERE zip_id = %s AND `key` = %s",
        (wrapped, master_key, row["zip_id"], row["key"]),
    )
