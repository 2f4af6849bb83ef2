"""A prover on a devnet and real Kubo nodes, and an archive that is on one of them: what tests of proofs stand on."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from evidence_rows import evidence
from pydantic import SecretStr
from servers_orderer import Desk, OpenDesk

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import OthersGateway, Way
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Outcome
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.proof.audit import Auditor
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_packer.archive import pack
from roadvault_packer.uploads import Upload
from roadvault_stack.kubo import Kubo


@dataclass
class Proofs:
    """A prover, and an archive that is on one node or the other."""

    desk: Desk
    bus: Bus
    keys: MasterKeys
    reader: Reader
    archive: Path
    zip_id: int
    way: Way = field(init=False)
    prover: Prover = field(init=False)
    auditor: Auditor = field(init=False)

    def goes(self, way: Way) -> None:
        """Have proofs and audits go this way from now on."""
        self.way = way
        self.prover = Prover(self.settings, self.desk.db, self.bus, self.keys, way, self.desk.chain)
        self.set()

    @property
    def settings(self) -> OrdererSettings:
        return self.desk.orderer.buying._settings

    def set(self, **values: float) -> None:
        """Have audits go by these settings."""
        settings = self.settings.model_copy(update=values)
        nudge = self.desk.orderer.buying.nudge
        self.auditor = Auditor(settings, self.desk.db, self.bus, self.keys, self.way, self.prover.needs, nudge)

    async def audit(self) -> Outcome | None:
        """Have it audited now."""
        await self.desk.db.execute("UPDATE zip_ipfs_info SET audit_due = UTC_TIMESTAMP(6)")
        for breaker in self.prover.needs:
            breaker.close()
        return await self.auditor.auditing.work(self.zip_id)

    async def audited(self) -> Row:
        """Return what the latest audit came to."""
        row = await self.desk.db.fetch_one("SELECT * FROM audit_info WHERE zip_id = %s", (self.zip_id,))
        assert row is not None
        return row

    async def prove(self) -> Outcome | None:
        """Have it proven now; what is away is looked for anew."""
        await self.desk.db.execute("UPDATE zip_ipfs_info SET prove_due = UTC_TIMESTAMP(6)")
        for breaker in self.prover.needs:
            breaker.close()
        return await self.prover.proving.work(self.zip_id)

    async def add_to(self, node: Kubo) -> str:
        """Have a node hold the archive, and the market count enough replicas of it; return its CID."""
        cid = await self.hold(node)
        await self.desk.db.execute("UPDATE zip_ipfs_info SET cid = %s, dag_size = 5000000", (cid,))
        await self.desk.bought(self.zip_id)
        await self.count(cid, 60)
        await self.desk.attend(self.zip_id)
        return cid

    async def hold(self, node: Kubo) -> str:
        """Have a node hold the archive; return its CID."""

        async def stream() -> AsyncIterator[bytes]:
            yield self.archive.read_bytes()

        async with Ipfs.open(node.rpc_url, 60) as ipfs:
            return await ipfs.add(stream(), None)

    async def count(self, cid: str, replicas: int) -> None:
        self.desk.devnet.turn(set_replicas={"cid": cid, "count": replicas})
        self.desk.devnet.final()

    async def row(self) -> Row:
        return await self.desk.row(self.zip_id)

    async def proven(self) -> list[bool]:
        """Tell, of each evidence that there ever was, whether it is valid and proven."""
        rows = await evidence(self.desk.db, self.zip_id)
        return [bool(row["valid"] and row["proven_at"]) for row in rows]


@pytest.fixture
async def proofs(open_desk: OpenDesk, redis_url: str, network_kubo: Kubo, tmp_path: Path) -> AsyncIterator[Proofs]:
    secret = SecretStr(Fernet.generate_key().decode())
    keys = MasterKeys(secret)
    members = []
    for number in range(1, 6):
        content = os.urandom(400_000 + number)
        (tmp_path / str(number)).write_bytes(content)
        members.append(Upload(number, "a.mp4", len(content), _sha256(content), str(number), datetime.now(UTC)))
    target = tmp_path / "archive"
    packed = pack(1, members, tmp_path, target, keys, lambda _: None)
    async with (
        open_desk(master_keys=secret) as desk,
        Bus.open(SecretStr(redis_url), "crust-orderer") as bus,
        Reader.open(network_kubo.gateway_url, 3, only_cached=True) as reader,
    ):
        async with desk.db.transaction() as tx:
            zip_id = await tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files)"
                " VALUES (1, 'a', %s, %s, %s, 5)",
                (keys.wrap(packed.key.key), packed.key.iv.hex(), target.stat().st_size),
            )
            for member in members:
                await tx.execute(
                    "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id,"
                    " zip_offset) VALUES (%s, 'a', 'mp4', %s, %s, 1, %s, %s)",
                    (member.file_id, member.size, member.sha256, zip_id, packed.offsets[member.file_id]),
                )
        proofs = Proofs(desk, bus, keys, reader, target, zip_id)
        proofs.goes(OthersGateway(reader))
        yield proofs


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def moved(node: Kubo) -> int:
    """Return how many bytes of blocks a node has sent to others so far."""
    stat = node.rpc("stats/bitswap")
    assert stat is not None
    return int(stat["DataSent"])
