"""The nodes of one chain, of which one is asked at a time. The connection blocks, and is used from one thread only.

A provider's key may be in a node's URL, and libraries quote URLs in their errors: what is shown of a node is made here.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from traceback import extract_tb
from typing import TypeVar

import structlog
from substrateinterface import SubstrateInterface
from substrateinterface.exceptions import SubstrateRequestException
from websocket import WebSocketBadStatusException, WebSocketException

from roadvault_common.errors import ChainUnavailable, RoadVaultError, brief
from roadvault_common.urls import host_of, without_secrets
from roadvault_common.web.w3auth import SS58_PREFIX

log = structlog.get_logger()
logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings quote the path

UNREACHABLE = (OSError, WebSocketException, json.JSONDecodeError)
"""What a broken connection raises; JSON ends early on one that breaks in between."""

STUCK_SECONDS = 600
"""A finalized head that does not move for so long is that of a node that has lost touch: a block takes 6 s."""

KEYS_AT_ONCE = 100
"""Storage keys in one call. A node answers with 15 MB at most; a file of 200 replicas takes 56 KB in hexadecimal."""

T = TypeVar("T")


class CannotTell(ChainUnavailable):
    """A node can't tell what became of an extrinsic that may be in block `height` or later; `why` names the reason."""

    def __init__(self, height: int, why: str) -> None:
        super().__init__(f"the Crust node can't tell what became of an order: {why} at block {height}")
        self.height = height
        self.why = why


@dataclass
class _Chain:
    """The chain that all connections of a client have to lead to: that of the first node that was reached."""

    genesis: str | None = None


class Endpoints:
    """One or several nodes (`urls`, separated by commas), which stand in for each other."""

    def __init__(self, urls: str, timeout_seconds: float, all_seconds: float) -> None:
        """Let a node be silent for `timeout_seconds`; asking all of them in turn takes no more than `all_seconds`."""
        self._urls = [url.strip() for url in urls.split(",") if url.strip()]
        self._silence = timeout_seconds
        self._timeout = min(timeout_seconds, all_seconds / max(len(self._urls), 1))
        self._turn = 0
        self._chain = _Chain()
        self._connected: SubstrateInterface | None = None
        self.keys_at_once = KEYS_AT_ONCE
        """For how many storage keys the node whose turn it is is asked in one call: fewer once it has refused."""
        self.heads: dict[str, tuple[int, float]] = {}
        """By URL, the node's latest finalized height, and when it was first seen (monotonic, seconds)."""

    def anew(self) -> "Endpoints":
        """Return the same nodes without a connection, for another thread; the next node has its turn."""
        other = Endpoints(",".join(self._urls), self._timeout, self._timeout * len(self._urls))
        other._turn, other._chain, other.heads = self._turn + 1, self._chain, dict(self.heads)
        return other

    def beside(self, all_seconds: float) -> "Endpoints":
        """Return the same nodes of the same chain, for another thread that asks meanwhile."""
        other = Endpoints(",".join(self._urls), self._silence, all_seconds)
        other._chain = self._chain
        return other

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
                failures.append(
                    ChainUnavailable(f"the Crust node answers with an error: {self._host}: {self.told(error)}")
                )
            except UNREACHABLE as error:
                failures.append(ChainUnavailable(f"the Crust node can't be reached: {self._host}: {_trouble(error)}"))
            except Exception as error:  # noqa: BLE001 - the client has no error of its own for what it can't read
                words, place = self.told(error), extract_tb(error.__traceback__)[-1]
                # Without the traceback, which ends with the error's own words.
                log.error("the Crust node's answer can't be read", error=words, at=f"{place.filename}:{place.lineno}")  # noqa: TRY400
                failures.append(ChainUnavailable(f"the Crust node's answer can't be read: {self._host}: {words}"))
            self._turn_to_next()
        # That a node can't tell is an answer; to wait for one that is away may be to wait for ever.
        told = [failure for failure in failures if isinstance(failure, CannotTell)]
        raise told[0] if told else ChainUnavailable("; ".join(map(str, failures)) or "there is no Crust node to ask")

    def told(self, error: Exception) -> str:
        """Return an error of the client or of the node whose turn it is in one line, without what is secret of URLs."""
        return brief(RoadVaultError(f"{type(error).__name__}: {without_secrets(str(error), self._url)}"))

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

    @property
    def _host(self) -> str:
        return host_of(self._url)

    def _connect(self, url: str) -> SubstrateInterface:
        connected = SubstrateInterface(
            url,
            ss58_format=SS58_PREFIX,
            type_registry_preset="crust",
            use_remote_preset=False,
            # A connection made anew in the midst of some work could lead to another node behind the same name.
            auto_reconnect=False,
            # Checking UTF-8 in Python takes seconds for a long answer; it is decoded, and thereby checked, anyway.
            ws_options={"timeout": self._timeout, "skip_utf8_validation": True} if url.startswith("ws") else None,
        )
        if url.startswith("http"):
            session = connected.transport.session
            session.request = partial(session.request, timeout=self._timeout)
        return connected

    def _check_chain(self, substrate: SubstrateInterface, url: str) -> None:
        """See that another endpoint is a node of the same chain: what was bought there would not count here."""
        genesis = substrate.rpc_request("chain_getBlockHash", [0])["result"]
        if genesis is None or genesis != (self._chain.genesis or genesis):
            node = host_of(url)
            log.error("a node is passed over: it is of another chain than the others", node=node, genesis=genesis)
            raise ChainUnavailable(f"ROADVAULT_CRUST_URL: {node} is a node of another chain than the others")
        self._chain.genesis = str(genesis)

    def genesis(self) -> str:
        """Return the hash of the chain's first block."""
        return self._chain.genesis or str(self.substrate.rpc_request("chain_getBlockHash", [0])["result"])

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
        self.keys_at_once = KEYS_AT_ONCE
        if connected is not None:
            try:
                connected.close()
            except (OSError, WebSocketException):
                return  # it was broken already


def _trouble(error: Exception) -> str:
    """Name what is wrong with a connection, without the words of libraries, which quote the URL."""
    name, cause = type(error).__name__, error.__context__
    if isinstance(error, WebSocketBadStatusException):
        return f"{name}: HTTP {error.status_code}"
    words = error.strerror if isinstance(error, OSError) and isinstance(error.errno, int) else None
    while words is None and cause is not None:
        words = cause.strerror if isinstance(cause, OSError) and isinstance(cause.errno, int) else None
        cause = cause.__context__
    return f"{name}: {words}" if words else name
