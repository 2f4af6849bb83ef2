"""Calls of the SQL of who may do what: tokens, people, and what they did."""

from functools import partial

from statements import Statement, group

from roadvault_common.access import acts, callback_keys, session_store, token_store, user_store
from roadvault_common.access.acts import Act
from roadvault_common.access.scopes import Role
from roadvault_common.access.session_store import Life, Person
from roadvault_common.access.tokens import checked_grant
from roadvault_common.sql.db import Database, Transaction
from roadvault_ingest.access import guess_store
from roadvault_notifier.store import NotifierStore

_GRANT = checked_grant("upload", ("gate-*",), ("client.example",))
_LINE = Act("token", "t", "192.0.2.1", "retry")


def access() -> list[Statement]:
    """Return the calls."""
    return group("who may do what", tokens=_tokens, acts=_acts, people=_people, guesses=_guesses)


async def _tokens(db: Database) -> None:
    for number in range(200):
        await db.transact(partial(_token, number))
    token = await token_store.find(db, bytes(32))
    assert token is not None
    await token_store.used(db, [token.token_id])
    assert len(await token_store.listed(db, token.token_id, 10)) == 10
    rows = ", ".join(f"({number % 300}, 'k')" for number in range(600))
    await db.execute(f"INSERT INTO callback_key_info (token_id, `key`) VALUES {rows}")  # noqa: S608 - numbers
    await db.transact(lambda tx: callback_keys.rotate(tx, token.token_id, "l", 60))
    await db.execute("UPDATE callback_key_info SET until = create_time WHERE `key` = 'k' LIMIT 1")
    await db.transact(lambda tx: callback_keys.rotate(tx, token.token_id, "m", 60))
    assert (await NotifierStore(db).callback_keys(token.token_id))[:2] == ["m", "l"]
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


async def _people(db: Database) -> None:
    life = Life(60, 600)
    for number in range(200):
        await db.transact(partial(_user, number))
        user = await user_store.find(db, f"u-{number:03}")
        assert user is not None
        person = Person(user["name"], Role.VIEWER, user["user_id"] if number % 2 else None, "192.0.2.1")
        await db.transact(partial(_session, number, person))
    session = await session_store.find(db, bytes(32))
    assert session is not None
    await session_store.used(db, [session.session_id], life)
    await session_store.end(db, bytes(32))
    assert len(await user_store.listed(db, "u-100", 10)) == 10
    assert len(await session_store.of_the_provider(db)) == 99
    await db.transact(lambda tx: user_store.change_password(tx, "u-001", "x"))
    await db.transact(lambda tx: user_store.change_role(tx, "u-003", Role.OPERATOR))
    await db.transact(lambda tx: user_store.remove(tx, "u-003"))
    assert await session_store.find(db, bytes([3]) * 32) is None
    assert await db.transact(lambda tx: session_store.end_named(tx, "u-002")) == 1
    await db.execute("UPDATE session_info SET idle_ends_at = create_time - INTERVAL 1 DAY WHERE session_id < 20")
    assert await session_store.remove_ended(db) > 10


async def _user(number: int, tx: Transaction) -> None:
    await user_store.add(tx, f"u-{number:03}", Role.VIEWER, "x")


async def _session(number: int, person: Person, tx: Transaction) -> None:
    await session_store.begin(tx, bytes([number]) * 32, person, Life(60, 600))


async def _guesses(db: Database) -> None:
    rows = ", ".join(f"('{letter}-{number}', 1, UTC_TIMESTAMP(6))" for number in range(300) for letter in "abc")
    await db.execute(f"INSERT INTO guess_info (whose, guesses, since) VALUES {rows}")  # noqa: S608 - numbers
    assert await db.transact(lambda tx: guess_store.count(tx, ["a-1", "a-2"])) == {"a-1": 2, "a-2": 2}
    await guess_store.forgive(db, ["a-1", "b-1"])
    await db.execute("UPDATE guess_info SET since = since - INTERVAL 1 DAY WHERE whose LIKE 'c-19%%'")
    await guess_store.remove_old(db)
