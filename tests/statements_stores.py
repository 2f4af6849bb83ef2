"""The calls about stores; they belong to `statements_work.py`."""

from functools import partial

from filled import Filled
from statements import Statement, group

from roadvault_common.sql.db import Database
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import FETCH, ORDER
from roadvault_crust_orderer.store import OrdererStore
from roadvault_ingest.requests.routing import Routing
from roadvault_retriever.store import RetrieverStore


def stores(filled: Filled) -> list[Statement]:
    """Return the calls."""
    return group(
        "stores", routes=_route, handed=partial(_hand_over, filled), taken=_take_over, payers=partial(_pay, filled)
    )


async def _route(db: Database) -> None:
    await db.execute("INSERT INTO store_info (name, heard_at) VALUES ('north', UTC_TIMESTAMP(6))")
    await RetrieverStore(db).say_here("http://main.example", None)
    assert await Routing(db, "main").choose() == "north"


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
