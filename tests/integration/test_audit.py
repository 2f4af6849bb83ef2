"""Audits of what the network holds: what is lost there is found, fetched back, bought again, and a person is told."""

from itertools import pairwise

from servers_process import Running
from servers_proof import Proofs

from roadvault_common.archive.verify import Member
from roadvault_common.events.kinds import DEAD_LETTERS
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Place
from roadvault_common.work import backlog
from roadvault_common.work.outcome import Done, Retry, Wait
from roadvault_common.work.stages import AUDIT, RESTORE
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.proof.audit import Part, picked
from roadvault_crust_orderer.proof.audit_store import AuditStore
from roadvault_crust_orderer.store import ENDED, LIVE
from roadvault_stack.kubo import Kubo

_DAY = 86_400
ABSENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


async def lose(node: Kubo, cid: str) -> None:
    """Have a node lose an archive."""
    assert node.rpc(f"pin/rm?arg={cid}") is not None
    async with Ipfs.open(node.rpc_url, 30) as ipfs:
        await ipfs.collect_garbage()


async def due_in(proofs: Proofs) -> float:
    seconds = await backlog.seconds_to_next(proofs.desk.db, AUDIT)
    assert seconds is not None
    return seconds


async def letters(proofs: Proofs) -> list[str]:
    return [str(fields) for _, fields in await proofs.bus._redis.xrange(DEAD_LETTERS) or []]


async def test_an_archive_is_audited_within_a_month_of_its_proof_and_again_and_again(
    proofs: Proofs, network_kubo: Kubo
) -> None:
    await proofs.add_to(network_kubo)
    assert await proofs.prove() == Done()
    for by in ("proof", "audit"):
        row = await proofs.audited()
        assert (row["sound"], row["sound_at"], row["members"], row["reason"]) == (1, row["audited_at"], 3, None)
        assert row["bytes"] > 1_200_000
        assert row["way"] == "gateway 127.0.0.1: each block by name, of those it holds"
        assert 24 * _DAY - 60 < await due_in(proofs) <= 30 * _DAY
        if by == "proof":
            assert await proofs.audit() == Done()
    assert (await proofs.row())["audit_attempts"] == 0


