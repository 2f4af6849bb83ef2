"""Uploads byte by byte, as clients write them on the wire."""

import asyncio
from typing import Any, NamedTuple

from servers_ingest import Door, answer_of

DATA = b"\x00\x00\x00\x18ftypmp42 some bytes of a video"
CJK = "京A12345_前方.mp4"
B = "X-b0undary"
TYPE = f"multipart/form-data; boundary={B}"


def part(disposition: str | bytes, content: bytes = DATA, *headers: str | bytes) -> bytes:
    """Return a part with its Content-Disposition and other headers."""
    lines = [line if isinstance(line, bytes) else line.encode() for line in (disposition, *headers)]
    return b"Content-Disposition: " + b"\r\n".join(lines) + b"\r\n\r\n" + content


def form(*parts: bytes, boundary: bytes = B.encode(), end: bytes | None = None) -> bytes:
    lines = b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts)
    return lines + (b"--" + boundary + b"--\r\n" if end is None else end)


def field(value: str | bytes, *headers: str, name: str = "filename") -> bytes:
    return part(f'form-data; name="{name}"', value if isinstance(value, bytes) else value.encode(), *headers)


FILE = part('form-data; name="file"; filename="a.mp4"')


def named(header: str | bytes) -> bytes:
    """Return a form of a file alone, whose part has this behind its name."""
    return form(part(b'form-data; name="file"; ' + (header if isinstance(header, bytes) else header.encode())))


async def request(
    door: Door, body: bytes, content_type: str | None = TYPE, *headers: str, method: str = "POST", version: str = "1.1"
) -> tuple[int, bytes, dict[str, Any]]:
    """Send an upload as it is; return the status, the answer's head and its body."""
    lines = [f"{method} /api/open/upload HTTP/{version}", "Host: x", *headers]
    lines += [] if content_type is None else [f"Content-Type: {content_type}"]
    if not any(line.lower().startswith(("content-length", "transfer-encoding", "x-no-length")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    async with door.connection() as (reader, writer), asyncio.timeout(20):
        writer.write("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body)
        head, answer = await answer_of(reader)
    return int(head.split(b" ")[1]), head, answer


class Taken(NamedTuple):
    """Who writes so, the body, what the file is called then, and the Content-Type."""

    who: str
    body: bytes
    name: str = "a.mp4"
    content_type: str = TYPE


async def contents(door: Door, case: Taken) -> tuple[int, str, bytes]:
    """Upload; return the status, what the file is called, or the message, and what is on disk."""
    status, _, answer = await request(door, case.body, case.content_type)
    if status != 200:
        return status, answer["message"], b""
    row = await door.db.fetch_one(
        "SELECT file_name, path FROM file_upload_info WHERE file_id = %s", (answer["result"]["fileID"],)
    )
    assert row is not None
    return status, row["file_name"], (door.vault.root / row["path"]).read_bytes()
