"""Checks the books from outside, with code that shares nothing with the services: SQL, HTTP, openssl's cipher.

Every check returns what it found wrong, in words; nothing found is an empty list.
"""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from chaos.arena import STAGES, STREAMS, Arena
from chaos.load import Load
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from roadvault_stack.ports import HOST

Row = dict[str, Any]
_SHA256_LENGTH = 64
KEYS = {"folder_info": "folder_id", "zip_ipfs_info": "zip_id", "download_info": "download_id"}


class Books:
    """The rows as they stand now, and what the clients were told."""

    def __init__(self, arena: Arena, load: Load) -> None:
        self._arena = arena
        self._load = load
        self._vault = arena.layout.vault
        self.files: dict[int, Row] = {row["file_id"]: row for row in arena.sql("SELECT * FROM file_upload_info")}
        self.folders = arena.sql("SELECT * FROM folder_info")
        self.archives: dict[int, Row] = {row["zip_id"]: row for row in arena.sql("SELECT * FROM zip_ipfs_info")}
        self.orders = arena.sql("SELECT * FROM order_info")
        self.requests: dict[str, Row] = {row["cb_url"]: row for row in arena.sql("SELECT * FROM download_info")}
        self._unwrap = MultiFernet([Fernet(key) for key in self._secret("MASTER_KEYS").split(",")])

    def _secret(self, name: str) -> str:
        packer = next(program for program in self._arena.plan.programs() if program.name == "packer")
        return packer.environment[f"ROADVAULT_{name}"]

    # --- what every acknowledged upload is owed ------------------------------------------------------------------

    def uploads(self) -> list[str]:
        """Every acknowledged upload has its row, and what is on the disk for it is it."""
        wrong = [f"file {file_id} was given out twice" for file_id in self._load.doubled]
        for file in self._load.files.values():
            row = self.files.get(file.file_id)
            if row is None:
                wrong.append(f"file {file.file_id} was acknowledged and has no row")
            elif (row["size"], row["sha256"]) != (file.size, file.sha256):
                wrong.append(f"file {file.file_id}: its row does not say what was sent")
        for row in self.files.values():
            if row["path"] is not None:
                wrong += self._compare(row, _read(self._vault / row["path"]), "the upload")
            elif row["zip_id"] is None:
                wrong.append(f"file {row['file_id']} has neither an upload nor an archive")
        return wrong

    def contents(self) -> list[str]:
        """Every file of every archive can be read from the local archive, if kept, and from the network."""
        wrong: list[str] = []
        for zip_id, archive in self.archives.items():
            members = [row for row in self.files.values() if row["zip_id"] == zip_id]
            if len(members) != archive["files"]:
                wrong.append(f"archive {zip_id} says {archive['files']} files, {len(members)} name it")
            copies = {"the local archive": _read(self._vault / archive["path"])} if archive["path"] else {}
            copies["the network"] = _from_network(self._arena, archive["cid"])
            for name, encrypted in copies.items():
                if encrypted is None or len(encrypted) != archive["size"]:
                    wrong.append(f"archive {zip_id}: {name} does not give its {archive['size']} bytes")
                    continue
                plain = self._decrypt(archive, encrypted)
                for row in members:
                    piece = plain[row["zip_offset"] : row["zip_offset"] + row["size"]]
                    wrong += self._compare(row, piece, f"{name} {zip_id}")
        return wrong

    def _compare(self, row: Row, content: bytes | None, where: str) -> list[str]:
        if content is None:
            return [f"file {row['file_id']}: {where} is missing"]
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            return [f"file {row['file_id']}: {where} has other bytes"]
        return []

    def _decrypt(self, archive: Row, encrypted: bytes) -> bytes:
        key = self._unwrap.decrypt(archive["key"].encode())
        return Cipher(algorithms.AES256(key), modes.CTR(bytes.fromhex(archive["iv"]))).decryptor().update(encrypted)

    # --- one of each ---------------------------------------------------------------------------------------------

    def archives_and_orders(self) -> list[str]:
        """Every closed folder has one archive, every archive one CID and as many orders as it needed, all paid once."""
        wrong = []
        by_folder = Counter(archive["folder_id"] for archive in self.archives.values())
        for folder in self.folders:
            found = by_folder[folder["folder_id"]]
            if found != 1 or folder["status"] != 2 or folder["zip_id"] is None:
                wrong.append(f"folder {folder['folder_id']}: status {folder['status']}, {found} archives")
        bought = Counter(order["zip_id"] for order in self.orders if order["status"] == 1)
        for zip_id, archive in self.archives.items():
            if archive["cid"] is None:
                wrong.append(f"archive {zip_id} has no CID: {archive['pin_reason']}")
            elif bought[zip_id] != archive["terms_wanted"]:
                wrong.append(f"archive {zip_id} was bought {bought[zip_id]} times: {archive['order_reason']}")
        cids = Counter(archive["cid"] for archive in self.archives.values())
        wrong += [f"CID {cid} stands for {count} archives" for cid, count in cids.items() if count > 1]
        return wrong

    def payments(self) -> list[str]:
        """The network was paid as often as there was a need, and knows every archive."""
        state = _json(f"http://{HOST}:{self._arena.settings.devnet_port}/control")
        needs = sum(archive["terms_wanted"] for archive in self.archives.values())
        paid = int(state["market"]["OrdersCount"])
        wrong = [] if paid == needs else [f"{paid} orders were paid for {needs} needs"]
        known = {file["cid"] for file in state["files"]}
        wanted = {archive["cid"] for archive in self.archives.values()}
        return wrong + [f"the network does not know {cid}" for cid in sorted(map(str, wanted - known))]

    # --- nothing stuck -------------------------------------------------------------------------------------------

    def states(self) -> list[str]:
        """No row is in a state that no sweep looks at, and none is leased."""
        wrong = []
        for stage, table in STAGES.items():
            key = KEYS[table]
            leased = self._arena.sql(f"SELECT * FROM {table} WHERE {stage}_token IS NOT NULL")  # noqa: S608 - constants
            wrong += [f"{stage} {row[key]} is leased" for row in leased]
        wrong += [
            f"folder {folder['folder_id']} is closed and nobody will pack it"
            for folder in self.folders
            if folder["status"] == 1 and folder["pack_due"] is None
        ]
        for zip_id, archive in self.archives.items():
            wrong += [f"archive {zip_id}: {why}" for why in _stuck_archive(archive)]
        for request in self.requests.values():
            wrong += [f"request {request['download_id']}: {why}" for why in _stuck_request(request)]
        return wrong

    def disk(self) -> list[str]:
        """No file is on the disk that no row knows, and none is missing that a row names."""
        named = {row["path"] for row in [*self.files.values(), *self.archives.values(), *self.requests.values()]}
        named.discard(None)
        found = {
            str(Path(folder, name).relative_to(self._vault))
            for directory in ("received", "archives", "downloads")
            for folder, _, names in os.walk(self._vault / directory)
            for name in names
        }
        wrong = [f"{path} is on the disk and in no row" for path in sorted(found - named)]
        return wrong + [f"{path} is in a row and not on the disk" for path in sorted(named - found)]

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

    def callbacks(self) -> list[str]:
        """Each accepted request was called back with a link that works, or stands as failed with a reason."""
        wrong = []
        for request in self._load.requests:
            row = self.requests.get(request.url)
            if row is None:
                wrong.append(f"the request {request.url} was accepted and has no row")
                continue
            path = "/" + request.url.rpartition("/")[2]
            calls, gave = self._load.receiver.taken.get(path, []), self._load.followed.get(path, [])
            failed = row["status"] == 3 and (row["fetch_reason"] or row["callback_reason"])
            if not calls and not failed:
                wrong.append(f"request {row['download_id']}: never called back, and not failed")
            if any(file_id != request.file.file_id for file_id, _ in calls):
                wrong.append(f"request {row['download_id']}: the callback was for another file")
            if calls and request.file.sha256 not in gave:
                wrong.append(f"request {row['download_id']}: the links gave {gave}")
            if any(len(one) == _SHA256_LENGTH and one != request.file.sha256 for one in gave):
                wrong.append(f"request {row['download_id']}: a link gave other bytes")
        return wrong


