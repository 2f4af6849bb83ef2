"""A node of a chain that says what a test wants, over a real WebSocket; and extrinsics to put into its blocks."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from roadvault_devnet import scale

ALICE_KEY = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"


def extrinsic(account: str, nonce: int, call: bytes) -> str:
    """Return an extrinsic in the name of an account (public key, hex), as nodes have it."""
    signed = b"\x84" + bytes.fromhex(account) + b"\1" + bytes(64) + b"\0" + scale.compact(nonce) + scale.compact(0)
    return "0x" + scale.byte_string(signed + call).hex()


def order_call(cid: str) -> bytes:
    """Return the call that orders a CID."""
    return b"\x1e\x03" + scale.byte_string(cid.encode()) + scale.u64(1000) + scale.compact(0) + scale.byte_string(b"")


@dataclass
class FakeNode:
    """A chain of some blocks; `sent` extrinsics are the account's, it says."""

    blocks: int
    sent: int
    extrinsics: dict[int, list[str]] = field(default_factory=dict)
    spoil: Callable[[str, dict[str, Any]], object] = lambda _method, answer: answer
    """Makes something else of an answer: JSON, text, bytes, None to hang up, or `...` to say nothing."""

    def answer(self, method: str, params: list[Any]) -> object:
        match method:
            case "chain_getBlockHash":
                wanted = params[0]
                return [f"{one:#066x}" for one in wanted] if isinstance(wanted, list) else f"{wanted:#066x}"
            case "chain_getBlock":
                height = int(params[0], 16)
                header = {"number": hex(height)}
                return {"block": {"header": header, "extrinsics": self.extrinsics.get(height, ["0x00"])}}
            case "chain_getFinalizedHead":
                return f"{self.blocks - 1:#066x}"
            case "chain_getHeader":
                return {"number": hex(int(params[0], 16))}
            case "system_health":
                return {"isSyncing": False}
            case _:
                return self.sent

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            asked = json.loads(message.data)
            true = {"jsonrpc": "2.0", "id": asked["id"], "result": self.answer(asked["method"], asked["params"])}
            match self.spoil(asked["method"], true):
                case None:
                    break
                case bytes(content):
                    await socket.send_bytes(content)
                case str(text):
                    await socket.send_str(text)
                case dict(answer):
                    await socket.send_json(answer)
                case _:  # it says nothing
                    pass
        return socket


@asynccontextmanager
async def answering(node: FakeNode) -> AsyncIterator[str]:
    """Have a node answer; yield its URL."""
    application = web.Application()
    application.router.add_get("/{path:.*}", node.serve)
    async with TestServer(application, host="127.0.0.1") as server:
        yield f"ws://127.0.0.1:{server.port}"
