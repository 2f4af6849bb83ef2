"""One store's worth of services whose disks cost nothing: what they write in the database, as fast as that takes it.

`python -m bench.shared_store URL NAME SECONDS`, in a process of its own; it prints what it did as one line of JSON.
Each archive of FILES goes its whole way, by the services' own SQL: each upload in a transaction of its own, folder,
archive, CID, order, look, proof, drop; and for each archive a file is asked for, brought back and called back.
"""

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from roadvault_common.archive.crypto import ArchiveKey
from roadvault_common.files.facts import Facts
from roadvault_common.sql.db import Database
from roadvault_common.web.callback_url import read
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import CALLBACK, DROP, EXPIRE, FETCH, ORDER, PACK, PIN, PROVE, WATCH, Stage
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.markets.market import FileInfo, Head, Signed
from roadvault_crust_orderer.proof.evidence_store import Proof, close_proven, counted
from roadvault_crust_orderer.store import OrdererStore
from roadvault_crust_orderer.watching.watching_store import Look, Seen, WatchingStore
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received
from roadvault_notifier.store import NotifierStore
from roadvault_packer.archive import Packed
from roadvault_packer.store import PackerStore, Sealed
from roadvault_pinner.store import PinnerStore
from roadvault_retriever.expiry_store import ExpiryStore
from roadvault_retriever.store import RetrieverStore, Shared

FILES = 167
"""Of 30 MB, a minute at 4 Mbit/s, in a folder of 5 GB."""
_AT_ONCE = 4
"""Archives that are on their way at the same time, each uploading one file after the other."""
_FILE_BYTES = 30_000_000
_LEASE_SECONDS = 600.0
_MARKET = "bench"


