"""The catalogue's SQL: what has changed since it was published, and what it says.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import SEGMENT_ARCHIVES, GivenOut, SegmentLink
from roadvault_common.files import identity_store
from roadvault_common.files.numbers import go_on_behind
from roadvault_common.sql.db import Database, Transaction, marks, transacted
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Outcome
from roadvault_pinner.catalogue import log_store, order_store
from roadvault_pinner.catalogue.log_store import Part
from roadvault_pinner.catalogue.order_store import MAY_ORDER

_AT_ONCE = 200
"""Archives that are read, or noted as published, in one statement."""


@dataclass(frozen=True)
class Published:
    """The newest catalogue that was published, if any was. Ages are seconds."""

    cid: str | None
    master_key: str | None
    node: bytes | None
    """Its directory's block."""
    custody: bytes | None
    """What it says of the custody log."""
    accepted: int
    """Whether a person accepted the log since, which need not go on from that any more."""
    follows: str | None
    """The catalogue of before this database, whose name it may take."""
    may_order: int
    """Whether a newer one could be ordered now."""
    named: float | None
    """Since it was last published under its name."""
    name: str | None = None
    """Under which it was."""
    made: datetime | None = None


@dataclass(frozen=True)
class Ages:
    """How old the newest catalogue is, in seconds; None where there is none."""

    made: float | None
    named: float | None
    complete: float
    """Since all changes were known to be published."""
    waiting: bool
    """Whether there are some that are not, or nothing can be."""


@dataclass(frozen=True)
class Segment:
    """A segment as it was published last."""

    number: int
    archives: int
    digest: str
    master_key: str
    cid: str
    size: int

    @property
    def link(self) -> SegmentLink:
        """What the head says of it."""
        return SegmentLink(number=self.number, cid=self.cid, size=self.size, archives=self.archives)


@dataclass(frozen=True)
class New:
    """A catalogue that was just published."""

    cid: str
    dag_size: int
    node: bytes
    """Its directory's block."""
    custody: bytes | None
    accepted: bool
    """Whether it has the log that a person accepted."""
    archives: int
    master_key: str
    name: str | None
    """Under which it was published, if it was."""
    made: datetime


