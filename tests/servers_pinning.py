"""A pinning service for a test: the published OpenAPI of the IPFS Pinning Service API, 1.0.0, kept in memory."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

TOKEN = "a bearer token"
_REQUIRED = {"cid"}
_KNOWN = {"cid", "name", "origins", "meta"}
_STATES = {"queued", "pinning", "pinned", "failed"}


class PinningService:
    """Serves /pins as the specification has it; the attributes make it misbehave."""

    def __init__(self) -> None:
        self.pins: list[dict[str, Any]] = []
        self.lose_answers = 0
        self.answer_with: int | None = None
        self.hang = False

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/pins", self._list), web.post("/pins", self._add), web.get("/pins/{id}", self._get)]

    def set_status(self, status: str, **info: object) -> None:
        for pin in self.pins:
            pin["status"] = status
            pin["info"] = info

    async def _add(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        body = await request.json()
        if not _REQUIRED <= body.keys() <= _KNOWN or len(body.get("name", "")) > 255:
            return _error(400, "BAD_REQUEST")
        pin = {
            "requestid": secrets.token_hex(8),
            "status": "queued",
            "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "pin": body,
            "delegates": ["/ip4/203.0.113.1/tcp/4001/p2p/QmServicePeerId"],
        }
        self.pins.append(pin)
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(pin, status=202)

    async def _list(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        query = request.query
        states = set(query.get("status", "pinned").split(","))
        if not states <= _STATES or not 1 <= int(query.get("limit", "10")) <= 1000:
            return _error(400, "BAD_REQUEST")
        found = [pin for pin in reversed(self.pins) if pin["status"] in states]
        if "cid" in query:
            found = [pin for pin in found if pin["pin"]["cid"] in query["cid"].split(",")]
        if "name" in query:
            found = [pin for pin in found if pin["pin"].get("name") == query["name"]]
        return web.json_response({"count": len(found), "results": found[: int(query.get("limit", "10"))]})

    async def _get(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        found = next((pin for pin in self.pins if pin["requestid"] == request.match_info["id"]), None)
        return refusal or (_error(404, "NOT_FOUND") if found is None else web.json_response(found))

    async def _refusal(self, request: web.Request) -> web.Response | None:
        if self.hang:
            await asyncio.sleep(30)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "UNAUTHORIZED")
        if self.answer_with is not None and (self.answer_with != 409 or request.method == "POST"):
            return _error(
                self.answer_with, "INSUFFICIENT_FUNDS" if self.answer_with == 409 else "INTERNAL_SERVER_ERROR"
            )
        return None


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": {"reason": reason, "details": "as the specification says"}}, status=status)
