"""The least that a durable upload can be: aiohttp, a file with fsync, one INSERT and COMMIT; ingest's peer.

`python bare_handler.py PORT DIRECTORY DATABASE_URL`
"""

import asyncio
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncmy
from aiohttp import BodyPartReader, web


def write(path: Path, content: bytes) -> None:
    with path.open("xb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())


async def serve(port: int, directory: Path, url: str) -> None:
    parts = urlsplit(url)
    pool = await asyncmy.create_pool(
        host=parts.hostname, port=parts.port, user=parts.username, password=parts.password,
        database=parts.path.lstrip("/"), maxsize=32, autocommit=False,
    )  # fmt: skip
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE IF NOT EXISTS bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, path TEXT)")

    async def upload(request: web.Request) -> web.Response:
        content = b""
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                content = bytes(await part.read())
        path = directory / secrets.token_hex(16)
        await asyncio.to_thread(write, path, content)
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute("INSERT INTO bare (path) VALUES (%s)", (str(path),))
            await connection.commit()
            return web.json_response({"fileID": cursor.lastrowid})

    application = web.Application(client_max_size=1 << 30)
    application.add_routes([web.post("/upload", upload)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
