"""Delegated routing (https://specs.ipfs.tech/routing/http-routing-v1/), and a node that looks for providers there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from free_ports import pick_free

from roadvault_stack.kubo import Kubo
from roadvault_stack.ports import HOST


@dataclass
class Routing:
    """Tells who provides what: roots alone, as those who store archives announce."""

    url: str
    roots: dict[str, Kubo] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The CIDs that providers were looked for of."""

    async def providers(self, request: web.Request) -> web.Response:
        """Answer a node."""
        cid = request.match_info["cid"]
        self.asked.append(cid)
        node = self.roots.get(cid)
        found = [] if node is None else [{"Schema": "peer", "ID": node.peer_id, "Addrs": [node.swarm_address]}]
        return web.json_response({"Providers": found})


@asynccontextmanager
async def routing() -> AsyncIterator[Routing]:
    """Run one on loopback."""
    (port,) = pick_free(1)
    one, app = Routing(f"http://{HOST}:{port}"), web.Application()
    app.router.add_get("/routing/v1/providers/{cid}", one.providers)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield one
    finally:
        await runner.cleanup()


class Routed(Kubo):
    """A node that asks there, and whose gateway gives up what does not come for a second."""

    router = ""

    def prepare(self) -> None:
        """As of every node; then where it looks for providers."""
        super().prepare()
        config = self._config()
        config["Routing"] = {"Type": "delegated", "DelegatedRouters": [self.router]}
        config["Provide"] = {"Enabled": False}  # which Kubo asks for with such routing
        config["Gateway"]["RetrievalTimeout"] = "1s"
        (self.home / "config").write_text(json.dumps(config))
