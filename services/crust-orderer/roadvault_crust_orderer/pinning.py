"""A market behind the IPFS Pinning Service API (https://ipfs.github.io/pinning-services-api-spec/, version 1.0.0).

Crust's W3Auth services speak it, and others. A pin's name identifies one purchase, so that after a lost answer it is
looked for before it is asked for again. The service renews by itself: an archive's term has no end here. Heights are
counted from the clock, one for each 6 s, so that they can be compared with a chain's.
"""

import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

import aiohttp
from pydantic import BaseModel, SecretStr, ValidationError
from yarl import URL

from roadvault_common.errors import ChainUnavailable, PermanentError, brief
from roadvault_crust_orderer.market import FileInfo, Head, Included, Offer, Signed

_BLOCK_SECONDS = 6
_LOOK_BLOCKS = 50
"""Blocks, 5 minutes, after which a request that the service does not know is known not to have come."""
_LARGEST = 8 << 30
"""Crust's MaximumFileSize, which its services pass on."""
_PLENTY = 10**30
"""Stands for the balance, which the API does not tell: the service itself refuses what is not paid for."""
_ANSWER_BYTES = 1 << 20
_UNAUTHORIZED = frozenset({401, 403})
_CONFLICT = 409
_TOO_MANY = 429
_SERVER_ERROR = 500
_OK = 400

Status = Literal["queued", "pinning", "pinned", "failed"]
_ALIVE = frozenset({"queued", "pinning", "pinned"})


class _Pin(BaseModel):
    cid: str
    name: str | None = None


class PinStatus(BaseModel):
    """One pin, as the service tells it."""

    requestid: str
    status: Status
    created: datetime
    pin: _Pin
    info: dict[str, object] = {}

    @property
    def block(self) -> int:
        """When it was asked for, as a height."""
        return int(self.created.timestamp()) // _BLOCK_SECONDS

    @property
    def replicas(self) -> int:
        """How many replicas the service tells of, if it does."""
        value = self.info.get("replicas", 0)
        return int(value) if isinstance(value, int | str) and str(value).isdigit() else 0


class _Results(BaseModel):
    count: int
    results: list[PinStatus]


class PinningMarket:
    """One account with a pinning service; implements `market.Market`. Use `PinningMarket.open`."""

    def __init__(self, session: aiohttp.ClientSession, name: str, origins: list[str]) -> None:
        self._session = session
        self._name = name
        self._origins = origins

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, bearer: SecretStr, origins: list[str], timeout_seconds: float
    ) -> AsyncIterator["PinningMarket"]:
        """Make a client; `origins` are multiaddrs of our node, so that the service finds the archive."""
        headers = {"Authorization": f"Bearer {bearer.get_secret_value()}"}
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers, timeout=timeout) as session:
            yield cls(session, URL(url).host or "pinning service", origins)

    @property
    def account(self) -> str:
        """The service's host: its token stands for the account."""
        return self._name

    async def ping(self) -> None:
        """Raise ChainUnavailable unless the service answers to our token."""
        await self._pins(limit="1")

    async def head(self) -> Head:
        """Return the present as a height."""
        return Head(int(time.time()) // _BLOCK_SECONDS, "")

    async def file(self, cid: str, at: Head) -> FileInfo | None:  # noqa: ARG002 - a service knows the present only
        """Return what the service knows of a CID, or None; its size and its end it does not tell."""
        alive = [pin for pin in await self._pins(cid=cid) if pin.status in _ALIVE]
        return FileInfo(0, alive[0].block, None, max(pin.replicas for pin in alive)) if alive else None

    async def offer(self, cid: str, size: int) -> Offer:  # noqa: ARG002 - a service has no price list
        """Return an offer without a price: the service's bill is its own affair."""
        return Offer(price=0, fee=0, balance=_PLENTY, market_open=True, largest=_LARGEST)

    async def balance(self) -> int:
        """Return 0: the API does not tell."""
        return 0

    async def sign(self, cid: str, size: int) -> Signed:  # noqa: ARG002 - a service measures by itself
        """Make a request with a name of its own; nothing is sent."""
        head = await self.head()
        name = f"0x{secrets.token_hex(32)}"
        body = json.dumps({"cid": cid, "name": name, "origins": self._origins, "meta": {}})
        return Signed(self.account, 0, head.height, head.height + _LOOK_BLOCKS, name, body)

    async def submit(self, extrinsic: str) -> str | None:
        """Ask for the pin unless the service has it already; None if it has it now, else why it refused."""
        name = json.loads(extrinsic)["name"]
        if await self._pins(name=name):
            return None
        status, answer = await self._call("POST", {}, extrinsic)
        if status == _CONFLICT or _OK <= status < _SERVER_ERROR:
            return _reason(status, answer)
        return None

    async def find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:  # noqa: ARG002 - by name
        """Look for a request by its name."""
        found = await self._pins(name=extrinsic_hash)
        if not found:
            return None
        return Included(found[0].block, "PinFailed" if found[0].status == "failed" else None)

    async def _pins(self, **query: str) -> list[PinStatus]:
        """List pins in any state, newest first."""
        parameters = {"status": "queued,pinning,pinned,failed", "limit": "10", **query}
        status, answer = await self._call("GET", parameters, None)
        if status >= _OK:
            raise ChainUnavailable(f"the pinning service: {_reason(status, answer)}")
        try:
            return _Results.model_validate_json(answer).results
        except ValidationError as error:
            raise ChainUnavailable(
                f"the pinning service's answer makes no sense: {error.error_count()} errors"
            ) from None

    async def _call(self, method: str, query: dict[str, str], body: str | None) -> tuple[int, bytes]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(method, "pins", params=query, data=body, headers=headers) as response:
                status, answer = response.status, await response.content.read(_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ChainUnavailable(f"the pinning service can't be reached: {brief(error)}") from error
        if status in _UNAUTHORIZED:
            raise PermanentError("the pinning service refuses the token: see ROADVAULT_PINNING_TOKEN")
        if status == _TOO_MANY or status >= _SERVER_ERROR:
            raise ChainUnavailable(f"the pinning service: {_reason(status, answer)}")
        return status, answer


def _reason(status: int, answer: bytes) -> str:
    try:
        error = json.loads(answer)["error"]
        return f"{status} {error['reason']}: {error.get('details', '')}"[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {status}"
