"""A market behind the IPFS Pinning Service API (https://ipfs.github.io/pinning-services-api-spec/, version 1.0.0).

Crust's W3Auth services speak it, and others. Each purchase has a mark, `<CID>.<6 random digits>`, so that after a lost
answer it is looked for, among the pins of its CID, before it is asked for again. The mark goes out both as the pin's
name and in its `meta`: a service may keep one pin for each CID (Crust's does), which keeps the name and the time of the
first request and has the requestid and the `meta` of the latest.

The service renews by itself: an archive's term has no end here. Heights are counted from the clock, one for each 6 s,
so that they can be compared with a chain's.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

import aiohttp
import orjson
import structlog
from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr, ValidationError
from yarl import URL

from roadvault_common.errors import ChainUnavailable, brief
from roadvault_common.plain import first_fault, plain
from roadvault_common.urls import without_secrets
from roadvault_common.work import lease as leases
from roadvault_crust_orderer.markets.market import (
    MOST_HEIGHT,
    EntryUnreadable,
    FileInfo,
    Found,
    Head,
    Included,
    Offer,
    Signed,
)

log = structlog.get_logger()

_BLOCK_SECONDS = 6
_LOOK_BLOCKS = 50
"""Blocks, 5 minutes, after which a request that the service does not know is known not to have come."""
_LARGEST = 8 << 30
"""Crust's MaximumFileSize, which its services pass on."""
_PLENTY = 10**30
"""Stands for the balance, which the API does not tell: the service itself refuses what is not paid for."""
_ANSWER_BYTES = 1 << 20
_AT_ONCE = 10
"""Requests under way at once."""
_NOBODYS_CID = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
"""The empty directory: asking for its pins is a cheap way to see that the service answers to our token."""

_OK = range(200, 300)
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_NO_MONEY = "INSUFFICIENT_FUNDS"
_TROUBLE = frozenset({408, 425, 429})
"""Answers about the moment, not about the request: asked again later it may be taken."""
_REFUSED = range(400, 500)

_COUNT = re.compile("[0-9]{1,9}")
"""A number of replicas that the database has room for; whatever else a service tells there is no number."""
_ALL = "queued,pinning,pinned,failed"
_ALIVE = frozenset({"queued", "pinning", "pinned"})
_MARK = "purchase"
"""The key of a purchase's mark in a pin's `meta`."""


