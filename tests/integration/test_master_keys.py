"""Master keys that are missing, that are found out, and that are retired."""

import json

import aiohttp
from cryptography.fernet import Fernet
from pydantic import SecretStr
from servers_operator import Console
from servers_services import Services

from roadvault_common.archive import master_keys
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.sql.db import Row
from roadvault_common.work.outcome import Done, Wait
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner


def new_key() -> str:
    return Fernet.generate_key().decode()


def pinner_with(console: Console, keys: str) -> Pinner:
    settings = PinnerSettings.model_validate(
        {"database_url": console.environment["ROADVAULT_DATABASE_URL"], "master_keys": keys,
         "redis_url": console.environment["ROADVAULT_REDIS_URL"], "data_dir": console.vault.root}
    )  # fmt: skip
    return Pinner(settings, console.db, console.bus, console.vault, MasterKeys(SecretStr(keys)), console.pinner._ipfs)


async def archive_row(console: Console, zip_id: int) -> Row:
    row = await console.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
    assert row is not None
    return row


async def test_archives_wait_for_a_missing_key_and_go_on_once_it_is_there(console: Console) -> None:
    zip_id = await console.archive()
    needed = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"])).ids[0]
    outcome = await pinner_with(console, new_key()).pinning.work(zip_id)
    assert isinstance(outcome, Wait)
    assert needed in outcome.reason
    row = await archive_row(console, zip_id)
    assert (row["pin_attempts"], row["pin_failed_at"], row["master_key"]) == (0, None, needed)
    await console.db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6)")
    assert await console.pinner.pinning.work(zip_id) == Done()


async def test_a_service_that_lacks_a_key_is_not_ready_and_names_it(console: Console, services: Services) -> None:
    zip_id = await console.archive()
    needed = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"])).ids[0]
    missing = services("retriever")  # with a master key of its own
    await missing.launch()
    async with aiohttp.ClientSession() as http:
        states: dict[str, str] = {}
        while states.get("schema") != "ok":
            if await missing.readiness():
                async with http.get(f"{missing.url}/readyz") as response:
                    states = json.loads(await response.text())["checks"]
        assert await missing.readiness() == 503
        async with http.get(f"{missing.url}/metrics") as response:
            metrics = await response.text()
    assert "roadvault_master_keys_missing 1.0" in metrics
    assert 'roadvault_sample_age_seconds{sample="master keys"}' in metrics  # it is looked at though nobody asks
    assert needed in states["master keys"]
    assert f"archives from {zip_id} to {zip_id}" in states["master keys"]
    there = services("retriever", master_keys=f"{new_key()},{console.environment['ROADVAULT_MASTER_KEYS']}")
    await there.start()


async def test_keys_of_before_are_found_out(console: Console) -> None:
    ours, zip_id = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"])), await console.archive()
    stranger = MasterKeys(SecretStr(new_key()))
    await console.db.execute("UPDATE zip_ipfs_info SET master_key = NULL")
    await master_keys.note(console.db, stranger)
    assert (await archive_row(console, zip_id))["master_key"] == master_keys.UNKNOWN
    assert [use.master_key for use in await master_keys.lacking(console.db, stranger)] == [master_keys.UNKNOWN]
    await master_keys.note(console.db, ours)
    assert (await archive_row(console, zip_id))["master_key"] == ours.ids[0]
    assert await master_keys.lacking(console.db, ours) == []
    for keys, missing in ((stranger, 1), (ours, 0)):
        await master_keys.measure(console.db, keys)
        assert master_keys.MISSING._value.get() == missing


async def test_a_leaked_key_is_retired(console: Console) -> None:
    zip_id, leaked, fresh = await console.archive(), console.environment["ROADVAULT_MASTER_KEYS"], new_key()
    names = [MasterKeys(SecretStr(key)).ids[0] for key in (fresh, leaked)]
    console.environment["ROADVAULT_MASTER_KEYS"] = fresh
    assert "MISSING" in await console.says("master-keys")
    assert f"1 archives have a key that none of the master keys unwraps: {zip_id}" in await console.refuses("rewrap")
    console.environment["ROADVAULT_MASTER_KEYS"] = f"{fresh},{leaked}"
    out = await console.says("rewrap")
    assert f"master key {names[1]} wraps nothing" in out
    assert f"all archives are wrapped by {names[0]}" in out
    console.environment["ROADVAULT_MASTER_KEYS"] = fresh
    assert "MISSING" not in await console.says("master-keys")
    assert await pinner_with(console, fresh).pinning.work(zip_id) == Done()
    out = await console.says("archive-key", zip_id)  # whose label is wrapped by the key that is gone
    assert "/archive.7z.enc -o" in out
    assert "MASTER_KEY" not in out
