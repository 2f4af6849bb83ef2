"""How a Kubo node is called over its HTTP RPC API; what there is to call is in `rpc.py`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import orjson
from pydantic import SecretStr

from roadvault_common.errors import IpfsAway, IpfsUnavailable, brief
from roadvault_common.ipfs.answers import PLAIN, UNREACHABLE, connector, read_body, refused, said, see_token
from roadvault_common.urls import without_secrets

Parameters = Mapping[str, str | Sequence[str]]

_ANSWER_BYTES = 1 << 20
"""No answer of the RPC API that is asked for here is longer."""
_CHECK_SECONDS = 10.0
"""A node that takes longer for one small block is in trouble, whatever it is asked."""


class Rpc:
    """Calls one node, and reads what it answers."""

    def __init__(self, session: aiohttp.ClientSession, stall_seconds: float) -> None:
        self._session = session
        self._stall_seconds = stall_seconds
        self.soon = aiohttp.ClientTimeout(total=min(_CHECK_SECONDS, stall_seconds))
        """For what every node answers at once."""

    @classmethod
    @asynccontextmanager
    async def open(cls, rpc_url: str, stall_seconds: float, token: SecretStr | None = None) -> AsyncIterator[Self]:
        """Make a client; `stall_seconds` is how long the node may be silent, `token` what it asks for."""
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=stall_seconds)
        base = rpc_url.rstrip("/") + "/api/v0/"
        async with aiohttp.ClientSession(
            base,
            connector=connector(stall_seconds),
            timeout=timeout,
            headers={**PLAIN, **headers},
            auto_decompress=False,
        ) as session:
            yield cls(session, stall_seconds)

    async def call_unless(self, words: str, command: str, parameters: Parameters, **more: Any) -> bytes | None:  # noqa: ANN401
        """As `call`, but return None if the node says `words`."""
        try:
            return await self.call(command, parameters, **more)
        except IpfsUnavailable as error:
            if words not in str(error):
                raise
            return None

    async def call(
        self,
        command: str,
        parameters: Parameters,
        body: aiohttp.MultipartWriter | None = None,
        limits: aiohttp.ClientTimeout | None = None,
        most: int = _ANSWER_BYTES,
    ) -> bytes:
        """Have the node do something; return its answer, which may have up to `most` bytes.

        Raises:
            IpfsUnavailable: The node is away, silent for longer than `limits`, or refuses.
            IpfsDiskFull: Its disk is full.
        """
        try:
            async with self._session.post(
                command, params=parameters, data=body, timeout=limits or self._session.timeout
            ) as response:
                see_token(response)
                answer = await read_body(response, most)
                if response.status != 200:  # noqa: PLR2004 - Kubo answers 200 or an error
                    base = str(response.url).partition("/api/v0/")[0]
                    message = without_secrets(said(answer, response.status), base)
                    raise refused(command, message)
                return answer
        except UNREACHABLE as error:
            raise IpfsAway(f"Kubo can't be reached: {brief(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise IpfsUnavailable(f"Kubo's {command} got no answer: {brief(error)}") from error

    async def ask(self, command: str, parameters: dict[str, str] | None = None) -> dict[str, Any]:
        """Return what the node answers to something small.

        Raises:
            IpfsUnavailable: The node is away, refuses, or answers something else.
        """
        answer = await self.call(command, parameters or {}, limits=self.soon)
        try:
            told: dict[str, Any] = dict(orjson.loads(answer))
        except (ValueError, TypeError):
            raise IpfsUnavailable(f"Kubo's {command} answers {answer[:200]!r}") from None
        return told
