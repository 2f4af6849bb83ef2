"""`roadvault token`: what programs show to be let in, where ROADVAULT_AUTH is on."""

from typing import Annotated

import orjson
import typer

from roadvault_common.access import callback_keys
from roadvault_common.access import token_store as store
from roadvault_common.access.callback_keys import CallbackKeys
from roadvault_common.access.scopes import Scope
from roadvault_common.access.tokens import checked_grant, checked_name, hash_of, new_token
from roadvault_common.errors import SettingsError
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_operator import acts
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, local, say, show

app = typer.Typer(no_args_is_help=True, help="Tokens of programs: make, list, revoke.")

Name = Annotated[str, typer.Argument(help="the token's name, as logs have it")]
_LONGEST_DAYS = 36_500
_AT_ONCE = 500


@app.command()
@blocking
async def create(
    name: Name,
    scope: Annotated[str, typer.Option(help="what it is good for: upload, request, read, operate, divided by commas")],
    camera: Annotated[
        list[str] | None, typer.Option(help="only for files of this camera; * for any characters; may be repeated")
    ] = None,
    callback_host: Annotated[
        list[str] | None, typer.Option(help="a host, or *.host, or host:port, that cbUrl may lead to; may be repeated")
    ] = None,
    expires: Annotated[float | None, typer.Option(min=0, max=_LONGEST_DAYS, help="days; without it: never")] = None,
) -> None:
    """Make a token and show it, this once: only its hash is kept; likewise the key that signs its callbacks."""
    settings = OperatorSettings()
    grant, token = checked_grant(scope, camera or [], callback_host or []), new_token()
    keys = CallbackKeys(settings.callback_master_keys)
    key = callback_keys.new_key() if keys.there and Scope.REQUEST in grant.scopes else None
    hashed = hash_of(token)
    if hashed is None:
        raise SettingsError("a token of another form was made")

    async def write(tx: Transaction) -> None:
        token_id = await store.create(tx, checked_name(name), hashed, grant, expires)
        if key is not None:
            await callback_keys.add(tx, token_id, keys.wrap(key))
        await acts.note(tx, "token created", f"{name}: {', '.join(sorted(grant.scopes))}")

    async with Database.open(settings.database_url, size=1) as db:
        await db.transact(write)
    say(token, token=token)
    if key is not None:
        say(f"{key}  signs its callbacks (Standard Webhooks)", callback_key=key)
    elif Scope.REQUEST in grant.scopes:
        say("ROADVAULT_CALLBACK_MASTER_KEYS is not set: it has no key of its own that signs its callbacks")
    say("Keep this now: it is not shown again. Send the token as Authorization: Bearer, or as the password of Basic.")


@app.command("list")
@blocking
async def list_all() -> None:
    """Show all tokens; not what they are, which nobody knows but who has them."""
    rows: list[Row] = []
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        while some := await store.listed(db, rows[-1]["token_id"] if rows else 0, _AT_ONCE):
            rows += some
    show(
        "tokens",
        "Tokens",
        ("name", "scopes", "cameras", "callback hosts", "made", "last used", "until", "state"),
        [
            (
                row["name"],
                row["scopes"],
                ", ".join(orjson.loads(row["cameras"])),
                ", ".join(orjson.loads(row["callback_hosts"])),
                *(local(row[at]) for at in ("create_time", "used_at", "expires_at")),
                "" if row["good"] else "revoked" if row["revoked_at"] is not None else "over",
            )
            for row in rows
        ],
    )
    say(f"{sum(bool(row['good']) for row in rows)} tokens are good now")


@app.command()
@blocking
async def revoke(name: Name) -> None:
    """End a token for good; all processes refuse it within seconds."""

    async def write(tx: Transaction) -> None:
        await store.revoke(tx, name)
        await acts.note(tx, "token revoked", name)

    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await db.transact(write)
    say(f"the token {name} is revoked; for what it has asked for nobody is called any more")


@app.command()
@blocking
async def rotate_callback_key(
    name: Name,
    overlap: Annotated[float, typer.Option(min=0, max=365, help="days for which the old key signs as well")] = 7,
) -> None:
    """Give a token another key that signs its callbacks, and show it, this once."""
    settings = OperatorSettings()
    key = callback_keys.new_key()
    wrapped = CallbackKeys(settings.callback_master_keys).wrap(key)

    async def write(tx: Transaction) -> None:
        token_id = await store.locked(tx, name)
        await callback_keys.rotate(tx, token_id, wrapped, overlap * 86_400)
        await acts.note(tx, "callback key rotated", name)

    async with Database.open(settings.database_url, size=1) as db:
        await db.transact(write)
    say(key, callback_key=key)
    say(f"Keep it now: it is not shown again. Both keys sign for {overlap:g} days, in one header, divided by a blank.")