class CatalogueStore:
    """Reads what the catalogue is to say, and writes down what was published."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def published(self, every: float) -> Published:
        """Return the newest catalogue; there is an order at most once in `every` seconds."""
        row = await self._db.fetch_one(
            "SELECT cid, master_key, node, custody, custody_accepted AS accepted, follows, name, made_at AS made,"  # noqa: S608
            f" TIMESTAMPDIFF(SECOND, named_at, UTC_TIMESTAMP(6)) AS named, {MAY_ORDER} AS may_order"
            " FROM catalogue_info WHERE one = 1",
            (every,),
        )
        if row is None:
            return Published(None, None, None, None, 0, None, 0, named=None)
        return Published(**{**row, "made": None if row["made"] is None else row["made"].replace(tzinfo=UTC)})

    async def ages(self) -> Ages:
        """Return how old the newest catalogue is."""
        row = await self._db.fetch_one(
            "SELECT TIMESTAMPDIFF(SECOND, made_at, UTC_TIMESTAMP(6)) AS made,"
            " TIMESTAMPDIFF(SECOND, named_at, UTC_TIMESTAMP(6)) AS named,"
            " TIMESTAMPDIFF(SECOND, complete_at, UTC_TIMESTAMP(6)) AS complete FROM catalogue_info WHERE one = 1"
        )
        waiting = bool(await self.stale(1)) or await left_out.unread(self._db) is not None
        return Ages(**row, waiting=waiting) if row else Ages(None, None, 0, waiting)

    async def now(self) -> datetime:
        """Return the database's time."""
        time: datetime = await self._db.fetch_value("SELECT UTC_TIMESTAMP(6)")
        return time.replace(tzinfo=UTC)

    async def stale(self, most: int) -> list[int]:
        """Return the numbers of up to `most` segments of which something has changed since they were published."""
        numbers: list[int] = []
        while len(numbers) < most:
            behind = (numbers[-1] + 1) * SEGMENT_ARCHIVES if numbers else 0
            zip_id = await self._db.fetch_value(
                "SELECT MIN(zip_id) FROM zip_ipfs_info WHERE catalogue_stale = 1 AND zip_id >= %s", (behind,)
            )
            first = min(
                (one for one in (zip_id, await left_out.first_new(self._db, behind)) if one is not None), default=None
            )
            if first is None:
                break
            numbers.append(first // SEGMENT_ARCHIVES)
        return numbers

    async def unchecked(self) -> int | None:
        """Return the number of the segment that was not compared with its rows for the longest, if there is one."""
        number: int | None = await self._db.fetch_value(
            "SELECT number FROM catalogue_segment_info ORDER BY checked_at LIMIT 1"
        )
        return number

    async def segments(self) -> dict[int, Segment]:
        """Return all segments as they were published last, by their numbers."""
        rows = await self._db.fetch_all(
            "SELECT number, archives, digest, master_key, cid, size FROM catalogue_segment_info ORDER BY number"
        )
        return {row["number"]: Segment(**row) for row in rows}

    async def head(self) -> tuple[GivenOut, str | None, str | None, str | None]:
        """Return the highest numbers given out, the identity, and account and market of the latest purchase."""
        given_out = GivenOut(**await identity_store.given_out(self._db))
        identity = await identity_store.read(self._db)
        bought = await self._db.fetch_one("SELECT account, market FROM order_info ORDER BY order_id DESC LIMIT 1")
        return (
            given_out,
            identity["identity"] if identity else None,
            bought["account"] if bought else None,
            bought["market"] if bought else None,
        )

    async def has_acts(self, since: int) -> bool:
        """Tell whether the custody log has a line from that position on that is not about a catalogue."""
        found = await self._db.fetch_value(
            "SELECT 1 FROM custody_info WHERE position >= %s AND (zip_id IS NULL"
            " OR zip_id NOT IN (SELECT zip_id FROM zip_ipfs_info WHERE folder_id = 0)) LIMIT 1",
            (since,),
        )
        return found is not None

    async def note_newer(self, cid: str, archives: int, given_out: GivenOut) -> None:
        """Note a catalogue that nobody has recovered from: there was more than this database knows, holds among it.

        `given_out` is what it says of numbers: what others have by now is not given out here.
        """
        await go_on_behind(self._db, given_out.model_dump())

        async def work(tx: Transaction) -> None:
            if await left_out.note_catalogue(tx, cid, archives):
                await identity_store.doubt(tx)

        await self._db.transact(work)

    async def note_pin(self, cid: str) -> None:
        """Note that our node is about to pin a catalogue."""
        await self._db.execute("INSERT IGNORE INTO catalogue_pin_info (cid) VALUES (%s)", (cid,))

    async def pinned(self) -> list[str]:
        """Return the catalogues that our node pins, or was about to."""
        return [row["cid"] for row in await self._db.fetch_all("SELECT cid FROM catalogue_pin_info")]

    async def superseded(self) -> list[str]:
        """Return the catalogues that our node pins, or may pin, though they are neither the newest nor ordered."""
        rows = await self._db.fetch_all(
            "SELECT cid FROM catalogue_pin_info"
            " WHERE cid NOT IN (SELECT COALESCE(cid, '') FROM catalogue_info WHERE one = 1)"
            " AND cid NOT IN (SELECT COALESCE(cid, '') FROM zip_ipfs_info WHERE folder_id = 0) LIMIT %s",
            (_AT_ONCE,),
        )
        return [row["cid"] for row in rows]

    async def forget_pin(self, cid: str) -> None:
        """Note that our node no longer pins a catalogue."""
        await self._db.execute("DELETE FROM catalogue_pin_info WHERE cid = %s", (cid,))

    @transacted
    async def hold(self, tx: Transaction, lease: Lease) -> None:
        """Make sure that the lease is ours."""
        await leases.hold(tx, lease)

    @transacted
    async def write(
        self,
        tx: Transaction,
        lease: Lease,
        new: New | None,
        segments: Sequence[Segment],
        gone: Sequence[int],
        parts: Sequence[Part] = (),
    ) -> None:
        """Write down what was published: a new catalogue, or the last one again; the lease goes on.

        `segments` are those that were compared with their rows, `gone` those that have no archives any more, `parts`
        what was published of the custody log and won't change.
        """
        await leases.hold(tx, lease)
        await log_store.write(tx, parts)
        for one in segments:
            await tx.execute(
                "REPLACE INTO catalogue_segment_info (number, archives, digest, master_key, cid, size)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (one.number, one.archives, one.digest, one.master_key, one.cid, one.size),
            )
        for number in gone:
            await tx.execute("DELETE FROM catalogue_segment_info WHERE number = %s", (number,))
        if new is not None:
            made = new.made.replace(tzinfo=None)
            await tx.execute(
                "UPDATE catalogue_info SET cid = %s, dag_size = %s, node = %s, custody = %s,"
                " custody_accepted = custody_accepted AND NOT %s, archives = %s, master_key = %s, name = %s,"
                " made_at = %s, named_at = IF(name IS NULL, NULL, UTC_TIMESTAMP(6)) WHERE one = 1",
                (
                    new.cid, new.dag_size, new.node, new.custody, new.accepted, new.archives, new.master_key, new.name,
                    made,
                ),
            )  # fmt: skip

    async def note_named(self, name: str) -> None:
        """Note that the newest catalogue was published under its name, once more or at last."""
        await self._db.execute(
            "UPDATE catalogue_info SET name = %s, named_at = UTC_TIMESTAMP(6) WHERE one = 1", (name,)
        )

    async def note_catalogued(self, fresh: Mapping[int, str]) -> None:
        """Note of archives what the catalogue says of them now; who changed since they were read is stale all the same.

        Some of what it says is not in the row, so that the mark stays: whoever changes that takes `catalogued` back,
        and it is no longer as the reader left it (`record_store.records`).
        """
        items = sorted(fresh.items())
        for begin in range(0, len(items), _AT_ONCE):
            some = items[begin : begin + _AT_ONCE]
            cases = " ".join(["WHEN %s THEN %s"] * len(some))
            await self._db.execute(
                f"UPDATE zip_ipfs_info SET catalogued = CASE zip_id {cases} END, update_time = update_time"  # noqa: S608
                f" WHERE zip_id IN ({marks(some)}) AND catalogued = ''",
                (*(value for item in some for value in item), *(zip_id for zip_id, _ in some)),
            )

    @transacted
    async def close(self, tx: Transaction, lease: Lease, outcome: Outcome, complete: datetime | None) -> None:
        """Close the lease; all changes up to the time `complete` are published, if there is one."""
        await leases.close(tx, lease, outcome)
        if complete is not None:
            await tx.execute(
                "UPDATE catalogue_info SET complete_at = %s WHERE one = 1", (complete.replace(tzinfo=None),)
            )

    @transacted
    async def order(self, tx: Transaction, lease: Lease, master_key: str, every: float) -> int | None:
        """As `order_store.order`."""
        return await order_store.order(tx, lease, master_key, every)
