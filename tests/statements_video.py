"""The calls of what looks at videos and shows their pictures; they belong to `statements_work.py`."""

import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from filled import HANDFUL, Filled
from statements import Statement, group

from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.videos import pictures
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.stages import LOOK
from roadvault_retriever.looking.store import Kept, LookStore
from roadvault_video.looking import Found, Look


def videos(filled: Filled) -> list[Statement]:
    """Return the calls."""
    return group(
        "videos", found=_enrol, looked=partial(_look, filled), shown=partial(_show, filled), unseen=_forget_unseen
    )


async def _claim(db: Database, file_id: int) -> Lease:
    lease = await leases.claim(db, LOOK, file_id, 600)
    assert lease is not None
    return lease


async def _enrol(db: Database) -> None:
    await db.execute(
        "UPDATE file_upload_info SET create_time = '2020-01-01'"
        " WHERE file_id > (SELECT enrolled FROM picture_info WHERE one = 1)"
    )
    assert await LookStore(db).enrol(60) > HANDFUL


async def _look(filled: Filled, db: Database) -> None:
    store, file_id = LookStore(db), filled.due(LOOK)[5]
    found = Look(Found(container="mov"), recorded_at=datetime(2026, 5, 1, tzinfo=UTC), recorded_by="gps")
    assert await store.close_looked(await _claim(db, file_id), found, Kept("posters/a", [1, 2], [0.1, 5])) is None
    await db.transact(lambda tx: leases.make_due(tx, LOOK, file_id))
    assert await store.close_looked(await _claim(db, file_id), found, None) == "posters/a"
    ended = await db.fetch_value(
        "SELECT MAX(file_id) FROM file_upload_info JOIN retention_info USING (zip_id)"
        " WHERE zip_id = 2 AND shredded_at IS NOT NULL"
    )
    await db.transact(lambda tx: leases.make_due(tx, LOOK, ended))
    assert await store.close_looked(await _claim(db, ended), found, Kept("posters/b", [1], [0])) == "posters/b"
    await store.close_unlooked(await _claim(db, filled.due(LOOK)[6]), "x")


async def _show(filled: Filled, db: Database) -> None:
    with tempfile.TemporaryDirectory() as root:
        vault = Vault(Path(root))
        (vault.root / "posters").mkdir()
        (vault.root / "posters/1").write_bytes(b"\xff\xd8\xff".ljust(27_000))
        assert await pictures.picture(db, vault, 1, 0) is not None
        assert await pictures.picture(db, vault, 5, 0) is None
        await pictures.look_for(db, 1)
    assert await leases.claim(db, LOOK, 5, 600) is not None
    del filled


async def _forget_unseen(db: Database) -> None:
    assert len(await LookStore(db).forget_unseen(60_000)) == 3
