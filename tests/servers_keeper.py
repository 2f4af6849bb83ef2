"""A system whose archives have an end, and its operator's hands: for tests of retention."""

from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from servers_operator import Console

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Done, Outcome
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_stack.kubo import Kubo


@dataclass
class Keeper:
    """A system whose archives have an end, and its operator's hands."""

    console: Console
    places: list[Path]
    keys: MasterKeys
    kubo: Kubo

    async def archive(self) -> int:
        """Pack an archive and put it on IPFS."""
        zip_id = await self.console.archive()
        assert await self.console.pinner.pinning.work(zip_id) == Done()
        return zip_id

    async def row(self, zip_id: int) -> Row:
        row = await self.console.db.fetch_one(
            "SELECT * FROM zip_ipfs_info JOIN retention_info USING (zip_id) JOIN label_info USING (zip_id)"
            " WHERE zip_id = %s",
            (zip_id,),
        )
        assert row is not None
        return row

    async def end(self, zip_id: int) -> Outcome | None:
        """Let its time be over, and the pinner come by."""
        await self.console.db.execute(
            "UPDATE retention_info SET ends_at = UTC_TIMESTAMP(6), shred_due = UTC_TIMESTAMP(6) WHERE zip_id = %s",
            (zip_id,),
        )
        return await self.console.pinner.shredding.work(zip_id)

    async def months_pass(self) -> None:
        await self.console.db.execute("UPDATE period_key_info SET period = '2020-01'")

    def keyring(self, place: int = 0) -> str:
        return self.places[place].read_text()

    def files(self) -> list[str]:
        """Return what is left on the disk of uploads, archives and extractions."""
        root = self.console.vault.root
        return [
            path.name
            for directory in ("received", "archives", "downloads", "posters")
            for path in (root / directory).rglob("*")
            if path.is_file()
        ]

    async def network(self, cid: str, name: str) -> bytes:
        url = f"{self.kubo.gateway_url}/ipfs/{cid}/{name}"
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.status == 200
            return await response.read()

    async def node_has(self, cid: str) -> bool:
        url = f"{self.kubo.rpc_url}/api/v0/block/stat"
        async with aiohttp.ClientSession() as http, http.post(url, params={"arg": cid, "offline": "true"}) as response:
            return response.status == 200


@pytest.fixture
async def keeper(console: Console, kubo: Kubo, tmp_path: Path) -> Keeper:
    places = [tmp_path / name / "roadvault.keyring" for name in ("disk", "mount")]
    for place in places:
        place.parent.mkdir()
    settings = {**console.settings, "retention_days": 400, "keyring_paths": ",".join(map(str, places))}
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    packer = Packer(PackerSettings.model_validate(settings), console.db, console.bus, console.vault, keys)
    return Keeper(replace(console, packer=packer), places, keys, kubo)
