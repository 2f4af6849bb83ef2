"""A pinning service for a test, kept in memory.

By default it follows the published OpenAPI of the IPFS Pinning Service API, 1.0.0. With `like_crusts` it behaves as
Crust's own (crustio/ipfs-w3auth-pinning-service) in what that one does otherwise: one pin for each CID, whose name and
creation time stay those of the first request while requestid, status and meta become those of the latest; `requestId`
and a null `info`, as its older versions answer; a meta that comes back as text; an unknown request is a 400.
"""

import asyncio
import json
import secrets
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

TOKEN = "a bearer token"
_REQUIRED = {"cid"}
_KNOWN = {"cid", "name", "origins", "meta"}
_STATES = {"queued", "pinning", "pinned", "failed"}

Pin = dict[str, Any]


class PinningService:
    """Serves /pins; the attributes make it misbehave."""

    def __init__(self, *, like_crusts: bool = False) -> None:
        self.like_crusts = like_crusts
        self.pins: list[Pin] = []
        self.requests = 0
        """Requests for a pin that were taken: what is paid for."""
        self.lose_answers = 0
        self.answer_with: int | None = None
        self.reason = "INTERNAL_SERVER_ERROR"
        self.refuse: int | None = None
        """Answers requests for a pin, and nothing else, with this status."""
        self.hang = False
        self.odd: dict[str, str] = {}
        """What is answered instead, of one CID alone."""
        self.troubled: dict[str, int] = {}
        """The status of an answer about one CID."""
        self.seconds = 0.0
        """How long an answer takes."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/pins", self._list), web.post("/pins", self._add), web.get("/pins/{id}", self._get)]

    def set_status(self, status: str, **info: object) -> None:
        for pin in self.pins:
            pin["status"] = status
            pin["info"] = info

    def backdate(self, created: str) -> None:
        """Have the pins been asked for at another time."""
        for pin in self.pins:
            pin["created"] = created

    async def _add(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        body = await request.json()
        if not _REQUIRED <= body.keys() <= _KNOWN or len(body.get("name", "")) > 255:
            return _error(400, "BAD_REQUEST")
        pin = self._take(body)
        if self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self._shown(pin), status=202)

    def _take(self, body: dict[str, Any]) -> Pin:
        self.requests += 1
        known = next((pin for pin in self.pins if pin["pin"]["cid"] == body["cid"]), None)
        asked = {"requestid": secrets.token_hex(8), "status": "queued"}
        if known is not None and self.like_crusts:
            known |= asked
            known["pin"] |= {"meta": body["meta"], "origins": body["origins"]}
            return known
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        delegates = ["/ip4/203.0.113.1/tcp/4001/p2p/QmServicePeerId"]
        pin = {**asked, "created": created, "pin": body, "delegates": delegates}
        self.pins.append(pin)
        return pin

    def _shown(self, pin: Pin) -> Pin:
        if not self.like_crusts:
            return pin
        shown = {"requestId" if name == "requestid" else name: value for name, value in pin.items()}
        return {**shown, "info": pin.get("info"), "pin": {**pin["pin"], "meta": json.dumps(pin["pin"]["meta"])}}

    async def _list(self, request: web.Request) -> web.StreamResponse:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        query = request.query
        await asyncio.sleep(self.seconds)
        if query.get("cid") in self.troubled:
            return _error(self.troubled[query["cid"]], "TROUBLE")
        if query.get("cid") in self.odd:
            return await _in_two_pieces(request, self.odd[query["cid"]].encode())
        states = set(query.get("status", "pinned").split(","))
        if not states <= _STATES or not 1 <= int(query.get("limit", "10")) <= 1000:
            return _error(400, "BAD_REQUEST")
        found = [pin for pin in reversed(self.pins) if pin["status"] in states]
        if "before" in query:
            before = datetime.fromisoformat(query["before"])
            found = [pin for pin in found if datetime.fromisoformat(pin["created"]) < before]
        if "cid" in query:
            found = [pin for pin in found if pin["pin"]["cid"] in query["cid"].split(",")]
        if "name" in query:
            found = [pin for pin in found if pin["pin"].get("name") == query["name"]]
        shown = [self._shown(pin) for pin in found[: int(query.get("limit", "10"))]]
        return await _in_two_pieces(request, json.dumps({"count": len(found), "results": shown}).encode())

    async def _get(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        found = next((pin for pin in self.pins if pin["requestid"] == request.match_info["id"]), None)
        unknown = 400 if self.like_crusts else 404
        return refusal or (_error(unknown, "NOT_FOUND") if found is None else web.json_response(self._shown(found)))

    async def _refusal(self, request: web.Request) -> web.Response | None:
        if self.hang:
            await asyncio.sleep(30)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "UNAUTHORIZED")
        if self.answer_with is not None:
            return _error(self.answer_with, self.reason)
        if self.refuse is not None and request.method == "POST":
            return _error(self.refuse, self.reason)
        return None


async def _in_two_pieces(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer as a network may deliver it, not in one piece."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for piece in (body[:20], body[20:]):
        await response.write(piece)
        await asyncio.sleep(0.01)
    await response.write_eof()
    return response


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": {"reason": reason, "details": "as the specification says"}}, status=status)
