"""Archives that are over where the rows may be wrong, or many at once: none ends before a person allows it."""

import asyncio

from servers_keeper import Keeper
from servers_operator import Console

from roadvault_common.archive.keyring import period_keys
from roadvault_common.files import identity as identities
from roadvault_common.retention import asking, holding
from roadvault_common.work.outcome import Done, Wait
from roadvault_common.work.reasons import Reason
from roadvault_pinner.ends.shredding import ASKS


async def test_nothing_ends_in_a_database_that_was_accepted_until_a_person_allows_it(keeper: Keeper) -> None:
    zip_id, later = await keeper.archive(), await keeper.archive()
    console = keeper.console
    assert "no archive ends before `roadvault retention allow`" in await console.says("identity", "adopt", "--yes")
    assert isinstance(waits := await keeper.end(zip_id), Wait)
    assert "may lack holds and moved ends: `roadvault retention allow`" in waits.reason
    assert (await keeper.row(zip_id))["key"] != ""
    await console.pinner.shredder.measure()
    assert ASKS._value.get() == 1

    await keeper.months_pass()  # rows of archives that the key wraps may be those that are missing
    await console.db.execute("UPDATE zip_ipfs_info SET master_key = 'x' WHERE zip_id = %s", (later,))
    await console.packer.periods.tend()
    assert len(period_keys(keeper.keyring(), keeper.keys)) == 1

    code, told, _ = await console.run("retention", "allow")
    assert code == 1
    assert "holds, and ends that were moved, that came after its dump" in told
    assert "1 archives are over" in told
    assert isinstance(await keeper.end(zip_id), Wait)
    held, _ = await holding.hold(console.db, "case 9", zip_id=zip_id)
    await console.says("retention", "allow", "--yes")
    assert await console.pinner.shredding.work(zip_id) == Wait(
        Reason("", "on hold"), after=86_400
    )  # at once, and it is kept
    await holding.release(console.db, held, "over")
    assert await console.pinner.shredding.work(zip_id) == Done()
    assert await keeper.end(later) == Done()
    await console.pinner.shredder.measure()
    assert ASKS._value.get() == 0
    assert "none waits for you" in await console.says("retention", "allow")


async def test_period_keys_stay_while_a_recovery_has_left_archives_out(keeper: Keeper) -> None:
    zip_id, db = await keeper.archive(), keeper.console.db
    assert await keeper.end(zip_id) == Done()
    await keeper.months_pass()
    await db.execute("INSERT INTO left_out_info (cid, kind, archives, reason) VALUES ('bafy', 'segment', 9, 'x')")
    await keeper.console.packer.periods.tend()
    assert len(period_keys(keeper.keyring(), keeper.keys)) == 1
    await db.execute("DELETE FROM left_out_info")
    await keeper.console.packer.periods.tend()
    assert period_keys(keeper.keyring(), keeper.keys) == {}


async def test_where_nothing_has_an_end_nothing_is_in_doubt(console: Console) -> None:
    assert "no archive ends" not in await console.says("identity", "adopt", "--yes")
    assert not await asking.in_doubt(console.db)


async def test_more_than_are_usual_end_only_if_a_person_allows_it(keeper: Keeper) -> None:
    console, db = keeper.console, keeper.console.db
    console.pinner.shredder._store._usual = console.pinner.shredder._usual = 2
    await identities.Identity(db, console.vault.root).settle()
    archives = [await keeper.archive() for _ in range(4)]
    await holding.hold(db, "kept", zip_id=archives[3])  # it does not count
    ends = "UPDATE retention_info SET ends_at = UTC_TIMESTAMP(6) WHERE zip_id IN (%s, %s, %s)"
    await db.execute(ends, (*archives[1:3], archives[3]))
    assert isinstance(waits := await keeper.end(archives[0]), Wait)
    assert waits.reason.startswith("more than 2 archives are over")
    await console.pinner.shredder.measure()
    assert ASKS._value.get() == 3
    assert "3 archives are over" in (await console.run("retention", "allow"))[1]
    await asking.allow(db)
    assert await asyncio.gather(*map(console.pinner.shredding.work, archives)) == [
        Done(), Done(), Done(), Wait(Reason("", "on hold"), after=86_400)
    ]  # fmt: skip
    assert await asking.asked(db, 0) is None
