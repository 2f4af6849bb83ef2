"""Uploads that are joined to one: a client sends the parts of a file over several connections."""

import asyncio
from collections.abc import Sequence
from functools import partial

from roadvault_ingest.problems import Conflict, Problem
from roadvault_ingest.uploads.disk import to_its_end
from roadvault_ingest.uploads.resumable import Resumable
from roadvault_ingest.uploads.upload_store import Upload


class Joining(Resumable):
    """Resumable uploads, and files that are made of several of them."""

    async def join(self, concat: str, ids: Sequence[str], header: str, peer: str, key: str | None) -> Upload:
        """Make a file of whole parts, by their ids, in this order; `concat` is how the client names them.

        Raises:
            Problem: It can't be made.
        """
        before = await self.store.of_key(key)
        if before is not None and before.file_id is not None and before.concat == concat:
            return before
        parts = {upload_id: await self.state(upload_id) for upload_id in ids}
        for upload_id, part in parts.items():
            if not part.partial:
                raise Problem(f"the upload {upload_id} is none of Upload-Concat: partial")
            if part.came != part.size:
                raise Conflict(f"the upload {upload_id} is not whole: {part.came} bytes of it have come")
        size = sum(parts[upload_id].came for upload_id in ids)
        upload = await self.begin(size, header, peer, key, concat)
        if upload.file_id is None:
            paths = [parts[upload_id].path for upload_id in ids]
            await self._turns.run(upload.upload_id, partial(self._join, upload.upload_id, paths, peer))
            for upload_id in parts:
                await self.store.end_soon(upload_id)
        return await self.state(upload.upload_id)

    async def _join(self, upload_id: str, paths: Sequence[str], peer: str) -> None:
        try:
            async with self._taken(await self._open(upload_id)) as file:
                upload = await self._open(upload_id)
                with self._admission.turn(peer):
                    await self._disk.run(partial(file.go_on, 0, None), file.stop)
                    sources = [self._vault.path(path) for path in paths]
                    async with self._noted(upload, upload.size, file, trusted=False):
                        await self._disk.run(partial(file.join, sources), file.stop)
                    await to_its_end(asyncio.create_task(self._complete(upload, file, [], peer)))
        except BaseException:
            await asyncio.shield(self.store.end_soon(upload_id))  # its client begins another
            raise