@dataclass
class Store:
    """The SQL of all services of a store."""

    db: Database
    name: str
    did: Counter[str] = field(default_factory=Counter)
    took: dict[str, list[float]] = field(default_factory=dict)

    async def do(self, what: str, work: Callable[[], Awaitable[object]]) -> object:
        """Do one thing, and note how long it took."""
        began = time.perf_counter()
        result = await work()
        self.took.setdefault(what, []).append(time.perf_counter() - began)
        self.did[what] += 1
        return result

    async def claim(self, stage: Stage, row_id: int) -> Lease:
        """Take a row."""
        lease = await leases.claim(self.db, stage, row_id, _LEASE_SECONDS, self.name)
        if lease is None:
            raise RuntimeError(f"{stage.name} {row_id} is not due")
        return lease

    async def archive(self, slot: str) -> None:
        """Bring one folder of uploads all the way."""
        ingest, limits = IngestStore(self.db, self.name), Limits(FILES, 1 << 50, 86_400)
        folder, files = 0, list[int]()
        for number in range(FILES):
            path = f"received/00/{secrets.token_hex(16)}"
            facts = Facts(camera=f"gate-{number % 100}")
            received = Received("gate.mp4", path, _FILE_BYTES, "0" * 64, "192.0.2.1", facts)

            async def upload(received: Received = received) -> None:
                (placed,) = await ingest.add_files(slot, [received], limits)
                files.append(placed.file_id)

            await self.do("uploads", upload)
            folder = folder or await self.db.fetch_value(
                "SELECT folder_id FROM file_upload_info WHERE file_id = %s", (files[0],)
            )
        zip_id = await self._pack(folder)
        await self._buy(zip_id)
        await self._drop(zip_id)
        await self._bring_back(files[FILES // 2])

    async def _pack(self, folder: int) -> int:
        packer, pinner = PackerStore(self.db, self.name), PinnerStore(self.db, self.name)
        lease = await self.claim(PACK, folder)
        offsets = {one.file_id: 32 + one.file_id for one in await packer.uploads(folder)}
        packed = Packed(FILES * _FILE_BYTES, offsets, ArchiveKey.new(), b"l" * 400)
        sealed = Sealed(f"archives/{secrets.token_hex(8)}", "x.7z.enc", "k" * 180, "m" * 16, packed)
        zip_id = await self.do("folders", lambda: packer.seal(lease, sealed))
        assert isinstance(zip_id, int)
        pinning = await self.claim(PIN, zip_id)
        cid = f"bafy{secrets.token_hex(26)}"
        await self.do(
            "archives",
            lambda: pinner.close_pinned(pinning, cid, FILES * _FILE_BYTES, b"n" * 150, inspect_in=1e7),
        )
        return zip_id

    async def _buy(self, zip_id: int) -> None:
        orderer, purchases = OrdererStore(self.db), PurchaseStore(self.db)
        lease = await self.claim(ORDER, zip_id)
        archive = await orderer.archive(zip_id, _MARKET)
        account = f"{self.name}-{secrets.token_hex(8)}"  # one purchase is under way for each account
        signed = Signed(account, zip_id, 1, 65, f"0x{secrets.token_hex(32)}", "ab" * 150)
        purchase = await purchases.record(lease, archive, signed, 10**9, _MARKET, 10**8)
        assert purchase is not None
        await purchases.settle_bought(purchase, 2, "0x")
        await orderer.close_rested(lease, 1e7)
        watch = await self.claim(WATCH, zip_id)
        info, head = FileInfo(FILES * _FILE_BYTES, 1, 10**9, 60), Head(zip_id + 10, "")
        seen = Seen(info, head, counted(info, head, _MARKET, 50), 1e7)
        await WatchingStore(self.db).close([Look(watch, Done(again_after=1e6), seen, buy_in=1e7)])
        proof = await self.claim(PROVE, zip_id)
        later = counted(info, Head(zip_id + 20, ""), _MARKET, 50)
        await close_proven(self.db, proof, later, Proof("bench", 3, 3), 1e7)
        self.did["orders"] += 1

    async def _drop(self, zip_id: int) -> None:
        pinner = PinnerStore(self.db, self.name)
        await self.db.transact(lambda tx: leases.make_due(tx, DROP, zip_id))
        lease = await self.claim(DROP, zip_id)
        if not (await pinner.look_again(lease)).may_go:
            raise RuntimeError(f"archive {zip_id} may not go")
        await pinner.note_uploads_dropped(lease)
        await pinner.close_dropped(lease, archive=True)

    async def _bring_back(self, file_id: int) -> None:
        url = read("https://client.example/done")
        ingest = IngestStore(self.db, self.name)
        asked = await ingest.request_download(file_id, url, "192.0.2.1", Most(9, 1 << 30), store=self.name)
        assert asked is not None
        retriever = RetrieverStore(self.db, self.name)
        fetching = await self.claim(FETCH, asked.download_id)
        wanted = await retriever.wanted(asked.download_id)
        made = Shared(f"downloads/{asked.download_id}/{secrets.token_hex(16)}", "ipfs")
        await self.do("requests", lambda: retriever.close_extracted(fetching, wanted, made, 3600))
        notifier = NotifierStore(self.db)
        calling = await self.claim(CALLBACK, asked.download_id)
        callback = await notifier.callback(asked.download_id)
        await notifier.promise_link(calling, 3600)
        await self.do("callbacks", lambda: notifier.close_taken(calling, callback, "client.example:443"))
        await self.db.execute(
            "UPDATE download_info SET expire_due = UTC_TIMESTAMP(6) WHERE download_id = %s", (asked.download_id,)
        )
        expiring, expiry = await self.claim(EXPIRE, asked.download_id), ExpiryStore(self.db, self.name)
        await expiry.close_expired(expiring, await expiry.extraction(asked.download_id))


async def run(url: str, name: str, seconds: float) -> dict[str, object]:
    """Work for so long; return what was done, each for a second, and how long an upload's transaction took."""
    async with Database.open(SecretStr(url), size=_AT_ONCE + 1) as db:
        await db.execute("INSERT IGNORE INTO store_info (name) VALUES (%s)", (name,))
        store, until = Store(db, name), time.monotonic() + seconds

        async def lane(number: int) -> None:
            while time.monotonic() < until:
                await store.archive(f"{name}/{number}/{secrets.token_hex(4)}")

        began = time.monotonic()
        await asyncio.gather(*(lane(number) for number in range(_AT_ONCE)))
        took = time.monotonic() - began
    waits = sorted(store.took["uploads"])
    rates = {what: count / took for what, count in store.did.items()}
    return {**rates, "upload_ms": 1000 * waits[len(waits) // 2], "upload_99_ms": 1000 * waits[len(waits) * 99 // 100]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], float(sys.argv[3])))) + "\n")
