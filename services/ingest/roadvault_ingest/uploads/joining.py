"""Uploads that are joined to one: a client sends the parts of a file over several connections."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from roadvault_ingest.access.who import current
from roadvault_ingest.problems import Conflict, Forbidden, Problem
from roadvault_ingest.uploads import facts, metadata
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
        if current().owner is not None:
            _check_same(parts, metadata.read(header))
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


def _check_same(parts: Mapping[str, Upload], whole: Mapping[str, str]) -> None:
    """Look whether parts are all of one client, and say nothing of the file but what `whole` says of it.

    Raises:
        Forbidden: They are of different clients.
        NotAllowed: One is of a camera that whoever joins them may not upload for.
        Problem: One says something else.
    """
    if len({part.owner for part in parts.values()}) > 1:
        raise Forbidden("these parts were begun by different clients; a file is made of one client's own")
    final = facts.read(whole)
    for upload_id, part in parts.items():
        fields = metadata.read(part.metadata)
        said = {name: fields[name] for name in facts.FIELDS if fields.get(name, "").strip()}
        known = facts.read({**whole, **said})
        for name in said:
            if getattr(known, name) != getattr(final, name):
                raise Problem(f"the part {upload_id} says another {name} than the file is to have")
