"""Whether an archive's label is still right: what it says against the rows, and the tree against the files'."""

from roadvault_common.archive import merkle
from roadvault_common.archive.crypto import ArchiveKey, MasterKeys
from roadvault_common.archive.label import Label
from roadvault_common.errors import PermanentError, brief
from roadvault_common.sql.db import Database, Row
from roadvault_operator import store


async def fault(db: Database, archive: Row, key: ArchiveKey, keys: MasterKeys) -> str | None:
    """Return what is wrong with the label of an archive that opens with `key`; None if nothing is, or it has none."""
    if archive["label"] is None:
        return None
    try:
        label = Label.parse(archive["label"])
        if archive["period_key"] is not None:
            opened = label.open(keys.unwrap_period(archive["period_key"]))
        else:
            opened = label.open(keys) if label.masterKey in keys.ids else key  # it may have been retired
    except PermanentError as error:
        return brief(error)
    files, salts = await store.files(db, archive["zip_id"]), merkle.salt_key(key.key)
    leaves = [
        merkle.leaf(merkle.salt(salts, row["file_id"]), row["sha256"], row["size"], row["file_id"], row["file_name"])
        for row in files
    ]
    said = label.size, label.files, label.iv, label.merkleRoot, opened.key
    if said != (archive["size"], len(files), key.iv.hex(), merkle.root(leaves).hex(), key.key):
        return "its label is not what its rows say"
    return None
