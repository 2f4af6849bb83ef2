"""What all operations stand on: where the server is, and how often something is tried."""

import json
import random
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

from roadvault_client.errors import ConnectionFailed, NotRoadVault, Refused, RoadVaultError, refused
from roadvault_client.steps import Answer, Call, Sleep, Steps

LATER = frozenset({408, 423, 429, 502, 503, 504, 507})
"""Statuses that say: not now."""
_NOTHING_DONE = 429


@dataclass(frozen=True)
class Retries:
    """How often something is tried that failed for now, and the seconds between: twice as long each time."""

    attempts: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 30

    def pause(self, failures: int, error: RoadVaultError) -> float:
        """Return the seconds to wait after so many failures; what the server asks for counts, up to a bound."""
        asked = (error.retry_after or 0) if isinstance(error, Refused) else 0
        own = self.first_seconds * 2.0 ** min(failures - 1, 20) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        return min(max(own, asked), self.longest_seconds)


@dataclass(frozen=True)
class Core:
    """The server at `url`, whom `token` is for."""

    url: str
    token: str | None
    retries: Retries

    def api(self, path: str) -> str:
        """Return the address of something in the API."""
        return f"{self.url}/api/open/{path}"

    def beside(self, location: str) -> str:
        """Return an address that the server named, at the place where we know it: proxies tell it wrong names."""
        return str(httpx.URL(self.url).join(httpx.URL(location).raw_path.decode()))

    def ours(self, **headers: str) -> dict[str, str]:
        """Return headers for the API itself; links lead to others, who are not told the token."""
        return headers if self.token is None else {"Authorization": f"Bearer {self.token}", **headers}

    def send(self, call: Call, *, repeatable: bool = True) -> Steps[Answer]:
        """Send a request until it is answered, as often as that is safe and fits.

        Raises:
            Refused: The answer is an error.
            ConnectionFailed: There is none.
        """
        for number in count(1):
            error: RoadVaultError
            try:
                answer: Answer = yield call
            except ConnectionFailed as failed:
                error, safe = failed, repeatable or not failed.sent
            else:
                if 200 <= answer.status < 300:  # noqa: PLR2004 - a redirect leads elsewhere: not followed
                    return answer
                error = refused(answer.status, answer.headers, answer.content)
                safe = answer.status in LATER and (repeatable or answer.status == _NOTHING_DONE)
            again = call.body is None or isinstance(call.body, bytes) or call.body.again
            if not (safe and again) or number >= self.retries.attempts:
                raise error
            yield Sleep(self.retries.pause(number, error))
        raise AssertionError

    def ask(self, call: Call, *, repeatable: bool = True) -> Steps[Any]:
        """Send a request to the API; return what its answer holds.

        Raises:
            NotRoadVault: That can't be understood.
        """
        answer = yield from self.send(call, repeatable=repeatable)
        try:
            return json.loads(answer.content)["result"]
        except (ValueError, KeyError, TypeError):
            raise NotRoadVault(f"{call.method} {call.url} was answered by something else") from None

    def header(self, answer: Answer, name: str) -> str:
        """Return a header that an answer must have.

        Raises:
            NotRoadVault: It has not.
        """
        if name not in answer.headers:
            raise NotRoadVault(f"what answered is something else: {name} is missing")
        return answer.headers[name]
