"""What a failure means for a row besides its stage's columns, and how a person gives it a new start or gives it up.

The stages' workers, the back-office and the command line all go through here.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable

from roadvault_common.errors import PermanentError
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.sql.folders import Closed
from roadvault_common.sql.mirror import fail_request
from roadvault_common.sql.states import ArchiveStatus, FileStatus, FolderStatus, RequestStatus
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Failed
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import CALLBACK, FETCH, ORDER, PACK, Stage

_SECONDS = 60
"""The lease under which a row is given up."""
_AT_ONCE = 1000
"""Failed rows that are read at a time."""


async def _fail_folder(tx: Transaction, folder_id: int) -> None:
    await tx.execute(
        f"UPDATE folder_info SET status = {FolderStatus.FAILED} WHERE folder_id = %s",  # noqa: S608 - our own numbers
        (folder_id,),
    )


async def _fail_order(tx: Transaction, zip_id: int) -> None:
    # What is live stays live.
    await tx.execute(
        f"UPDATE zip_ipfs_info SET status = {ArchiveStatus.ORDER_FAILED}"  # noqa: S608 - our own numbers
        f" WHERE zip_id = %s AND status NOT IN ({ArchiveStatus.LIVE}, {ArchiveStatus.ENDED})",
        (zip_id,),
    )


_ON_FAILED: dict[str, Callable[[Transaction, int], Awaitable[None]]] = {
    PACK.name: _fail_folder,
    ORDER.name: _fail_order,
    FETCH.name: fail_request,
    CALLBACK.name: fail_request,
}
_STATUS_AFTER_RETRY = {
    PACK.name: f"UPDATE folder_info SET status = {FolderStatus.CLOSED} WHERE folder_id = %s"  # noqa: S608 - our own numbers
    f" AND status = {FolderStatus.FAILED}",
    ORDER.name: f"UPDATE zip_ipfs_info SET status = {ArchiveStatus.NOT_ORDERED} WHERE zip_id = %s"  # noqa: S608 - our own numbers
    f" AND status = {ArchiveStatus.ORDER_FAILED}",
    FETCH.name: f"UPDATE download_info SET status = {RequestStatus.REQUESTED} WHERE download_id = %s"  # noqa: S608 - our own numbers
    f" AND status = {RequestStatus.FAILED}",
    CALLBACK.name: f"UPDATE download_info SET status = {RequestStatus.EXTRACTED} WHERE download_id = %s"  # noqa: S608 - our own numbers
    f" AND status = {RequestStatus.FAILED}",
}
"""What the status says again once a failed stage was given a new start."""


async def note_failed(tx: Transaction, stage: Stage, row_id: int) -> None:
    """Write what else it means that a stage has failed on a row, in the transaction that says so."""
    if stage.name in _ON_FAILED:
        await _ON_FAILED[stage.name](tx, row_id)


async def retry(db: Database, stage: Stage, row_id: int) -> bool:
    """Give a failed row a new start; False if it has not failed."""

    async def write(tx: Transaction) -> bool:
        revived = await leases.revive(tx, stage, row_id)
        if revived and stage.name in _STATUS_AFTER_RETRY:
            await tx.execute(_STATUS_AFTER_RETRY[stage.name], (row_id,))
        return revived

    return await db.transact(write)


async def failed_so_far(db: Database, stage: Stage) -> AsyncGenerator[Row, None]:
    """Yield `id` and `reason` of rows that have failed by now, the longest ago first, for who retries each of them.

    A row that is retried and fails once more meanwhile does not come again, so that this ends.
    """
    now = await db.fetch_value("SELECT UTC_TIMESTAMP(6)")
    since, last = None, 0
    while True:
        found = await backlog.failed_between(db, stage, (since, last), now, _AT_ONCE)
        for one in found:
            yield one
        if len(found) < _AT_ONCE:
            return
        since, last = found[-1]["failed_at"], found[-1]["id"]


async def pin_again(db: Database, zip_id: int) -> bool:
    """Have an archive added to IPFS once more, after the node lost it; False if it has no CID or no local copy.

    The same bytes give the same CID, and what was bought for it stays bought.
    """
    changed = await db.execute(
        "UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6)"
        " WHERE zip_id = %s AND cid IS NOT NULL AND path IS NOT NULL AND pin_due IS NULL AND pin_failed_at IS NULL",
        (zip_id,),
    )
    return changed == 1


async def kept_archives(db: Database) -> list[int]:
    """Return the ids of the archives that are on IPFS and have a local copy."""
    rows = await db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE path IS NOT NULL AND cid IS NOT NULL")
    return [row["zip_id"] for row in rows]


async def uploads_to_pack(tx: Transaction, zip_id: int) -> list[Row]:
    """Return the uploads that can be packed once more, instead of an archive that never came to IPFS; none set aside.

    Each has `folder_id`, `file_id`, `path`, `size` and `sha256`. Until the transaction ends nobody can pin the archive.

    Raises:
        PermanentError: It is on IPFS, or worked on, or uploads are gone.
    """
    archive = await tx.fetch_one(
        "SELECT folder_id, cid, pin_token IS NOT NULL AND pin_due > UTC_TIMESTAMP(6) AS at_work"
        " FROM zip_ipfs_info WHERE zip_id = %s FOR UPDATE",
        (zip_id,),
    )
    if archive is None:
        raise PermanentError(f"there is no archive {zip_id}")
    if archive["cid"] is not None:
        raise PermanentError(f"archive {zip_id} is on IPFS: what is there is whole; nothing was changed")
    if archive["at_work"]:
        raise PermanentError(f"archive {zip_id} is worked on right now; nothing was changed")
    held = await tx.fetch_one(
        "SELECT hold_id FROM hold_info WHERE zip_id = %s AND active = 1 AND file_id IS NULL LIMIT 1", (zip_id,)
    )
    if held is not None:
        raise PermanentError(f"archive {zip_id} is on hold ({held['hold_id']}); nothing was changed")
    uploads = await tx.fetch_all(
        "SELECT folder_id, store, file_id, path, size, sha256 FROM file_upload_info JOIN folder_info USING (folder_id)"
        " WHERE folder_id = %s AND NOT EXISTS"
        " (SELECT 1 FROM set_aside_info WHERE file_id = file_upload_info.file_id) ORDER BY file_id",
        (archive["folder_id"],),
    )
    if not uploads or any(upload["path"] is None for upload in uploads):
        raise PermanentError(f"not all uploads of archive {zip_id} are kept any more; nothing was changed")
    return uploads


async def pack_again(db: Database, zip_id: int) -> Closed:
    """Give up an archive that never came to IPFS; return its folder, which is due for the packer again.

    Its row goes, and with it its key: the caller has seen that the uploads are whole.

    Raises:
        PermanentError: As for `uploads_to_pack`; nothing was changed.
    """

    async def write(tx: Transaction) -> Closed:
        last = (await uploads_to_pack(tx, zip_id))[-1]
        await tx.execute("DELETE FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
        await tx.execute("DELETE FROM label_info WHERE zip_id = %s", (zip_id,))
        await tx.execute("DELETE FROM retention_info WHERE zip_id = %s", (zip_id,))
        await tx.execute("UPDATE hold_info SET zip_id = NULL WHERE zip_id = %s", (zip_id,))  # until it is packed
        await tx.execute(
            "UPDATE file_upload_info SET zip_id = NULL, zip_offset = NULL,"  # noqa: S608 - our own numbers
            f" status = IF(status = {FileStatus.PACKED}, {FileStatus.NOT_PACKED}, status)"
            " WHERE zip_id = %s",
            (zip_id,),
        )
        await tx.execute(
            f"UPDATE folder_info SET status = {FolderStatus.CLOSED}, zip_id = NULL WHERE folder_id = %s",  # noqa: S608 - our own numbers
            (last["folder_id"],),
        )
        again = {"folder": last["folder_id"], "reason": "never on IPFS; its files are packed again"}
        await record(tx, Line(Act.GIVEN_UP, again, zip_id=zip_id))
        if not await leases.revive(tx, PACK, last["folder_id"]):  # a person asks for it, though it may have failed
            await leases.make_due(tx, PACK, last["folder_id"])
        return Closed(last["folder_id"], last["file_id"], last["store"])

    return await db.transact(write)


async def give_up(db: Database, stage: Stage, row_id: int, reason: str) -> bool:
    """Take a row that waits out of its stage, as failed for `reason`; False if it does not wait, or is worked on."""
    # A row whose worker died keeps its token and is not hastened, but it is due once its lease has run out.
    await db.transact(lambda tx: leases.hasten(tx, stage, row_id))
    lease = await leases.claim(db, stage, row_id, _SECONDS)
    if lease is None:
        return False
    taken = lease

    async def write(tx: Transaction) -> None:
        await leases.close(tx, taken, Failed(Reason("by_a_person", reason)))
        await note_failed(tx, stage, row_id)

    await db.transact(write)
    return True
