"""Calls of the SQL of who may do what: tokens, people, and what they did."""

from functools import partial

from statements import Statement, group

from roadvault_common.access import acts, token_store
from roadvault_common.access.acts import Act
from roadvault_common.access.tokens import checked_grant
from roadvault_common.sql.db import Database, Transaction

_GRANT = checked_grant("upload", ("gate-*",), ("client.example",))
_LINE = Act("token", "t", "192.0.2.1", "retry")


def access() -> list[Statement]:
    """Return the calls."""
    return group("who may do what", tokens=_tokens, acts=_acts)


async def _tokens(db: Database) -> None:
    for number in range(200):
        await db.transact(partial(_token, number))
    token = await token_store.find(db, bytes(32))
    assert token is not None
    await token_store.used(db, [token.token_id])
    assert len(await token_store.listed(db, token.token_id, 10)) == 10
    await db.transact(lambda tx: token_store.revoke(tx, "t-0"))
    assert await token_store.find(db, bytes(32)) is None


async def _token(number: int, tx: Transaction) -> int:
    return await token_store.create(tx, f"t-{number}", bytes([number]) * 32, _GRANT, 1)


async def _acts(db: Database) -> None:
    for _ in range(5):
        act_id = await db.transact(lambda tx: acts.record(tx, *[_LINE] * 400))
    await db.execute("UPDATE act_info SET create_time = create_time - INTERVAL 2 DAY WHERE act_id < 100")
    await acts.end(db, act_id, "pack 17", "done")
    newest = await acts.page(db, None)
    assert len(await acts.page(db, newest[-1]["act_id"])) == len(newest)
    assert await acts.remove_old(db, 1)
