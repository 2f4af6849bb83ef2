"""The account's seed is in no log, no error, no answer, no process list and no table, in whatever form it is given."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from servers_devnet import Devnet
from servers_orderer import CID, SIZE
from servers_services import Service, Services
from substrateinterface import Keypair

from roadvault_common.sql.db import Database

PHRASE = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
HEX_SEED = "0x9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PASSWORD = "moonlit-and-never-told"


def _pair(seed: str) -> Keypair:
    if seed == HEX_SEED:
        return Keypair.create_from_seed(seed, ss58_format=66)
    return Keypair.create_from_uri(seed, ss58_format=66)


def _secrets(seed: str) -> list[str]:
    """Return the seed as it was given, and the keys that come of it."""
    pair = _pair(seed)
    words = seed.split()
    runs = [" ".join(words[at : at + 3]) for at in range(len(words) - 2)]
    keys = [key.hex() for key in (pair.private_key, pair.seed_hex) if key]
    return [seed.removeprefix("0x"), *runs, *keys]


async def _dump(db: Database) -> str:
    """Return every column of every row of every table."""
    tables = await db.fetch_all(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    rows = [await db.fetch_all(f"SELECT * FROM `{table['name']}`") for table in tables]  # noqa: S608
    assert any(rows)
    return repr(rows)


def _process_list() -> str:
    """Return the command lines of all processes, as anybody on the machine sees them."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(lines)


async def _shown(orderer: Service) -> str:
    """Return what anybody sees of a running service."""
    answers = []
    async with aiohttp.ClientSession() as http:
        for path in ("metrics", "readyz", "healthz"):
            async with http.get(f"{orderer.url}/{path}") as response:
                answers.append(await response.text())
    processes = _process_list()
    assert "roadvault-crust-orderer" in processes
    return "\n".join([*answers, processes, orderer.log.read_text()])


async def _until_bought(db: Database) -> None:
    async with asyncio.timeout(30):
        while not await db.fetch_one("SELECT 1 FROM order_info WHERE status = 1"):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("devnet_server", [{"block_seconds": 0.05}], indirect=True)
@pytest.mark.parametrize(
    ("seed", "in_file"),
    [(PHRASE, False), (HEX_SEED, False), (f"{PHRASE}//road", True)],
    ids=["phrase", "hex seed", "file"],
)
async def test_the_seed_is_nowhere(
    services: Services, database_url: str, devnet: Devnet, tmp_path: Path, seed: str, *, in_file: bool
) -> None:
    file = tmp_path / "crust-seed.txt"
    file.write_text(f"{seed}\n")
    given = {"crust_seed_file": file} if in_file else {"crust_seed": seed}
    devnet.turn(fund={"address": _pair(seed).ss58_address, "planck": 10**15})
    orderer = services("crust-orderer", crust_url=devnet.url, crust_poll_seconds=0.05, log_level="debug", **given)
    orderer.under = ["env"]  # a process of its own, for its command line
    async with Database.open(database_url) as db:
        for number, size in enumerate((SIZE, 9 << 30)):  # the second is refused: errors are shown, too
            await db.execute(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, dag_size, order_due)"
                " VALUES (%s, 'a', 'k', 'i', %s, 1, %s, %s, UTC_TIMESTAMP(6))",
                (number, size, CID.format(number), size),
            )
        await orderer.start()
        await _until_bought(db)
        seen = await _shown(orderer) + await _dump(db)
    assert _pair(seed).ss58_address in orderer.log.read_text()
    for secret in _secrets(seed):
        assert secret not in seen


async def test_a_seed_that_is_none_is_not_quoted(services: Services, devnet: Devnet) -> None:
    orderer = services("crust-orderer", crust_url=devnet.url, crust_seed=f"{PHRASE}///{PASSWORD}")
    await orderer.launch()
    code, _ = await orderer.ended(20)
    said = orderer.log.read_text()
    assert code == 1
    assert "neither a phrase, a hex seed nor a //Derivation" in said
    for word in ("Traceback", "obey lake", PASSWORD):
        assert word not in said


async def test_a_seed_file_that_is_missing_is_named(services: Services, devnet: Devnet, tmp_path: Path) -> None:
    file = tmp_path / "nowhere.txt"
    orderer = services("crust-orderer", crust_url=devnet.url, crust_seed_file=file)
    await orderer.launch()
    code, _ = await orderer.ended(20)
    assert code == 1
    assert f"ROADVAULT_CRUST_SEED_FILE: {file} can't be read: No such file" in orderer.log.read_text()
