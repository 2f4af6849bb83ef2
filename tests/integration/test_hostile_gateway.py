"""Whatever a gateway or a node sends, no more is taken than was asked for. Real sockets and extractions."""

import tracemalloc

import pytest
from servers_hostile import CID, HOSTILE, hostile
from servers_retriever import Bench

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.files.new_file import NewFile
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work.outcome import Retry

SOCKETS = 24 << 20
"""What may be on its way, in the sockets of both ends and in aiohttp, besides what was asked for."""


async def taken(reader: Reader, size: int, path: str = CID) -> int:
    """Read a range to its bitter end; return how many bytes of it came."""
    count = 0
    with pytest.raises(IpfsUnavailable):
        async for piece in reader.read(path, 5, size):
            count += len(piece)
    return count


@pytest.mark.parametrize("size", [1_000_000, 40_000_000], ids=["short", "long"])
@pytest.mark.parametrize("only_cached", [False, True], ids=["ranges", "by name"])
@pytest.mark.parametrize("what", HOSTILE)
async def test_a_gateway_gives_no_more_than_it_is_asked_for(what: str, size: int, *, only_cached: bool) -> None:
    async with hostile(what) as server, Reader.open(server.url, 5, only_cached=only_cached) as reader:
        tracemalloc.start()
        count = await taken(reader, size)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count <= size
        assert server.sent <= 2 * size + SOCKETS
        assert peak < SOCKETS
        assert all("Accept-Encoding: identity" in request for request in server.requests)
        assert not any("/elsewhere" in request for request in server.requests)


@pytest.mark.parametrize("only_cached", [False, True], ids=["ranges", "by name"])
@pytest.mark.parametrize("what", [what for what in HOSTILE if "CAR" in what])
async def test_nor_where_a_directory_is_asked_for(what: str, *, only_cached: bool) -> None:
    async with hostile(what) as server, Reader.open(server.url, 5, only_cached=only_cached) as reader:
        assert await taken(reader, 40_000_000, f"{CID}/archive.7z.enc") == 0
        assert server.sent < SOCKETS
        assert all(f"/ipfs/{CID}" in request for request in server.requests)


async def test_an_extraction_writes_no_more_than_its_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = 0, NewFile.write

    def counted(file: NewFile, data: bytes) -> None:
        nonlocal written
        written += len(data)
        write(file, data)

    monkeypatch.setattr(NewFile, "write", counted)
    await bench.db.execute("UPDATE file_upload_info SET path = NULL")
    await bench.db.execute("UPDATE zip_ipfs_info SET path = NULL")
    for what, name in (
        ("more than was asked", "12 MB"), ("a CAR of leaves without end", "3 MB"), ("a gzip bomb", "3 MB")
    ):  # fmt: skip
        written, download_id = 0, await bench.request(name)
        async with hostile(what) as server, Reader.open(server.url, 5) as reader:
            bench.retriever._reader = reader
            assert isinstance(await bench.retriever.fetching.work(download_id), Retry)
        assert written <= len(bench.contents[name])
        assert not any(path.is_file() for path in bench.downloads())


@pytest.mark.parametrize("what", [what for what in HOSTILE if "CAR" not in what and "range" not in what])
async def test_a_node_is_read_no_further_than_its_answers_can_be_long(what: str) -> None:
    async with hostile(what) as server, Ipfs.open(server.url, 5) as ipfs:
        for call in (ipfs.dag_size(CID), ipfs.unpin(CID), ipfs.collect_garbage(), ipfs.check(), _pin(ipfs)):
            server.sent = 0
            with pytest.raises(IpfsUnavailable):
                await call
            assert server.sent < SOCKETS


async def _pin(ipfs: Ipfs) -> None:
    await ipfs.fetch_and_pin(CID, lambda: None)
