"""`roadvault token`: what programs show to be let in, where ROADVAULT_AUTH is on."""

from typing import Annotated

import orjson
import typer

from roadvault_common.access import token_store as store
from roadvault_common.access.tokens import checked_grant, checked_name, hash_of, new_token
from roadvault_common.errors import SettingsError
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_operator import acts
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, local_time, say, show

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
    """Make a token and show it, this once: only its hash is kept."""
    grant, token = checked_grant(scope, camera or [], callback_host or []), new_token()
    hashed = hash_of(token)
    if hashed is None:
        raise SettingsError("a token of another form was made")

    async def write(tx: Transaction) -> None:
        await store.create(tx, checked_name(name), hashed, grant, expires)
        await acts.note(tx, "token created", f"{name}: {', '.join(sorted(grant.scopes))}")

    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await db.transact(write)
    say(token)
    say("Keep it now: it is not shown again. Send it as Authorization: Bearer, or as the password of Basic.")


@app.command("list")
@blocking
async def list_all() -> None:
    """Show all tokens; not what they are, which nobody knows but who has them."""
    rows: list[Row] = []
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        while some := await store.listed(db, rows[-1]["token_id"] if rows else 0, _AT_ONCE):
            rows += some
    show(
        "Tokens",
        ("name", "scopes", "cameras", "callback hosts", "made", "last used", "until", ""),
        [
            (
                row["name"],
                row["scopes"],
                ", ".join(orjson.loads(row["cameras"])),
                ", ".join(orjson.loads(row["callback_hosts"])),
                *("" if row[at] is None else local_time(row[at]) for at in ("create_time", "used_at", "expires_at")),
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
    say(f"the token {name} is revoked")
