"""The calls about stores; they belong to `statements_work.py`."""

from functools import partial
from pathlib import Path

from filled import Filled
from statements import Statement, group

from roadvault_common.files import copy_store
from roadvault_common.files.copy_store import Copied
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import StoreState
from roadvault_common.videos import pictures
from roadvault_common.work import lease as leases
from roadvault_common.work import stores as book
from roadvault_common.work.outcome import Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import FETCH, ORDER
from roadvault_crust_orderer.store import OrdererStore
from roadvault_ingest.requests.routing import Routing
from roadvault_operator.stores import lost_store
from roadvault_operator.stores import moving_store as moving
from roadvault_operator.stores.adopt_store import AdoptStore
from roadvault_operator.stores.lost_requests import LostRequests
from roadvault_operator.stores.lost_store import LostStore
from roadvault_retriever.store import RetrieverStore


def stores(filled: Filled) -> list[Statement]:
    """Return the calls."""
    return group(
        "stores",
        routes=_route,
        handed=partial(_hand_over, filled),
        taken=_take_over,
        payers=partial(_pay, filled),
        copies=_copy,
    )


async def _route(db: Database) -> None:
    await db.execute("INSERT INTO store_info (name, heard_at) VALUES ('north', UTC_TIMESTAMP(6))")
    await RetrieverStore(db).say_here("http://main.example", None)
    assert await Routing(db, "main").choose() == "north"


async def _copy(db: Database) -> None:
    await copy_store.say(db, "north", "http://north.example")
    assert [row["name"] for row in await copy_store.takers(db, "main")] == ["north"]
    place = f"reserve/main/00/{10**9}"
    copies = {number: Copied("north", f"reserve/main/00/{number}") for number in range(10**9, 10**9 + 90)}
    await db.transact(lambda tx: copy_store.note(tx, copies))
    assert await copy_store.named(db, [place, "reserve/main/00/x"]) == {place}
    await copy_store.over(db, "north", 0)
    await copy_store.forget(db, [*copies][:2])


async def _hand_over(filled: Filled, db: Database) -> None:
    lease = await leases.claim(db, FETCH, filled.due(FETCH)[-1], 600)
    assert lease is not None
    await RetrieverStore(db).hand_over(lease, "north", Wait(Reason("at_store", "x", store="north"), 0))


async def _pay(filled: Filled, db: Database) -> None:
    store, zip_id = OrdererStore(db), filled.due(ORDER)[6]
    lease = await leases.claim(db, ORDER, zip_id, 600)
    assert lease is not None
    assert await store.pay_for(lease, "another")
    await db.execute("UPDATE zip_ipfs_info SET order_due = '2020-01-01' WHERE zip_id IN (%s, 3)", (zip_id,))
    assert await store.stand_in("a third", [], 3600) >= 2


async def _take_over(db: Database) -> None:
    await RetrieverStore(db).say_here(None, None)
    await db.execute("INSERT INTO store_info (name) VALUES ('south')")
    assert await RetrieverStore(db, "south").take_over(-60) > 0


def commands() -> list[Statement]:
    """Return the calls of `roadvault store`, which leave little as it was: they come last."""
    return group("store commands", drained=_drain, lost=_lose, found=_find, adopted=_adopt)


async def _drain(db: Database) -> None:
    assert await moving.set_state(db, "main", StoreState.DRAINING, before=(StoreState.OPEN,))
    assert await moving.other(db, "main") == "north"
    assert await moving.open_folders(db, "main")
    await book.say_where(db, "main", "http://main.example")
    assert await book.state(db, "main") == (StoreState.DRAINING, "http://main.example")
    assert (await book.all_stores(db))[0].name == "main"
    assert (await book.in_hand(db, "main")).archives
    for at_work in (False, True):
        while await moving.move_dropped(db, "main", "north", at_work=at_work):
            pass
    assert await moving.move_ended_requests(db, "main", "north")
    await db.execute("UPDATE video_info SET look_due = UTC_TIMESTAMP(6) WHERE file_id < 10")
    assert await moving.move_looks(db, "main", "north")
    await moving.hand_catalogue(db, "main", "north")


async def _lose(db: Database) -> None:
    lost = LostStore(db, "main", "north")
    zip_id = await db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE store = 'main' AND path > '' LIMIT 1")
    await db.execute(
        "INSERT INTO evidence_info (zip_id, market, block, replicas, counted_at)"
        " VALUES (%s, 'x', 1, 60, UTC_TIMESTAMP(6))",
        (zip_id,),
    )
    while await lost.archives():
        pass
    assert await lost.folder()
    await db.execute(
        "INSERT INTO copy_info (file_id, store, path) SELECT MIN(file_id), 'north', 'reserve/00/x' FROM set_aside_info"
        " WHERE at_store = 'main' AND lost_at IS NULL"
    )
    assert await lost.set_aside()
    assert await lost.uploads()
    assert await LostRequests(db, "main", "north").step()
    assert await lost_store.lost_files(db, "main", 0)
    assert await lost_store.lost_uploads(db, "main", "")


async def _find(db: Database) -> None:
    zip_id = await db.fetch_value("SELECT MIN(zip_id) FROM lost_zip_info")
    await db.transact(lambda tx: book.found_after_all(tx, zip_id))


async def _adopt(db: Database) -> None:
    store = AdoptStore(db, "main")
    first, *_ = await store.archives(0)
    await store.uploads_of(first["zip_id"])
    assert await store.take_archive(first["zip_id"], set())
    await store.take_files(await lost_store.lost_files(db, "main", 0, 10))
    assert await store.waiting(0)
    await db.execute("UPDATE store_info SET state = 2 WHERE name = 'north'")
    await db.execute("UPDATE video_info SET store = 'north', unreadable = NULL WHERE file_id = 1")
    assert await pictures.picture(db, Vault(Path("/nowhere")), 1, 0) is None
