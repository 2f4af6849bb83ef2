"""Bringing files back from a network that is away, silent, or has not got them."""

import asyncio
from pathlib import Path

from free_ports import pick_free
from servers_process import Running
from servers_retriever import Bench

from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work.outcome import Done, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_stack.kubo import Kubo, KuboPorts

UNKNOWN = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


async def test_a_network_that_is_silent_is_waited_for(bench: Bench, kubo: Kubo) -> None:
    bench.lose("received", "archives")
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s", (UNKNOWN,))
    async with Reader.open(kubo.gateway_url, 0.5) as reader:
        bench.retriever._reader = reader
        for name in ("1 MB", "12 MB"):
            outcome = await bench.retriever.fetching.work(await bench.request(name))
            assert isinstance(outcome, Wait)
            assert "comes from the gateway" in outcome.reason
    assert [path for path in bench.downloads() if path.is_file()] == []


async def test_a_gateway_that_hangs_counts_against_no_request(
    bench: Bench, kubo: Kubo, kubo_server: Running[Kubo]
) -> None:
    bench.lose("received", "archives")
    download_id = await bench.request("1 MB")
    async with Reader.open(kubo.gateway_url, 0.5) as reader:
        impatient = bench.through(reader, lease_seconds=1.0)
        with kubo_server.suspended():
            outcome = await impatient.fetching.work(download_id)
        assert isinstance(outcome, Wait)
        assert "the gateway does not answer" in outcome.reason
        assert (await bench.row(download_id))["fetch_attempts"] == 0


async def test_a_gateway_that_is_well_and_does_not_find_a_file_counts(bench: Bench) -> None:
    bench.lose("received", "archives")
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s", (UNKNOWN,))
    download_id = await bench.request("1 MB")
    outcome = await bench.through(bench.retriever._reader, lease_seconds=1.0).fetching.work(download_id)
    assert outcome == Retry(Reason("", "no progress for 1 s"))
    assert (await bench.row(download_id))["fetch_attempts"] == 1


async def test_what_nobody_provides_waits_and_keeps_no_other_archive_waiting(bench: Bench, kubo: Kubo) -> None:
    bench.lose("received", "archives")
    (known,) = await bench.db.fetch_all("SELECT cid FROM zip_ipfs_info")
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s", (UNKNOWN,))
    await bench.db.execute("UPDATE file_upload_info SET path = NULL")
    download_id, others = await bench.request("1 MB"), [await bench.request("3 MB") for _ in range(3)]
    await bench.db.execute("UPDATE download_info SET create_time = UTC_TIMESTAMP(6) - INTERVAL 40 MINUTE")
    async with Ipfs.open(kubo.rpc_url, 10) as node, Reader.open(kubo.gateway_url, 1, node=node) as reader:
        retriever = bench.through(reader)
        outcome = await retriever.fetching.work(download_id)
        assert isinstance(outcome, Wait)
        assert f"no more of {UNKNOWN}/archive.7z.enc comes" in outcome.reason
        waits = await bench.db.fetch_one(
            "SELECT fetch_attempts, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), fetch_due) AS seconds FROM download_info"
            " WHERE download_id = %s",
            (download_id,),
        )
        assert waits is not None
        assert [await retriever.fetching.work(other) for other in others] == [None] * 3  # one looks for all
        assert waits["fetch_attempts"] == 0
        assert 400 < waits["seconds"] < 620  # about a quarter of what it has waited
        await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s", (known["cid"],))
        assert await retriever.fetching.work(await bench.request("100 KB")) == Done()


async def test_requests_that_wait_for_one_look_at_the_network_are_not_counted(bench: Bench, kubo: Kubo) -> None:
    bench.lose("received", "archives")
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s", (UNKNOWN,))
    requests = [await bench.request(name) for name in ("1 MB", "3 MB", "5 MB", "12 MB")]
    async with Reader.open(kubo.gateway_url, 1) as reader:
        retriever = bench.through(reader, lease_seconds=3.0)  # three times as long as a look takes
        outcomes = await asyncio.gather(*map(retriever.fetching.work, requests))
    assert [type(outcome) for outcome in outcomes] == [Wait] * 4
    assert [(await bench.row(one))["fetch_attempts"] for one in requests] == [0] * 4


async def test_a_node_without_peers_lets_no_request_be_counted_and_local_copies_be_served(
    bench: Bench, tmp_path: Path
) -> None:
    alone = Running(Kubo("alone", tmp_path / "alone", KuboPorts(*pick_free(3))))
    alone.start()
    local, remote = await bench.request("1 MB"), await bench.request("100 KB")
    await bench.db.execute("UPDATE zip_ipfs_info SET path = NULL")
    await bench.db.execute("UPDATE file_upload_info SET path = NULL WHERE file_id = %s", (bench.file_ids["100 KB"],))
    async with (
        Ipfs.open(alone.server.rpc_url, 10) as node,
        Reader.open(alone.server.gateway_url, 1, node=node) as reader,
    ):
        retriever = bench.through(reader)
        outcome = await retriever.fetching.work(remote)
        assert isinstance(outcome, Wait)
        assert "our Kubo has no peer" in outcome.reason
        assert (await bench.row(remote))["fetch_attempts"] == 0
        assert list(retriever.breakers.states()) == ["network"]
        assert await retriever.fetching.work(local) == Done()
    alone.kill()