async def test_of_large_files_a_part_is_fetched(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    proofs.set(audit_sample_bytes=1000, audit_members=5)
    assert await proofs.audit() == Done()
    row = await proofs.audited()
    assert (row["sound"], row["members"]) == (1, 0)
    assert 5000 < row["bytes"] < 5000 + (64 << 10)


def test_no_byte_is_picked_twice_and_the_archives_end_always_is() -> None:
    values = {"database_url": "x", "redis_url": "redis://x", "crust_seed": "x", "master_keys": "x"}
    settings = OrdererSettings.model_validate({**values, "audit_sample_bytes": 1000, "audit_members": 4})
    members = [Member(number, 32 + 1500 * number, 800 if number % 2 else 1500, "x") for number in range(6)]
    for _ in range(100):
        parts = picked(members, 20_000, settings)
        assert all(before.offset + before.size <= part.offset for before, part in pairwise(parts))
        assert parts[-1] == Part(32 + 1500 * 5 + 800, 20_000 - 32 - 1500 * 5 - 800)
        assert [part.size for part in parts[:-1]] == [800 if part.member else 1000 for part in parts[:-1]]
    assert picked(members, 1 << 20, settings)[-1] == Part((1 << 20) - (64 << 10), 64 << 10)
    assert picked([], 30, settings) == [Part(0, 30)]


async def test_what_the_network_has_lost_is_fetched_back_bought_again_and_told(
    proofs: Proofs, network_kubo: Kubo
) -> None:
    cid = await proofs.add_to(network_kubo)
    assert await proofs.prove() == Done()
    await lose(network_kubo, cid)
    for _ in range(2):
        assert isinstance(await proofs.audit(), Retry)
    assert ((await proofs.audited())["sound"], await proofs.proven()) == (1, [True])
    for _ in range(2):  # the second is no news
        assert await proofs.audit() == Done()
        row, found = await proofs.row(), await proofs.audited()
        assert (found["sound"], found["bytes"]) == (0, 0)
        assert found["reason"].startswith("tried ")
        assert "412" in found["reason"]
        assert (row["terms_wanted"], row["audit_failed_at"]) == (2, None)
        assert 0 < await due_in(proofs) <= _DAY
        await proofs.desk.db.execute("UPDATE zip_ipfs_info SET audit_attempts = 2")
    assert await backlog.due_rows(proofs.desk.db, RESTORE, 10) == [proofs.zip_id]
    assert await proofs.proven() == [False]
    (letter,) = await letters(proofs)
    assert "an audit failed: tried 3 times" in letter

    await proofs.desk.bought(proofs.zip_id)
    assert [purchase["status"] for purchase in await proofs.desk.purchases()] == [1, 1]
    await proofs.hold(network_kubo)  # as when it has come from us again
    await proofs.count(cid, 61)
    await proofs.desk.look(proofs.zip_id)
    assert await proofs.prove() == Done()
    assert ((await proofs.audited())["sound"], await proofs.proven()) == (1, [False, True])
    assert await due_in(proofs) > 20 * _DAY


async def test_where_nothing_comes_of_another_archive_either_nothing_is_lost(
    proofs: Proofs, network_kubo: Kubo
) -> None:
    cid = await proofs.add_to(network_kubo)
    assert await proofs.prove() == Done()
    other = await proofs.desk.archive(1)
    await proofs.desk.db.execute(
        "INSERT INTO audit_info (zip_id, place, audited_at, sound, members, bytes, way)"
        " VALUES (%s, 'network', UTC_TIMESTAMP(6), 1, 1, 1, 'x')",
        (other,),
    )
    await lose(network_kubo, cid)
    await proofs.desk.db.execute("UPDATE zip_ipfs_info SET audit_attempts = 2")
    for _ in range(2):
        outcome = await proofs.audit()
        assert isinstance(outcome, Wait)
        assert f"of archive {other}, which was there before, nothing comes either" in outcome.reason
    row = await proofs.row()
    assert (row["terms_wanted"], row["restore_due"], await proofs.proven()) == (1, None, [True])
    assert await letters(proofs) == []
    await proofs.desk.db.execute("UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s", (ENDED, other))
    assert await AuditStore(proofs.desk.db).another(proofs.zip_id) is None  # of what has ended nothing is to come
    await proofs.desk.db.execute("UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s", (LIVE, other))

    await proofs.hold(network_kubo)
    await proofs.desk.db.execute("UPDATE zip_ipfs_info SET cid = %s WHERE zip_id = %s", (cid, other))
    await proofs.desk.db.execute("UPDATE zip_ipfs_info SET cid = %s WHERE zip_id = %s", (ABSENT, proofs.zip_id))
    assert await proofs.audit() == Done()
    assert ((await proofs.audited())["sound"], len(await letters(proofs))) == (0, 1)


async def test_bytes_that_are_not_the_files_are_told_at_once(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    await proofs.desk.db.execute("UPDATE file_upload_info SET sha256 = %s", ("0" * 64,))
    assert await proofs.audit() == Done()
    assert "does not have its SHA-256" in (await proofs.audited())["reason"]
    assert len(await letters(proofs)) == 1


async def test_a_days_bytes_are_spent_on_those_longest_unseen(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    proofs.set(audit_day_bytes=1_000_000)
    assert await proofs.auditor._rests() == 0
    assert await proofs.audit() == Done()
    assert 0 < await proofs.auditor._rests() <= _DAY  # and so the sweep begins no other
    proofs.set(audit_day_bytes=1 << 30)
    assert await proofs.auditor._rests() == 0
    assert await audits.seconds_to_rest(proofs.desk.db, Place.LOCAL, 1) == 0
    await proofs.desk.db.execute("UPDATE audit_day SET day = day - INTERVAL 1 DAY")
    assert await audits.seconds_to_rest(proofs.desk.db, Place.NETWORK, 1) == 0


async def test_while_the_gateway_is_away_nothing_is_lost(proofs: Proofs, network_kubo_server: Running[Kubo]) -> None:
    await proofs.add_to(network_kubo_server.server)
    network_kubo_server.stop()
    for _ in range(4):
        outcome = await proofs.audit()
        assert outcome is None or isinstance(outcome, Wait)
    row = await proofs.row()
    assert (row["audit_attempts"], row["terms_wanted"], row["restore_due"]) == (0, 1, None)
