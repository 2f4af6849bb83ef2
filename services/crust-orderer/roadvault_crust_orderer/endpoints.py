"""The nodes of one chain, of which one is asked at a time. The connection blocks, and is used from one thread only."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from substrateinterface import SubstrateInterface
from substrateinterface.exceptions import SubstrateRequestException
from websocket import WebSocketException

from roadvault_common.errors import ChainUnavailable, brief

log = structlog.get_logger()

SS58_PREFIX = 66
"""Crust's address type (its `system_properties`)."""
UNREACHABLE = (OSError, WebSocketException, json.JSONDecodeError)
"""What a broken connection raises; JSON ends early on one that breaks in between."""

STUCK_SECONDS = 600
"""A finalized head that does not move for so long is that of a node that has lost touch: a block takes 6 s."""

T = TypeVar("T")


class CannotTell(ChainUnavailable):
    """A node can't tell what became of an extrinsic that may be in block `height` or later; `why` names the reason."""

    def __init__(self, height: int, why: str) -> None:
        super().__init__(f"the Crust node can't tell what became of an order: {why} at block {height}")
        self.height = height
        self.why = why


class Endpoints:
    """One or several nodes (`urls`, separated by commas), which stand in for each other."""

    def __init__(self, urls: str, timeout_seconds: float) -> None:
        self._urls = [url.strip() for url in urls.split(",") if url.strip()]
        self._timeout = timeout_seconds
        self._turn = 0
        self._genesis: str | None = None
        self._connected: SubstrateInterface | None = None
        self.heads: dict[str, tuple[int, float]] = {}
        """By URL, the node's latest finalized height, and when it was first seen (monotonic, seconds)."""

    def ask(self, work: Callable[[], T]) -> T:
        """Do `work`, which talks to `substrate`, at one node; after a failure all of it at the next.

        Whatever a node or the client does wrong becomes ChainUnavailable, once each endpoint had its turn.
        """
        failures: list[ChainUnavailable] = []
        for _ in self._urls:
            try:
                return work()
            except ChainUnavailable as error:
                failures.append(error)
            except SubstrateRequestException as error:
                failures.append(ChainUnavailable(f"the Crust node answers with an error: {brief(error)}"))
            except UNREACHABLE as error:
                failures.append(ChainUnavailable(f"the Crust node can't be reached: {brief(error)}"))
            except Exception as error:
                # The client has no error of its own for an answer that it can't read.
                log.exception("the Crust node's answer can't be read")
                failures.append(ChainUnavailable(f"the Crust node's answer can't be read: {brief(error)}"))
            self._turn_to_next()
        # That a node can't tell is an answer; to wait for one that is away may be to wait for ever.
        told = [failure for failure in failures if isinstance(failure, CannotTell)]
        raise told[0] if told else ChainUnavailable("; ".join(map(str, failures)) or "there is no Crust node to ask")

    @property
    def substrate(self) -> SubstrateInterface:
        """The connection to the node whose turn it is."""
        if self._connected is None:
            self._connected = self._connect(self._url)
            self._check_chain(self._connected, self._url)
        return self._connected

    @property
    def _url(self) -> str:
        return self._urls[self._turn % len(self._urls)]

    def _connect(self, url: str) -> SubstrateInterface:
        connected = SubstrateInterface(
            url,
            ss58_format=SS58_PREFIX,
            type_registry_preset="crust",
            use_remote_preset=False,
            # A connection made anew in the midst of some work could lead to another node behind the same name.
            auto_reconnect=False,
            ws_options={"timeout": self._timeout} if url.startswith("ws") else None,
        )
        if url.startswith("http"):
            session = connected.transport.session
            session.request = partial(session.request, timeout=self._timeout)
        return connected

    def _check_chain(self, substrate: SubstrateInterface, url: str) -> None:
        """See that another endpoint is a node of the same chain: what was bought there would not count here."""
        genesis = substrate.rpc_request("chain_getBlockHash", [0])["result"]
        if genesis is None or genesis != (self._genesis or genesis):
            node = urlsplit(url).netloc.rpartition("@")[2]  # no more of the URL: a provider's key may be in it
            log.error("a node is passed over: it is of another chain than the others", node=node, genesis=genesis)
            raise ChainUnavailable(f"ROADVAULT_CRUST_URL: {node} is a node of another chain than the others")
        self._genesis = str(genesis)

    def genesis(self) -> str:
        """Return the hash of the chain's first block."""
        return self._genesis or str(self.substrate.rpc_request("chain_getBlockHash", [0])["result"])

    def see_head(self, height: int) -> None:
        """Note the finalized height of the node whose turn it is.

        Raises:
            ChainUnavailable: It has not moved for too long. That goes by no clock but this process's own.
        """
        seen, since = self.heads.get(self._url, (None, 0.0))
        if seen != height:
            self.heads[self._url] = height, time.monotonic()
        elif (still := time.monotonic() - since) > STUCK_SECONDS:
            raise ChainUnavailable(
                f"the Crust node's finalized head {height} has not moved for {still / 60:.0f} minutes"
            )

    def _turn_to_next(self) -> None:
        self.close()
        self._turn += 1

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        connected, self._connected = self._connected, None
        if connected is not None:
            try:
                connected.close()
            except (OSError, WebSocketException):
                return  # it was broken already
