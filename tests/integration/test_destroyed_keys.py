"""Period keys that were destroyed: no old keyring, sheet or dump brings one back for good."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dumps
import pytest
from pydantic import SecretStr
from servers_estate import FILES, Estate, published

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.keyring import period_keys
from roadvault_common.catalogue.records import Head
from roadvault_common.custody import chainer
from roadvault_common.ipfs.reading import Reader
from roadvault_common.retention import asking, holding
from roadvault_common.work.outcome import Done, Wait
from roadvault_operator.recover import catalogue as catalogues
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.ends.shredding import ASKS

STATES = "SELECT period_key, `key` IS NOT NULL AS lives, destroyed_at IS NOT NULL AS gone FROM period_key_info"


@dataclass
class Shredded:
    """An estate of whose archives the last was shredded, with its period key; and who kept copies of that."""

    estate: Estate
    place: Path
    old: Path
    """A copy of the keyring from before."""
    key: str
    """The key's id."""
    cid: str
    """The archive's."""
    zip_id: int
    dump: bytes
    """Of the database, from before."""
    before: str
    """The catalogue that was published before."""

    async def recover(self, *arguments: object, code: int = 0) -> str:
        ended, out, errors = await self.estate.console.run("recover", *arguments)
        assert ended == code, (out, errors)
        return out

    async def lives(self) -> bool | None:
        """Tell whether the database has the key; None: it knows nothing of it. So does the keyring."""
        console = self.estate.console
        await console.packer.periods.tend()
        rows = [row for row in await console.db.fetch_all(STATES) if row["period_key"] == self.key]
        living = bool(rows and rows[0]["lives"])
        assert ([*period_keys(self.place.read_text(), console.pinner._keys)] == [self.key]) == living
        return bool(rows[0]["lives"]) if rows else None

    async def publish(self) -> tuple[str, Head]:
        """Publish the catalogue, have the network hold it; return its CID and head."""
        console, db = self.estate.console, self.estate.console.db
        await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
        assert await console.pinner.publishing.work(1) == Done(again_after=1800)
        cid = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
        await self.estate.network.fetch_and_pin(cid, lambda: None)
        async with Reader.open(console.environment["ROADVAULT_IPFS_GATEWAY_URL"], 10) as reader:
            return cid, (await catalogues.read(reader, cid, console.pinner._keys)).head

    async def lose(self) -> None:
        await self.estate.lose(self.estate.console.environment["ROADVAULT_DATABASE_URL"])

    async def months_pass(self) -> None:
        await self.estate.console.db.execute("UPDATE period_key_info SET period = '2020-01'")

    async def end(self, *, allow: bool) -> None:
        """Let the archive end, that is over."""
        console = self.estate.console
        if allow:
            await asking.allow(console.db)
        await console.db.execute("UPDATE retention_info SET shred_due = UTC_TIMESTAMP(6) WHERE ends_at IS NOT NULL")
        (row,) = await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE cid = %s", (self.cid,))
        outcome = await console.pinner.shredding.work(row["zip_id"])
        assert outcome == Done() if allow else isinstance(outcome, Wait)


@pytest.fixture
async def shredded(estate: Estate, tmp_path: Path) -> AsyncIterator[Shredded]:
    console, db, place = estate.console, estate.console.db, tmp_path / "roadvault.keyring"
    settings = PackerSettings.model_validate({**console.settings, "retention_days": 400, "keyring_paths": str(place)})
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    console = estate.console = replace(console, packer=Packer(settings, db, console.bus, console.vault, keys))
    file = (await published(estate))[-1]
    await chainer.chain(db)
    old, (key,) = tmp_path / "old", period_keys(place.read_text(), keys)
    old.write_text(place.read_text())
    before = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    dump = await dumps.dump(console.environment["ROADVAULT_DATABASE_URL"])
    found = Shredded(estate, place, old, key, file["cid"], file["zip_id"], dump, before)
    await holding.set_end(db, found.zip_id, datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=1))
    await db.execute("UPDATE retention_info SET ends_at = UTC_TIMESTAMP(6) WHERE ends_at IS NOT NULL")
    await found.end(allow=True)
    yield found
    await found.lose()