def _stuck_archive(archive: Row) -> list[str]:
    def waits(stage: str) -> bool:
        return archive[f"{stage}_due"] is not None or archive[f"{stage}_failed_at"] is not None

    stuck = []
    if archive["cid"] is None and not waits("pin"):
        stuck.append("no CID, and nobody will pin it")
    if archive["cid"] is not None and not waits("order"):
        stuck.append("nobody watches its order")
    if archive["enough_at"] is not None and archive["replicated_at"] is None and not waits("prove"):
        stuck.append("enough replicas, and nobody will prove them")
    if archive["replicated_at"] is not None and archive["path"] is not None and not waits("drop"):
        stuck.append("replicated, and nobody will drop it")
    return stuck


def _stuck_request(request: Row) -> list[str]:
    needs = {0: "fetch", 1: "callback", 2: "expire"}.get(request["status"])
    if needs is not None and request[f"{needs}_due"] is None:
        return [f"status {request['status']}, and nobody will {needs} it"]
    if request["status"] == 3 and request["path"] is not None and request["expire_due"] is None:
        return ["failed, and nobody will remove its extraction"]
    return []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _from_network(arena: Arena, cid: str | None) -> bytes | None:
    if cid is None:
        return None
    url = f"http://{HOST}:{arena.settings.network_ipfs_gateway_port}/ipfs/{cid}"
    try:
        with urlopen(HttpRequest(url, headers={"Cache-Control": "only-if-cached"}), timeout=30) as response:
            content: bytes = response.read()
            return content
    except OSError:
        return None


def _json(url: str) -> Row:
    with urlopen(url, timeout=20) as response:  # noqa: S310 - our own devnet
        body: Row = json.loads(response.read())
        return body