def _as_map(value: object) -> object:
    """Read what a service gives as a JSON text, or as null, where the API has a map."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _with_height(created: datetime) -> datetime:
    """Refuse a time that is no height, and take one without a zone for UTC."""
    known = created if created.tzinfo else created.replace(tzinfo=UTC)
    if not 0 <= known.timestamp() <= MOST_HEIGHT * _BLOCK_SECONDS:
        raise ValueError("the time is out of range")
    return known


_Map = Annotated[dict[str, object], BeforeValidator(_as_map)]


class _Pin(BaseModel):
    cid: str
    name: str | None = None
    meta: _Map = {}


class PinStatus(BaseModel):
    """One pin, as the service tells it: no more of it than what is needed here, since services differ in the rest."""

    status: Literal["queued", "pinning", "pinned", "failed"]
    created: Annotated[datetime, AfterValidator(_with_height)]
    pin: _Pin
    info: _Map = {}

    @property
    def block(self) -> int:
        """When the pin was first asked for, as a height."""
        return int(self.created.timestamp()) // _BLOCK_SECONDS

    @property
    def replicas(self) -> int:
        """How many replicas the service tells of; what it has pinned is one at least, though most tell no number."""
        value = self.info.get("replicas", 0)
        told = int(value) if isinstance(value, int | str) and _COUNT.fullmatch(str(value)) else 0
        return max(told, int(self.status == "pinned"))

    def is_of(self, mark: str) -> bool:
        """Tell whether it is what the purchase with this mark asked for."""
        return mark in (self.pin.meta.get(_MARK), self.pin.name)


class _Results(BaseModel):
    results: list[PinStatus]


class PinningMarket:
    """One account with a pinning service; implements `market.Market`. Use `PinningMarket.open`.

    A refused token is an outage, since one wrong setting must not fail every archive.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, origins: list[str]) -> None:
        self._session = session
        self._url = url
        self._name = URL(url).host or "pinning service"
        self._origins = origins
        self._refusals: dict[str, str] = {}
        """By mark, why the service refused a purchase for good. Lost with the process: then it is asked once more."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, bearer: SecretStr, origins: list[str], timeout_seconds: float
    ) -> AsyncIterator["PinningMarket"]:
        """Make a client; `origins` are multiaddrs of our node, so that the service finds the archive."""
        headers = {"Authorization": f"Bearer {bearer.get_secret_value()}"}
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers, timeout=timeout) as session:
            yield cls(session, url, origins)

    @property
    def account(self) -> str:
        """The service's host: its token stands for the account."""
        return self._name

    async def identity(self) -> str:
        """Return the service's host."""
        return self._name

    async def ping(self) -> tuple[str, int]:
        """Return the service's host and the present as a height; ChainUnavailable unless it answers to our token."""
        try:
            await self._pins(_NOBODYS_CID)
        except EntryUnreadable as error:
            raise ChainUnavailable(str(error)) from error
        return self._name, (await self.head()).height

    async def head(self) -> Head:
        """Return the present as a height."""
        return Head(int(time.time()) // _BLOCK_SECONDS, "")

    async def head_to_look_at(self) -> Head:
        """Return the present as a height."""
        return await self.head()

    async def file(self, cid: str, at: Head) -> FileInfo | None:  # noqa: ARG002 - a service knows the present only
        """Return what the service knows of a CID, or None; its size and its end it does not tell."""
        alive = [pin for pin in await self._pins(cid) if pin.status in _ALIVE]
        return FileInfo(0, alive[0].block, None, max(pin.replicas for pin in alive)) if alive else None

    async def files(self, cids: Sequence[str], at: Head) -> dict[str, Found]:
        """Return what the service knows of many CIDs, each asked for by itself: it tells pins by pages, not by CIDs.

        What fails of one, while the service is well otherwise, is that CID's trouble alone.
        """
        slots, well = asyncio.Semaphore(_AT_ONCE), False

        async def one(cid: str) -> Found:
            nonlocal well
            async with slots:
                try:
                    return await self.file(cid, at)
                except (EntryUnreadable, ChainUnavailable) as error:
                    if not well:
                        await self.ping()
                        well = True
                    return error

        looks = [asyncio.ensure_future(one(cid)) for cid in cids]
        try:
            return dict(zip(cids, await asyncio.gather(*looks), strict=True))
        finally:
            for look in looks:
                look.cancel()

    async def offer(self, cid: str, size: int) -> Offer:  # noqa: ARG002 - a service has no price list
        """Return an offer without a price: the service's bill is its own affair."""
        return Offer(0, 0, 0, fee=0, balance=_PLENTY, market_open=True, largest=_LARGEST)

    async def sign(self, cid: str, size: int) -> Signed:  # noqa: ARG002 - a service measures by itself
        """Make a request with a mark of its own, which stands for its hash; nothing is sent."""
        head = await self.head()
        mark = f"{cid}.{secrets.token_hex(3)}"
        body = json.dumps({"cid": cid, "name": mark, "origins": self._origins, "meta": {_MARK: mark}})
        return Signed(self.account, 0, head.height, head.height + _LOOK_BLOCKS, mark, body)

    async def submit(self, extrinsic: str) -> str | None:
        """Ask for the pin unless the service has it already; None if it has it now, else why it refused."""
        mark = str(json.loads(extrinsic)["name"])
        if await self._pin_of(mark) is not None:
            return None
        status, answer = await self._call("POST", {}, extrinsic)
        if status in _OK:
            return None
        self._refusals[mark] = self._reason(status, answer)
        return self._refusals[mark]

    async def find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:
        """Look for a request by its mark; one that the service refused for good has that as its error."""
        pin = await self._pin_of(extrinsic_hash)
        if pin is not None:
            # The service may tell when the CID was first asked for, which can be a purchase of long ago.
            block = min(max(pin.block, first), last)
            return Included(block, "PinFailed" if pin.status == "failed" else None)
        refusal = self._refusals.pop(extrinsic_hash, None)
        return None if refusal is None else Included(last, refusal)

    async def _pin_of(self, mark: str) -> PinStatus | None:
        cid, _, _ = mark.partition(".")
        return next((pin for pin in await self._pins(cid) if pin.is_of(mark)), None)

    async def _pins(self, cid: str) -> list[PinStatus]:
        """List a CID's pins in any state, newest first.

        Raises:
            EntryUnreadable: The answer makes no sense, which may be this CID's trouble alone.
        """
        status, answer = await self._call("GET", {"cid": cid, "status": _ALL, "limit": "10"}, None)
        if status not in _OK:
            raise EntryUnreadable(f"the pinning service: {self._reason(status, answer)}")
        try:
            pins = _Results.model_validate_json(answer).results
        except ValidationError as error:
            raise EntryUnreadable(f"the pinning service's answer makes no sense: {first_fault(error)}") from None
        if any(pin.pin.cid != cid for pin in pins):
            raise EntryUnreadable("the pinning service's answer is about another CID")
        return pins

    async def _call(self, method: str, query: dict[str, str], body: str | None) -> tuple[int, bytes]:
        """Return the status, of success or of a refusal for good, and the answer."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, "pins", params=query, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, answer = response.status, await _read(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ChainUnavailable(f"the pinning service can't be reached: {brief(error)}") from error
        leases.note_progress()
        reason = self._reason(status, answer)
        if status == _UNAUTHORIZED or (status == _FORBIDDEN and _NO_MONEY not in reason):
            log.error("the pinning service refuses the token", status=status)
            # Its own words stay out of this: they may quote the token.
            raise ChainUnavailable(f"the pinning service refuses the token ({status}): see ROADVAULT_PINNING_TOKEN")
        if status not in _OK and (status in _TROUBLE or status not in _REFUSED):
            raise ChainUnavailable(f"the pinning service: {reason}")
        return status, answer

    def _reason(self, status: int, answer: bytes) -> str:
        try:
            error = orjson.loads(answer)["error"]
            return plain(without_secrets(f"{status} {error['reason']}: {error.get('details', '')}", self._url)[:300])
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"HTTP {status}"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return an answer, of one that is too long the beginning, which makes no sense."""
    answer = bytearray()
    async for piece in response.content.iter_any():
        answer += piece
        if len(answer) > _ANSWER_BYTES:
            break
    return bytes(answer[:_ANSWER_BYTES])