async def test_what_was_destroyed_is_in_every_catalogue_and_no_old_keyring_brings_it_back(shredded: Shredded) -> None:
    estate, keyring = shredded.estate, ("--keyring", shredded.old)
    _, head = await shredded.publish()
    assert head.destroyed is None  # its month is not over
    await shredded.months_pass()
    assert await shredded.lives() is False
    cid, head = await shredded.publish()
    for _ in range(2):  # what came out of one catalogue goes into the next
        assert [one.period_key for one in head.destroyed or ()] == [shredded.key]
        assert (await shredded.publish())[0] == cid  # once is enough
        await shredded.lose()
        shredded.place.write_text(shredded.old.read_text())  # a disk that was away
        said = await shredded.recover("--catalogue-cid", cid, *keyring)
        assert f"the period key {shredded.key}, of 2020-01, was destroyed on" in said
        assert "Destroy this copy of it by hand" in said
        assert await shredded.lives() is False
        assert shredded.key not in await estate.console.says("recovery-sheet")
        assert "recovery sheets from before" in await estate.console.says("retention", "list")
        await estate.console.db.execute("UPDATE zip_ipfs_info SET catalogued = NULL LIMIT 1")
        cid, head = await shredded.publish()

    # Nor does it open an archive once more, in a database that knows of it.
    (listed := estate.console.vault.root / "cids").write_text(shredded.cid)
    await estate.console.db.execute("DELETE FROM custody_info")
    said = await shredded.recover("--cids", listed, *keyring, code=1)
    assert "Destroy this copy of it by hand" in said
    assert "0 archives recovered" in said
    assert await shredded.lives() is False
    assert shredded.key in await estate.console.says("recover", "--rehearse", "--catalogue-cid", cid, *keyring)


async def test_one_that_came_back_without_the_catalogue_goes_once_that_is_there(shredded: Shredded) -> None:
    console, db = shredded.estate.console, shredded.estate.console.db
    await shredded.months_pass()
    assert await shredded.lives() is False
    cid, _ = await shredded.publish()
    await shredded.lose()
    listed, keyring = console.vault.root / "cids", ("--keyring", shredded.old)
    listed.write_text(shredded.cid)
    assert "1 archives recovered" in await shredded.recover("--cids", listed, *keyring)
    await shredded.months_pass()
    assert await shredded.lives()
    said = await shredded.recover("--catalogue-cid", cid, *keyring)
    assert f"the period key {shredded.key}, of 2020-01, was destroyed on" in said
    assert "goes after `roadvault retention allow`, once nothing here needs it" in said
    await shredded.end(allow=False)
    assert await shredded.lives()
    await console.pinner.shredder.measure()
    assert ASKS._value.get() == 1
    await shredded.end(allow=True)
    assert await shredded.lives() is False
    assert [row for row in await db.fetch_all(FILES) if row["zip_id"] == shredded.zip_id] == []


@pytest.mark.parametrize("when", ["before", "while"])
async def test_one_that_a_catalogue_of_before_brings_back_goes_again(shredded: Shredded, when: str) -> None:
    """The newest catalogue has the archive living; or ended, and the month was not over yet."""
    cid = shredded.before if when == "before" else (await shredded.publish())[0]
    await shredded.lose()
    await shredded.recover("--catalogue-cid", cid, "--keyring", shredded.old)
    assert await shredded.lives()
    await shredded.months_pass()
    assert await shredded.lives()
    if when == "before":
        await shredded.estate.console.db.execute(
            "UPDATE retention_info SET ends_at = UTC_TIMESTAMP(6) WHERE ends_at IS NOT NULL"
        )
        await shredded.end(allow=True)
    await asking.allow(shredded.estate.console.db)
    assert await shredded.lives() is False


async def test_a_dump_of_before_it_was_destroyed_has_it_until_a_person_allows_that_it_goes(shredded: Shredded) -> None:
    console, db = shredded.estate.console, shredded.estate.console.db
    await shredded.months_pass()
    assert await shredded.lives() is False
    cid, _ = await shredded.publish()
    await dumps.restore(console.environment["ROADVAULT_DATABASE_URL"], shredded.dump)
    await shredded.months_pass()
    await console.says("identity", "adopt", "--yes")
    for _ in range(2):
        said = await shredded.recover("--catalogue-cid", cid)
        assert f"the period key {shredded.key}, of 2020-01, was destroyed on" in said
        assert "and lives here: it goes after `roadvault retention allow`, once nothing here needs it" in said
    await shredded.end(allow=False)
    assert await shredded.lives()
    await shredded.end(allow=True)
    assert await shredded.lives() is False
    assert await db.fetch_value("SELECT COUNT(*) FROM zip_ipfs_info WHERE master_key = %s", (shredded.key,)) == 0
    cid, head = await shredded.publish()
    assert [one.period_key for one in head.destroyed or ()] == [shredded.key]
