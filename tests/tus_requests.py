"""Requests of tus, one at a time, as its text has them."""

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

TYPE = "application/offset+octet-stream"


@dataclass(frozen=True)
class Answered:
    """An answer to a request of tus."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])

    @property
    def file_id(self) -> int:
        return int(self.headers["RoadVault-File-ID"])


def metadata(**fields: str) -> str:
    return ",".join(f"{name} {b64encode(value.encode()).decode()}".strip() for name, value in fields.items())


class Client:
    """Speaks tus with an ingest."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url
        self.files = f"{url}/api/open/files"

    async def ask(self, method: str, url: str, headers: dict[str, str] | None = None, data: Any = None) -> Answered:  # noqa: ANN401 - whatever aiohttp takes
        sent = {"Tus-Resumable": "1.0.0", **(headers or {})}
        given = {name: value for name, value in sent.items() if value}
        body = BytesIO(data) if isinstance(data, bytes) and data else data
        async with self._http.request(
            method, url, headers=given, data=body, skip_auto_headers=["Content-Type"]
        ) as response:
            return Answered(response.status, response.headers, await response.text())

    async def begin(
        self, size: int | None, data: bytes | None = None, headers: dict[str, str] | None = None, *, name: str = "a.mp4"
    ) -> Answered:
        of_size = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
        of_data = {} if data is None else {"Content-Type": TYPE}
        sent = {**of_size, **of_data, "Upload-Metadata": metadata(filename=name), **(headers or {})}
        return await self.ask("POST", self.files, sent, data)

    async def begun(self, size: int | None, headers: dict[str, str] | None = None) -> str:
        """Begin an upload; return its URL."""
        answered = await self.begin(size, None, headers)
        assert answered.status == 201, answered
        return self.at(answered)

    def at(self, answered: Answered) -> str:
        return self.url + answered.headers["Location"]

    async def patch(
        self, url: str, offset: int, data: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None
    ) -> Answered:
        sent = {"Content-Type": TYPE, "Upload-Offset": str(offset), **(headers or {})}
        return await self.ask("PATCH", url, sent, data)

    async def head(self, url: str) -> Answered:
        return await self.ask("HEAD", url)
