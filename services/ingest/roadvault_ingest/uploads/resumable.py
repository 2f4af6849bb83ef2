"""Uploads that come in several requests: what is decided about them, whatever protocol asks.

One request at a time goes on with an upload, whoever has the lock on its file. What its row says has come is durable,
and less than the whole until the transaction that writes the row of the file.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

from roadvault_common.errors import Outage
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_ingest.access.who import current
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.problems import Conflict, Forbidden, Gone, Locked, NotFound, Problem, WrongHash
from roadvault_ingest.uploads import facts, lengths, metadata
from roadvault_ingest.uploads.admission import Admission
from roadvault_ingest.uploads.checksums import Checksum
from roadvault_ingest.uploads.disk import Disk, to_its_end
from roadvault_ingest.uploads.intake import Intake
from roadvault_ingest.uploads.opening import Opening
from roadvault_ingest.uploads.plain import take
from roadvault_ingest.uploads.receive import Body, Received, check_sha256, expected_sha256
from roadvault_ingest.uploads.turns import Turns
from roadvault_ingest.uploads.unfinished import Busy, Known, Lost, Unfinished
from roadvault_ingest.uploads.upload_store import PARTIAL, Begin, MostOpen, Times, Upload, UploadStore
from roadvault_ingest.uploads.wire import Room

_PROGRESS_SECONDS = 2.0
"""How often what came of a long request is made durable, and noted."""
_KNOWN = 1000
"""Uploads whose hash so far is kept in memory; of others it is made again."""
_BUSY_SECONDS = 5
"""After so long a client may ask again for an upload that another process has in hand."""


class Resumable:
    """The uploads of one data directory."""

    def __init__(
        self,
        settings: IngestSettings,
        db: Database,
        vault: Vault,
        admission: Admission,
        disk: Disk,
        intake: Intake,
        opening: Opening,
    ) -> None:
        self.settings = settings
        self.largest = settings.largest_upload
        self.store = UploadStore(
            db, Times(settings.upload_expires_hours * 3600, settings.upload_hold_seconds), vault.store
        )
        self._most = MostOpen(settings.open_uploads, settings.open_uploads_per_peer)
        self._vault = vault
        self._admission = admission
        self._disk = disk
        self._intake = intake
        self._opening = opening
        self._turns = Turns()
        self._known: dict[str, Known] = {}

    async def begin(
        self, size: int | None, header: str, peer: str, key: str | None, concat: str | None = None
    ) -> Upload:
        """Begin an upload of `size` bytes, for which there is room; or return the one that was begun with its key.

        Raises:
            Problem: It can't be taken.
        """
        fields, camera = metadata.read(header), None
        if concat != PARTIAL:
            metadata.name(fields)
            camera = facts.read(fields).camera
            expected_sha256(fields)
        elif current().owner is not None and fields.get("camera"):
            facts.read(fields)
        if size is not None:
            lengths.check(size, self.largest)
        if self._opening.closed and concat in {None, PARTIAL} and await self.store.of_key(key) is None:
            self._opening.check()  # what was begun may come to its end
        names = secrets.token_hex(16), self._vault.new_upload()
        begin = Begin(*names, size, header, concat, peer, key, current().owner, camera)
        async with self._admission.hand_over(size or 0):
            upload = await self.store.begin(begin, self._most)
        # A length that was deferred may be known by now.
        same_size = size is None or upload.size == size
        if upload.metadata != header or not same_size or upload.partial != (concat == PARTIAL):
            raise WrongHash("this Idempotency-Key came before, with another upload; each needs a key of its own")
        return upload

    async def state(self, upload_id: str) -> Upload:
        """Return how an upload stands.

        Raises:
            NotFound: There is none of theirs who ask.
            Gone: It has expired.
            Locked: Its bytes are at another store.
        """
        upload = await self.store.find(upload_id)
        if upload is None or not current().goes_on(upload.owner):
            raise NotFound("there is no such upload; begin it again")
        if upload.expired and upload.file_id is None:
            raise Gone("this upload has expired; begin it again")
        if upload.store != self._vault.store and upload.file_id is None:
            where = f" ({upload.upload_url})" if upload.upload_url else ""
            raise Locked(f"this upload goes on at the store {upload.store}{where}, where its bytes are", _BUSY_SECONDS)
        return upload

    async def settled(self, upload_id: str) -> Upload:
        """Return how an upload stands once nobody goes on with it: what is in hand here ends.

        Raises:
            Problem: Another process goes on with it, or there is none.
        """
        return await self._turns.run(upload_id, partial(self._settled, upload_id))

    async def _settled(self, upload_id: str) -> Upload:
        upload = await self.state(upload_id)
        if upload.file_id is not None:
            return upload
        async with self._taken(upload, create=False):
            return await self.state(upload_id)

    async def remove(self, upload_id: str) -> None:
        """Give up an upload that is not whole; what is in hand here ends.

        Raises:
            Problem: It is, or can't be given up now.
        """
        await self._turns.run(upload_id, partial(self._remove, upload_id))

    async def _remove(self, upload_id: str) -> None:
        async with self._taken(await self._open(upload_id), create=False) as file:
            await self._open(upload_id)
            await self._drop(upload_id, file)

    async def _drop(self, upload_id: str, file: Unfinished) -> None:
        self._known.pop(upload_id, None)
        await self.store.remove(upload_id)
        await asyncio.to_thread(file.remove)

    async def go_on(
        self, upload_id: str, offset: int, size: int | None, body: Body, peer: str, checksum: Checksum | None = None
    ) -> Upload:
        """Take a request's body into an upload that has come up to `offset`; what is in hand here ends.

        Raises:
            Problem: It was not taken, or not all of it.
        """
        return await self._turns.run(upload_id, partial(self._go_on, upload_id, offset, size, body, peer, checksum))

    async def _go_on(
        self, upload_id: str, offset: int, size: int | None, body: Body, peer: str, checksum: Checksum | None
    ) -> Upload:
        upload = await self.state(upload_id)
        if upload.concat not in {None, PARTIAL}:
            raise Forbidden("this upload is made of others: nothing can be added to it")
        if offset == upload.offset == upload.size and body.length == 0:
            return upload  # a client that has lost the last answer
        async with self._taken(await self._open(upload_id)) as file:
            upload = await self._open(upload_id)
            if offset != upload.came:
                raise Conflict(f"this upload has come up to {upload.came}, not up to {offset}")
            size = lengths.told(upload, size, body.length, self.largest)
            async with self._admitted(upload, size, file, body, peer) as room:
                whole = await self._append(upload, size, file, body, room, checksum)
                if whole is not None:
                    done = (
                        self._keep(upload, size, file, whole)
                        if upload.partial
                        else self._complete(upload, file, whole, peer)
                    )
                    await to_its_end(asyncio.create_task(done))
        return await self.state(upload_id)

    async def _open(self, upload_id: str) -> Upload:
        upload = await self.state(upload_id)
        if upload.file_id is not None:
            raise Conflict(f"this upload is whole: it is the file {upload.file_id}")
        return upload

    @asynccontextmanager
    async def _taken(self, upload: Upload, *, create: bool = True) -> AsyncIterator[Unfinished]:
        """Keep other processes from going on with an upload until the block ends."""
        file = Unfinished(self._vault.path(upload.path))
        try:
            await to_its_end(asyncio.create_task(asyncio.to_thread(file.take, create=create)))
            yield file
        except Busy:
            raise Locked("another server goes on with this upload; ask again", _BUSY_SECONDS) from None
        except Lost:
            raise Gone("what came of this upload is lost; begin it again") from None
        finally:
            file.discard()

    @asynccontextmanager
    async def _admitted(
        self, upload: Upload, size: int | None, file: Unfinished, body: Body, peer: str
    ) -> AsyncIterator[Room]:
        """Have room for what comes. Of an upload whose length is known, the row keeps it, or does so again."""
        if size is None:
            async with self._admission.admit(file, body.length, peer):
                yield partial(self._admission.grow, file)
            return
        with self._admission.turn(peer):
            if upload.came < size and not (upload.held and upload.size):
                async with self._admission.hand_over(size - upload.came):
                    await self.store.go_on(upload.upload_id, upload.came, size)
            yield _there_is

    async def _append(
        self, upload: Upload, size: int | None, file: Unfinished, body: Body, room: Room, checksum: Checksum | None
    ) -> list[bytes] | None:
        """Take a body; return what is left to be written if the upload is whole by it. Else all of it is durable."""
        rest: list[bytes] = []
        before = self._known.pop(upload.upload_id, None)
        await self._disk.run(partial(file.go_on, upload.came, before), file.stop)
        begun = file.known()
        if checksum is not None:
            file.also.append(checksum.hash)
        try:
            async with self._noted(upload, size, file, trusted=checksum is None):
                await take(body, file, self._disk, room, size or self.largest, rest)
        except BaseException:
            if checksum is None:
                await to_its_end(asyncio.create_task(self._keep(upload, size, file, rest)))
            raise
        if checksum is not None:
            await self._disk.write(file, rest)
            rest = []
            try:
                checksum.verify()
            except Problem:
                self._remember(upload, begun)
                raise
        if size is not None and file.size + sum(map(len, rest)) == size:
            return rest
        await to_its_end(asyncio.create_task(self._keep(upload, size, file, rest)))
        return None

    async def _keep(self, upload: Upload, size: int | None, file: Unfinished, rest: list[bytes]) -> None:
        """Make durable what came, and note it."""
        if rest:
            await self._disk.write(file, rest)
        await self._note(upload, size, file)
        self._remember(upload, file.known())

    async def _note(self, upload: Upload, size: int | None, file: Unfinished) -> None:
        came = file.size if size is None or upload.partial else min(file.size, size - 1)
        await to_its_end(asyncio.create_task(asyncio.to_thread(file.flush)))
        await self.store.go_on(upload.upload_id, came, size)

    @asynccontextmanager
    async def _noted(self, upload: Upload, size: int | None, file: Unfinished, *, trusted: bool) -> AsyncIterator[None]:
        """Note again and again, until the block ends, how much has come; or, if that is not trusted, nothing of it."""

        async def note() -> None:
            while True:
                await asyncio.sleep(_PROGRESS_SECONDS)
                with suppress(Outage):  # then it is noted later
                    if trusted:
                        await self._note(upload, size, file)
                    else:
                        await self.store.go_on(upload.upload_id, upload.came, size)

        task = asyncio.create_task(note())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _remember(self, upload: Upload, known: Known) -> None:
        self._known[upload.upload_id] = known
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]

    async def _complete(self, upload: Upload, file: Unfinished, rest: list[bytes], peer: str) -> None:
        """Make an upload a file."""
        await self._disk.finish(file, rest)
        fields = {**metadata.read(upload.metadata), **({"camera": upload.camera} if upload.camera else {})}
        name, known = metadata.name(fields), facts.read(fields)
        received = Received(name, upload.path, file.size, file.sha256, peer, known, upload=upload.upload_id)
        try:
            check_sha256(fields, file.sha256)
            async with self._intake.copies.of(file) as copy:
                received = replace(received, copy=await copy.done(received.sha256, received.size))
            await self._intake.record(file, received, upload.upload_key)
        except WrongHash:  # it will never be another
            await self._drop(upload.upload_id, file)
            raise


async def _there_is(_: int) -> None:
    """Know that there is room: the upload's row keeps it."""
