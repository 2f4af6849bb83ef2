"""`roadvault user`: accounts of people, where ROADVAULT_AUTH is on."""

from pathlib import Path
from typing import Annotated

import typer

from roadvault_common.access import passwords, session_store
from roadvault_common.access import user_store as store
from roadvault_common.access.scopes import Role
from roadvault_common.access.tokens import checked_name
from roadvault_common.errors import PermanentError, SettingsError, brief
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_operator import acts
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, local, say, show

app = typer.Typer(no_args_is_help=True, help="Accounts of people: add, list, remove, change password or role.")

Name = Annotated[str, typer.Argument(help="the name to log in with")]
PasswordFile = Annotated[Path | None, typer.Option(help="a file that has the password; without it, it is asked for")]
_PROVIDERS = "oidc:"
_AT_ONCE = 500


@app.command()
@blocking
async def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="viewers see, operators do")] = Role.VIEWER,
    password_file: PasswordFile = None,
) -> None:
    """Make an account; its password is asked for."""
    password = passwords.hashed(_password(password_file), checked_name(name))

    async def write(tx: Transaction) -> None:
        await store.add(tx, name, role, password)
        await acts.note(tx, "user added", f"{name}: {role.value}")

    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await db.transact(write)
    say(f"{name} can log in, as {role.value}")


@app.command()
@blocking
async def passwd(name: Name, password_file: PasswordFile = None) -> None:
    """Give an account another password; whoever is logged in with it is logged out."""
    password = passwords.hashed(_password(password_file), name)

    async def write(tx: Transaction) -> None:
        await store.change_password(tx, name, password)
        await acts.note(tx, "password changed", name)

    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await db.transact(write)
    say(f"{name} has another password, and is logged out everywhere")


@app.command()
@blocking
async def role(name: Name, role: Annotated[Role, typer.Argument(help="viewer or operator")]) -> None:
    """Give an account another role, at once."""

    async def write(tx: Transaction) -> None:
        await store.change_role(tx, name, role)
        await acts.note(tx, "role changed", f"{name}: {role.value}")

    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await db.transact(write)
    say(f"{name} is {role.value}")


@app.command()
@blocking
async def remove(name: Name) -> None:
    """Remove an account, and log it out; of somebody whom the provider named (oidc:…), the sessions."""

    async def write(tx: Transaction) -> None:
        if not name.startswith(_PROVIDERS):
            await store.remove(tx, name)
        elif not await session_store.end_named(tx, name):
            raise PermanentError(f"{name} is not logged in")
        await acts.note(tx, "user removed", name)

    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await db.transact(write)
    say(f"{name} is logged out" + ("; the provider may let them in again" if name.startswith(_PROVIDERS) else ""))


@app.command("list")
@blocking
async def list_all() -> None:
    """Show accounts, and who else is logged in."""
    rows: list[Row] = []
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        while some := await store.listed(db, rows[-1]["name"] if rows else "", _AT_ONCE):
            rows += some
        others = await session_store.of_the_provider(db)
    columns = ("name", "role", "since", "logged in")
    for name, title, found in (("accounts", "Accounts", rows), ("others", "Logged in by the provider", others)):
        cells = [(row["name"], row["role"], local(row["create_time"]), row["sessions"]) for row in found]
        show(name, title, columns, cells)
    say(f"{len(rows)} accounts")


def _password(file: Path | None) -> str:
    if file is None:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    try:
        return file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read: {brief(error)}") from None
