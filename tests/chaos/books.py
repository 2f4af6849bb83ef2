"""Checks the books from outside, with code that shares nothing with the services: SQL, HTTP, openssl's cipher.

Every check returns what it found wrong, in words; nothing found is an empty list.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from chaos import aftermath, catalogues, door_books, history, purchases, stuck
from chaos.arena import KEYS, STAGES, STREAMS, Arena
from chaos.contents import Contents, Row, compare
from chaos.load import Load, Request
from chaos.throws import Findings

_SHA256_LENGTH = 64
_MANY = 4
"""One request for so many faults has to have been called back, and be read from the network, at the least."""
CHECKS = (
    "states", "streams", "letters", "uploads", "transfers", "packing", "contents", "purchases", "catalogue", "losses",
    "callbacks", "batches", "activity", "disk",
)  # fmt: skip
"""In the order in which they are looked at; what is last may have to wait longest."""


class Books:
    """The rows as they stand now, what the clients were told, and what the faults saw."""

    def __init__(self, arena: Arena, load: Load, findings: Findings, faults: int) -> None:
        self._arena = arena
        self._load = load
        self._findings = findings
        self._faults = faults
        self._contents = Contents(arena)
        self.files: dict[int, Row] = {row["file_id"]: row for row in arena.sql("SELECT * FROM file_upload_info")}
        self.folders: dict[int, Row] = {row["folder_id"]: row for row in arena.sql("SELECT * FROM folder_info")}
        self.archives: dict[int, Row] = {
            row["zip_id"]: row for row in arena.sql("SELECT * FROM zip_ipfs_info WHERE kind = 'archive'")
        }
        self.labels: dict[int, bytes] = {row["zip_id"]: row["label"] for row in arena.sql("SELECT * FROM label_info")}
        self.set_aside = {row["file_id"] for row in arena.sql("SELECT * FROM set_aside_info")}
        self.orders = arena.sql("SELECT * FROM order_info")
        self.evidence: dict[int, Row] = {
            row["zip_id"]: row for row in arena.sql("SELECT * FROM evidence_info WHERE valid = 1")
        }
        self.proofs = Counter(
            row["zip_id"] for row in arena.sql("SELECT * FROM evidence_info WHERE proven_at IS NOT NULL")
        )
        self.requests: dict[tuple[str, int], Row] = {
            (row["cb_url"], row["file_id"]): row for row in arena.sql("SELECT * FROM download_info")
        }

    # --- what every acknowledged upload is owed ------------------------------------------------------------------

    def uploads(self) -> list[str]:
        """Every acknowledged upload has its row; every file is in an archive, and an upload still kept is it."""
        wrong = [f"file {file_id} was given out twice" for file_id in self._load.doubled]
        wrong += [f"file {file_id} was set aside: nothing here makes uploads rot" for file_id in self.set_aside]
        for file in self._load.files.values():
            row = self.files.get(file.file_id)
            if row is None:
                wrong.append(f"file {file.file_id} was acknowledged and has no row")
            elif (row["size"], row["sha256"], row["file_name"]) != (file.size, file.sha256, file.name):
                wrong.append(f"file {file.file_id}: its row does not say what was sent")
        for row in self.files.values():
            if row["zip_id"] is None or row["zip_offset"] is None:
                wrong.append(f"file {row['file_id']} is in no archive")
            if row["path"] is not None:
                wrong += compare(row, self._contents.on_disk(row["path"]), "the upload")
        return wrong

    def transfers(self) -> list[str]:
        """Every upload that went on, or was sent again, is one file, or stands where its client was told."""
        return door_books.transfers(self._arena, self.files, self._load)

    def packing(self) -> list[str]:
        """Every folder has one archive, with the files and bytes that it says, and each names the other."""
        wrong = []
        by_folder = Counter(archive["folder_id"] for archive in self.archives.values())
        for folder_id, folder in self.folders.items():
            files = [row for row in self.files.values() if row["folder_id"] == folder_id]
            if by_folder[folder_id] != 1 or folder["status"] != 2:
                wrong.append(f"folder {folder_id}: status {folder['status']}, {by_folder[folder_id]} archives")
            if (len(files), sum(row["size"] for row in files)) != (folder["files"], folder["bytes"]):
                wrong.append(f"folder {folder_id} says {folder['files']} files, {len(files)} name it")
            if any(row["zip_id"] != folder["zip_id"] for row in files):
                wrong.append(f"folder {folder_id}: its files are not in its archive {folder['zip_id']}")
        for zip_id, archive in self.archives.items():
            folder = self.folders.get(archive["folder_id"], {})
            if folder.get("zip_id") != zip_id or folder["files"] != archive["files"]:
                wrong.append(f"archive {zip_id}: its folder {archive['folder_id']} does not name it")
        return wrong

    def contents(self) -> list[str]:
        """Every file of every archive, and its label, can be read from the network, and from the disk if kept there."""
        wrong: list[str] = []
        for zip_id, archive in self.archives.items():
            members = [row for row in self.files.values() if row["zip_id"] == zip_id]
            if archive["cid"] is None:
                wrong.append(f"archive {zip_id} has no CID: {archive['pin_reason']}")
                continue
            read, on_disk = self._contents.on_network, self._contents.on_disk
            cid, path = archive["cid"], archive["path"]
            copies = {"the network": (read(f"{cid}/archive.7z.enc"), read(f"{cid}/label.json"))}
            if path:
                copies["the local archive"] = on_disk(path), on_disk(path.replace(".7z.enc", ".label.json"))
            for where, (encrypted, label) in copies.items():
                wrong += self._contents.members(archive, members, encrypted, where)
                if label is None or label != self.labels.get(zip_id):
                    wrong.append(f"archive {zip_id}: {where} does not give its label")
        cids = Counter(archive["cid"] for archive in self.archives.values())
        return wrong + [f"CID {cid} stands for {count} archives" for cid, count in cids.items() if count > 1]

    # --- one payment for each need, and a list of all ------------------------------------------------------------

    def purchases(self) -> list[str]:
        """Every archive was bought once, by the chain's own blocks, and its order is still running."""
        cids = {archive["cid"] for archive in self.archives.values()} - {None}
        chain = history.read(self._arena.settings.devnet_port, cids)
        losses = self._findings.losses
        wrong = purchases.archives(self.archives, self.orders, chain, losses)
        others = {cid for cid in chain.expires.keys() - cids if self._contents.on_network(f"{cid}/head")}
        return wrong + purchases.others(cids, others, chain, losses) + purchases.ends(self._arena)

    def catalogue(self) -> list[str]:
        """The newest catalogue has every archive by its number, also what a recovery left out; it has not failed."""
        row = self._arena.sql("SELECT cid, publish_failed_at, publish_reason FROM catalogue_info")[0]
        failed = [] if row["publish_failed_at"] is None else [f"the catalogue has failed: {row['publish_reason']}"]
        listed = row["cid"] and catalogues.read(row["cid"], self._contents.on_our_node, self._contents.master_keys[0])
        if not listed:
            return [*failed, f"the catalogue {row['cid']} can't be read"]
        numbers = {archive["cid"]: zip_id for zip_id, archive in self.archives.items()}
        numbers |= {row["cid"]: row["zip_id"] for row in self._arena.sql("SELECT cid, zip_id FROM left_out_info")}
        known, missing = listed.numbers.items(), numbers.items() - listed.numbers.items()
        failed += [f"archive {zip_id} is not in the catalogue" for _, zip_id in missing]
        return failed + [f"archive {zip_id} is in the catalogue alone" for _, zip_id in known - numbers.items()]

    def losses(self) -> list[str]:
        """What was lost came back under its old numbers, and no more than that."""
        asked = {url for url, _ in self.requests}
        wrong = aftermath.wrong(self.files, self.archives, asked, self._load, self._findings.losses)
        return wrong + door_books.remembered(self._arena, self._findings.losses)

    # --- nothing stuck -------------------------------------------------------------------------------------------

    def states(self) -> list[str]:
        """No row is leased, none has failed in a stage that nothing injected can make fail, none is forgotten."""
        wrong = failed(self._arena)
        for stage, table in STAGES.items():
            key = KEYS[table]
            leased = self._arena.sql(f"SELECT * FROM {table} WHERE {stage}_token IS NOT NULL")  # noqa: S608 - constants
            wrong += [f"{stage} {row[key]} is leased" for row in leased]
        wrong += [
            f"folder {folder['folder_id']} is closed and nobody will pack it"
            for folder in self.folders.values()
            if folder["status"] == 1 and folder["pack_due"] is None
        ]
        for zip_id, archive in self.archives.items():
            wrong += [f"archive {zip_id}: {why}" for why in stuck.archive(archive, self.evidence.get(zip_id))]
            if archive["dropped_at"] is not None and not self.proofs[zip_id]:
                wrong.append(f"archive {zip_id}: its local copy went, and nothing was ever proven")
        for request in self.requests.values():
            wrong += [f"request {request['download_id']}: {why}" for why in stuck.request(request)]
        return wrong

    def disk(self) -> list[str]:
        """No file is on the disk that no row knows, none is missing that a row names, or is set aside."""
        vault = self._arena.layout.vault
        named = {row["path"] for row in [*self.files.values(), *self.archives.values(), *self.requests.values()]}
        named.discard(None)
        named |= {path.replace(".7z.enc", ".label.json") for path in named if path.endswith(".7z.enc")}
        unfinished = door_books.unfinished(self._arena)
        named |= {path for path, came in unfinished.items() if came}
        found = {
            str(Path(folder, name).relative_to(vault))
            for directory in ("received", "archives", "downloads")
            for folder, _, names in os.walk(vault / directory)
            for name in names
        }
        wrong = [f"{path} is on the disk and in no row" for path in sorted(found - named - set(unfinished))]
        wrong += [f"{path} is in a row and not on the disk" for path in sorted(named - found)]
        return wrong + [f"{path} is in a row and in quarantine" for path in sorted(named & _set_aside(vault))]

    def streams(self) -> list[str]:
        """No event waits to be read or acknowledged."""
        wrong = []
        with self._arena.redis() as redis:
            for stream in STREAMS:
                groups: Any = redis.xinfo_groups(stream) if redis.exists(stream) else []
                wrong += [
                    f"{stream} {group['name']}: {group['pending']} pending, {group['lag']} unread"
                    for group in groups
                    if group["pending"] or group["lag"]
                ]
        return wrong

    def letters(self) -> list[str]:
        """Every corrupt event that Redis still has (it may have lost all) is among the dead letters, too."""
        with self._arena.redis() as redis:
            entries: Any = redis.xrange("dead-letter")
            letters = [json.loads(fields[b"letter"]) for _, fields in entries]
            known = {(letter["source"], letter.get("entry")) for letter in letters}
            return [
                f"{stream} {entry}: {what} is not among the dead letters"
                for (stream, entry), what in self._findings.letters.items()
                if (stream, entry) not in known and redis.xrange(stream, entry, entry)
            ]

    # --- what the clients asked for ------------------------------------------------------------------------------

    def callbacks(self) -> list[str]:
        """Each accepted request was called back with a link that works, or has failed because of its receiver."""
        wrong = []
        for request in self._load.requests:
            row = self.requests.get((request.url, request.file.file_id))
            if row is None:
                wrong.append(f"the request {request.url} was accepted and has no row")
            else:
                wrong += [f"request {row['download_id']}: {why}" for why in self._not_called(request, row)]
        return wrong

    def _not_called(self, request: Request, row: Row) -> list[str]:
        path = request.path
        calls, gave = self._load.receiver.taken.get(path, []), self._load.followed.get(path, [])
        wrong = []
        if row["status"] == 3:
            met = self._load.receiver.met.get(request.address, Counter())
            refused = any(count for mood, count in met.items() if mood != "takes")
            if row["callback_failed_at"] is None or not row["callback_reason"] or not refused:
                why = f"{row['fetch_reason']}, {row['callback_reason']}"
                wrong.append(f"failed, and its receiver is not to blame: {why}")
        elif not calls:
            wrong.append("never called back, and not failed")
        if any(file_id != request.file.file_id for file_id, _ in calls):
            wrong.append("the callback was for another file")
        if calls and request.file.sha256 not in gave:
            wrong.append(f"the links gave {gave}")
        if any(len(one) == _SHA256_LENGTH and one != request.file.sha256 for one in gave):
            wrong.append("a link gave other bytes")
        return wrong

    def batches(self) -> list[str]:
        """Each accepted batch has ended, and its client was told so once all of its files had been called back."""
        return door_books.batches(self._arena, self._load)

    def activity(self) -> list[str]:
        """The run was one under load: not just idle processes were broken, and each ingest took uploads."""
        load, losses, few = self._load, self._findings.losses, self._faults // _MANY
        asked = [request for one in losses for request in one.requests] + load.requests
        read = sum(row["source"] == "ipfs" for row in self.requests.values()) + sum(one.from_network for one in losses)
        found = {
            "uploads": (len(load.files), self._faults),
            "archives": (len(self.archives), few),
            "requests that were called back": (sum(request.path in load.followed for request in asked), few),
            "files read from the network": (read, few),
        } | door_books.activity(load, few)
        wrong = [
            f"{count} {what}, at least {least} are expected" for what, (count, least) in found.items() if count < least
        ]
        idle = [door for door in self._load.doors[:2] if not self._load.answered[door]]
        return wrong + [f"ingest at {door} took nothing" for door in idle]


def _set_aside(vault: Path) -> set[str]:
    """Return where the files in quarantine came from: it stands in their names."""
    return {f"{path.parent.name}/{unquote(path.name.partition('-')[2])}" for path in (vault / "quarantine").glob("*/*")}


def failed(arena: Arena) -> list[str]:
    """Return the rows that have failed for good in a stage: but for callbacks nothing that is injected does that."""
    found = []
    for stage, table in STAGES.items():
        if stage not in {"callback", "report"}:
            rows = arena.sql(f"SELECT * FROM {table} WHERE {stage}_failed_at IS NOT NULL")  # noqa: S608 - constants
            found += [f"{stage} {row[KEYS[table]]} has failed: {row[f'{stage}_reason']}" for row in rows]
    return found
