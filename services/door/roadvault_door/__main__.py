"""Wires the door together and runs it."""

import resource
from contextlib import AsyncExitStack

from roadvault_common.errors import SettingsError
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.process import app, log
from roadvault_common.sql.db import Database
from roadvault_common.web.connections import Limits
from roadvault_common.web.links import Links
from roadvault_common.web.listener import Listener
from roadvault_door.config import DoorSettings
from roadvault_door.handlers import answer_plainly, link_routes
from roadvault_door.service import Door
from roadvault_door.watching import Player

_OTHER_DESCRIPTORS = 100
"""What the door opens besides its clients' connections and their files: those to the database, and of /metrics."""


async def serve() -> None:
    """Run the door until it is told to stop."""
    settings = DoorSettings()
    log.configure("door", settings)
    check_descriptors(settings.public_connections)
    async with (
        Database.open(settings.database_url, settings.database_connections, read_only=True) as db,
        AsyncExitStack() as stack,
    ):
        player = await stack.enter_async_context(Player.open(settings)) if settings.stream_url else None
        vault = Vault(settings.data_dir, settings.store)
        door, identity = (
            Door(db, vault, Links(settings.link_secret)),
            Identity(db, vault.root, vault.store, only_looks=True),
        )
        public = Listener(
            link_routes(settings, door, player), settings.public_host, settings.public_port, limits(settings)
        )
        checks, answers = {"disk": door.look_at_disk}, [answer_plainly(settings)]
        await app.run(settings, db, [], checks, (), answers, public=public, identity=identity)


def limits(settings: DoorSettings) -> Limits:
    """Return what the public listener takes."""
    return Limits(
        settings.public_header_seconds,
        settings.public_idle_seconds,
        settings.public_connections,
        settings.public_peer_connections,
    )


def check_descriptors(connections: int) -> None:
    """See that this process may open what so many connections, each with a file, need.

    Raises:
        SettingsError: It may not; a listener without descriptors left would take nobody.
    """
    needed, allowed = 2 * connections + _OTHER_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if needed > allowed:
        raise SettingsError(
            f"ROADVAULT_PUBLIC_CONNECTIONS={connections} needs {needed} file descriptors, and this process may open"
            f" {allowed}: raise its limit (ulimit -n), or take fewer connections"
        )


def main() -> None:
    """Start the process (console script `roadvault-door`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
