"""Rows that say what is not so: what the books have to say of each."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.arena import Arena
from chaos.contents import Row
from chaos.load import Load
from chaos.spoiling import NOW, NOWHERE, Case, Spoil, changed


def rows(arena: Arena, load: Load) -> list[Case]:
    files = arena.sql("SELECT * FROM file_upload_info ORDER BY file_id")
    known = next(file for file in files if file["file_id"] in load.files)
    # One file of each archive, so that the spoils of one check hit different archives; of the first our rows have the
    # order, which they need not where it was lost with them.
    ordered = {row["zip_id"] for row in arena.sql("SELECT zip_id FROM order_info WHERE status = 1")}
    one_each = {file["zip_id"]: file for file in files}
    a, b, c, d, e, f, g, *_ = sorted(one_each.values(), key=lambda file: file["zip_id"] not in ordered)
    # With an extraction that no other request shares.
    r, s, t, *_ = arena.sql(
        "SELECT MIN(download_id) AS download_id FROM download_info WHERE path IS NOT NULL GROUP BY path"
        " HAVING COUNT(*) = 1 AND MIN(status) = 2 LIMIT 3"
    )

    def file(row: Row, **values: object) -> Spoil:
        return partial(changed, arena, "file_upload_info", "file_id", row["file_id"], **values)

    def folder(row: Row, **values: object) -> Spoil:
        return partial(changed, arena, "folder_info", "folder_id", row["folder_id"], **values)

    def archive(row: Row, **values: object) -> Spoil:
        return partial(changed, arena, "zip_ipfs_info", "zip_id", row["zip_id"], **values)

    def label(row: Row, **values: object) -> Spoil:
        return partial(changed, arena, "label_info", "zip_id", row["zip_id"], **values)

    def request(row: Row, **values: object) -> Spoil:
        return partial(changed, arena, "download_info", "download_id", row["download_id"], **values)

    def evidence(row: Row, **values: object) -> Spoil:
        valid = "SELECT evidence_id FROM evidence_info WHERE zip_id = %s AND valid = 1"
        (found,) = arena.sql(valid, (row["zip_id"],))
        return partial(changed, arena, "evidence_info", "evidence_id", found["evidence_id"], **values)

    other_cid = arena.sql("SELECT cid FROM zip_ipfs_info WHERE zip_id = %s", (f["zip_id"],))[0]["cid"]
    bought = partial(changed, arena, "order_info", "zip_id", a["zip_id"], status=3)
    (row,) = arena.sql("SELECT CONCAT(day, payer) AS which FROM renewal_info LIMIT 1")
    counted = partial(changed, arena, "renewal_info", "CONCAT(day, payer)", row["which"], archives=1 << 40)
    return [
        Case("uploads", {
            f"file {known['file_id']}: its row does not say what was sent": file(known, sha256="0" * 64),
            f"file {g['file_id']} is in no archive": file(g, zip_id=None),
            f"file {f['file_id']}: the upload is missing": file(f, path=NOWHERE),
        }),
        Case("packing", {
            f"folder {a['folder_id']}: status 1": folder(a, status=1),
            f"folder {b['folder_id']} says 10000 files": folder(b, files=10_000),
            f"folder {c['folder_id']}: its files are not in its archive": folder(c, zip_id=None),
            f"folder {d['folder_id']}: status 2, 0 archives": archive(d, folder_id=1 << 40),
        }),
        Case("contents", {
            f"file {a['file_id']}: the network has other bytes": file(a, sha256="0" * 64),
            f"file {b['file_id']}: the network has other bytes": archive(b, iv="0" * 32),
            f"archive {c['zip_id']}: the network does not give": archive(c, size=1),
            f"archive {d['zip_id']}: the local archive does not give": archive(d, path=NOWHERE),
            f"archive {e['zip_id']} has no CID": archive(e, cid=None),
            f"archive {f['zip_id']}: the network does not give its label": label(f, label=b"another"),
            f"CID {other_cid} stands for 2 archives": archive(g, cid=other_cid),
        }),
        Case("purchases", {
            f"archive {a['zip_id']}: 1 orders in the blocks, 0 in our rows": bought,
            f"archive {b['zip_id']}: 1 orders in the blocks": archive(b, terms_wanted=2),
            f"archive {c['zip_id']}: status 3, until 1": archive(c, expired_on=1),
            f"archive {d['zip_id']}: status 4": archive(d, status=4),
            f": {1 << 40}": counted,
        }),
        Case("catalogue", {
            f"archive {a['zip_id']} is not in the catalogue": archive(a, cid="another"),
            f"archive {b['zip_id']} is in the catalogue alone": archive(b, cid=None),
        }),
        Case("states", {
            f"pack {a['folder_id']} is leased": folder(a, pack_token="0" * 32),
            f"drop {a['zip_id']} has failed": archive(a, drop_failed_at=NOW),
            f"prove {b['zip_id']} has failed": archive(b, prove_failed_at=NOW),
            f"fetch {r['download_id']} has failed": request(r, fetch_failed_at=NOW),
            f"folder {b['folder_id']} is closed and nobody will pack it": folder(b, status=1, pack_due=None),
            f"archive {c['zip_id']}: no CID, and nobody will pin it": archive(c, cid=None, pin_due=None),
            f"archive {d['zip_id']}: nobody watches its order": archive(d, watch_due=None),
            f"archive {a['zip_id']}: nobody will renew its order": archive(a, order_due=None),
            f"archive {e['zip_id']}: enough replicas, and nobody": evidence(e, proven_at=None),
            f"archive {g['zip_id']}: its local copy went, and nothing was ever proven": evidence(g, proven_at=None),
            f"archive {f['zip_id']}: replicated, and nobody": archive(f, path=NOWHERE, drop_due=None),
            f"request {r['download_id']}: status 2, and nobody will expire it": request(r, expire_due=None),
            f"request {s['download_id']}: status 0, and nobody will fetch it": request(s, status=0, fetch_due=None),
            f"request {t['download_id']}: failed, and nobody": request(t, status=3, expire_due=None),
        }),
        Case("disk", {"is in a row and not on the disk": request(r, path=NOWHERE)}),
        Case("disk", {"is on the disk and in no row": request(r, path=None)}),
        Case("disk", {"is in a row and in quarantine": partial(_named_and_set_aside, arena, r["download_id"])}),
        *_failed_requests(arena, load),
    ]  # fmt: skip


def _failed_requests(arena: Arena, load: Load) -> list[Case]:
    """A request that has failed though its receiver was in no bad mood, as far as there is one."""
    for asked in load.requests:
        met = load.receiver.met.get(asked.address, Counter())
        if set(met) == {"takes"}:
            found = "SELECT download_id FROM download_info WHERE cb_url = %s AND file_id = %s"
            row = arena.sql(found, (asked.url, asked.file.file_id))[0]
            spoil = partial(
                changed, arena, "download_info", "download_id", row["download_id"],
                status=3, callback_reason="the callback was not taken: answered 500", callback_failed_at=NOW,
            )  # fmt: skip
            return [Case("callbacks", {"its receiver is not to blame": spoil})]
    return []


@contextmanager
def _named_and_set_aside(arena: Arena, download_id: int) -> Iterator[None]:
    row = arena.sql("SELECT path FROM download_info WHERE download_id = %s", (download_id,))[0]
    directory, _, rest = row["path"].partition("/")
    path = arena.layout.vault / "quarantine" / directory / f"20260101T000000Z-{rest.replace('/', '%2F')}"
    path.write_bytes(b"set aside")
    try:
        yield
    finally:
        path.unlink()
