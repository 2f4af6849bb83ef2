"""Ingest: takes uploads into folders, closes folders, takes requests, and says where a file stands."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from roadvault_common.custody import history
from roadvault_common.custody import store as custody_store
from roadvault_common.errors import IntegrityError, RedisUnavailable, brief
from roadvault_common.events.bus import Bus, StreamState
from roadvault_common.events.kinds import DEAD_LETTERS, DownloadRequested, FileReceived, streams_of
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.span import Span
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import RECEIVED, Vault
from roadvault_common.receipts import making
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.folders import Closed
from roadvault_common.videos import pictures
from roadvault_common.web import callback_url
from roadvault_common.web.callback_url import BadCallbackUrl, CallbackUrl
from roadvault_common.web.links import Links, Views
from roadvault_common.web.reach import AddressRefused
from roadvault_common.work.stores import all_stores
from roadvault_ingest.access.who import current
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.copies.sending import Copies
from roadvault_ingest.lists.files_store import FilesStore
from roadvault_ingest.lists.filters import Filters, Order, only_seen
from roadvault_ingest.problems import NoReceipt, NotFound, Problem, TooLarge
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.requests.batches import Batches
from roadvault_ingest.requests.routing import Routing
from roadvault_ingest.store import IngestStore
from roadvault_ingest.uploads.admission import Admission
from roadvault_ingest.uploads.disk import Disk
from roadvault_ingest.uploads.intake import Intake, Taken
from roadvault_ingest.uploads.joining import Joining
from roadvault_ingest.uploads.opening import Opening
from roadvault_ingest.uploads.receive import Incoming, Received
from roadvault_ingest.uploads.tagging import Tagger
from roadvault_ingest.uploads.upload_sweep import UploadSweep
from roadvault_ingest.uploads.wire import Room

log = structlog.get_logger()

CUSTODY_LINES = 100
"""Lines of a file's custody log in one answer."""

_RECEIPTS_AT_ONCE = 2
"""Receipts that are made at a time: each reads the rows of all files of an archive."""

Receive = Callable[[Incoming, Room], Awaitable[Received]]
"""Takes an upload's body to disk, asking for room as it grows."""


class Ingest:
    """What the HTTP handlers and the sweeps call."""

    def __init__(self, settings: IngestSettings, db: Database, bus: Bus, vault: Vault) -> None:
        self.settings = settings
        self._bus = bus
        self._vault = vault
        self._db = db
        self._store = IngestStore(db, vault.store)
        routing = self._routing = Routing(db, vault.store)
        self._files = FilesStore(db)
        self.batches = Batches(settings, db, bus, routing)
        self._reach = settings.reach()
        self.ledger = Ledger(db, vault, settings.disk_margin_bytes)
        self._admission = Admission(self.ledger, settings.uploads_at_once, settings.uploads_per_peer)
        self._tagger = Tagger(self._store, vault.root)
        self._intake = Intake(settings, self._store, vault, self._tagger, bus, Copies(settings, db, vault))
        self._receipts = asyncio.Semaphore(_RECEIPTS_AT_ONCE)
        self._views = None if settings.view_secret is None else Views(settings.view_secret)
        self.disk = Disk(direct=settings.direct_uploads)
        self.opening = Opening(db, vault.store, settings.store_upload_url)
        self.resumable = Joining(settings, db, vault, self._admission, self.disk, self._intake, self.opening)
        self.sweep_uploads = UploadSweep(self.resumable.store, db, vault).sweep
        self._sweeper = Sweeper(settings, db, vault, RECEIVED, self._named)

    def check_length(self, content_length: int | None) -> None:
        """Look whether an upload may be as long as it says.

        Raises:
            TooLarge: Its length alone says that it can't be taken.
        """
        largest = self.settings.largest_upload
        # The form around the file is small; whether the file itself fits is seen when it passes.
        if content_length is not None and content_length > largest + (1 << 16):
            raise TooLarge(f"the file is longer than {largest} bytes, the largest that is taken")

    async def upload(self, content_length: int | None, peer: str, key: str | None, receive: Receive) -> Taken:
        """Take an upload from an address; file and row are durable by then. `key` is the client's own, hashed.

        `receive` fills the `Incoming` it is given. On any error nothing is left on disk or in the database.

        Raises:
            Problem: The upload is refused.
        """
        self.opening.check()
        self.check_length(content_length)
        incoming = Incoming(self._vault)
        async with self._admission.admit(incoming, content_length, peer), self._intake.copies.of(incoming) as copy:
            try:
                received = await receive(incoming, partial(self._admission.grow, incoming))
                copied = await copy.done(received.sha256, received.size)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(incoming.discard))
                raise
            return await self._intake.record(incoming, replace(received, peer=peer, copy=copied), key)

    async def picture(self, file_id: int, number: int) -> bytes:
        """Return a small picture of a video, as JPEG.

        Raises:
            NotFound: There is none.
        """
        found = await pictures.picture(self._db, self._vault, file_id, number)
        if found is None:
            raise NotFound(f"there is no picture {number} of file {file_id}")
        return found

    @property
    def makes_links(self) -> bool:
        """Whether links to what was brought back stand on pages, so that no client need be called."""
        return self.settings.link_secret is not None and self.settings.public_url is not None

    def link_url(self, download_id: int, expires_at: datetime) -> str | None:
        """Return a link to what a request brought back, good as long as its client's own; None where none is made."""
        secret, base = self.settings.link_secret, self.settings.public_url
        if secret is None or base is None:
            return None
        return f"{base.rstrip('/')}/d/{Links(secret).token(download_id, expires_at.replace(tzinfo=UTC))}"

    async def view_url(self, file_id: int, peer: str) -> str | None:
        """Return what plays a file in a browser, for ROADVAULT_VIEW_SECONDS; None where no video is played.

        Whoever asks, from the address `peer`, is who it is made for: so the custody log has it.
        """
        if self._views is None or self.settings.public_url is None:
            return None
        expires_at = await self._db.now() + timedelta(seconds=self.settings.view_seconds)
        made_for = {"by": peer, **current().facts}
        return f"{self.settings.public_url.rstrip('/')}/v/{self._views.token(file_id, expires_at, made_for)}"

    async def request_download(
        self, file_id: int, cb_url: str | None, peer: str | None, span: Span | None = None
    ) -> int:
        """Record that a client, at the address `peer`, wants a file back, or a clip of it; return the request's id.

        Without a URL nobody is called: a person takes the link from the request's page.

        Raises:
            NotFound: There is no such file.
            Gone: It has ended.
            BadClip: It has no such clip.
            TooMany: More requests are open than may be.
            Problem: The URL can't be called.
        """
        if cb_url is None:
            self._check_link()
        url = None if cb_url is None else self._callback_url(cb_url)
        most = Most(self.settings.requests_per_file, self.settings.requests_per_peer)
        store = await self._routing.choose()
        asked = await self._store.request_download(file_id, url, peer, most, span, store)
        if asked is None:
            raise NotFound(f"there is no file {file_id}")
        log.info("download requested", file_id=file_id, download_id=asked.download_id)
        await self._bus.emit(DownloadRequested(download_id=asked.download_id), asked.store)
        return asked.download_id

    async def request_batch(
        self, wanted: Sequence[int] | Filters, cb_url: str, peer: str | None, span: Span | None = None
    ) -> tuple[int, int]:
        """Record that a client wants many files back, or clips; return the batch's number, and how many files it is of.

        Raises:
            NotFound: There is no such file, or none fits.
            TooMany: More batches are open than may be.
            Problem: The URL can't be called, or the files are too many.
        """
        return await self.batches.add(wanted, self._callback_url(cb_url), peer, span)

    async def batch(self, batch_id: int, after: int, limit: int) -> tuple[Row, list[Row], list[Row]]:
        """Return a batch, how many of its files are in which state, and some of them.

        Raises:
            NotFound: There is no such batch.
        """
        row = await self.batches.batch(batch_id)
        counts = await self.batches.store.counts(batch_id)
        return row, counts, await self.batches.store.files(batch_id, after, limit)

    def _check_link(self) -> None:
        """Look whether a link may stand on a page, instead of being called back.

        Raises:
            Problem: It may not.
        """
        if not self.makes_links:
            raise Problem("cbUrl must be given: this page makes no links of its own")
        current().check_link()

    def _callback_url(self, text: str) -> CallbackUrl:
        """Read a callback's URL; what the notifier would refuse is refused at once."""
        try:
            url = callback_url.read(text)
            if url.address is not None:
                self._reach.check(url.host, url.port)
        except BadCallbackUrl as error:
            raise Problem(str(error)) from None
        except AddressRefused as error:
            raise Problem(f"cbUrl can't be called: {error}") from None
        current().check_callback(url)
        return url

    async def file(self, file_id: int) -> tuple[Row, list[Row]]:
        """Return a file's row and its latest requests.

        Raises:
            NotFound: There is no such file.
        """
        row = await self._store.file(file_id)
        if row is None or not current().sees(row["camera"]):
            raise NotFound(f"there is no file {file_id}")
        return row, await self._store.requests(file_id)

    async def files(self, filters: Filters, order: Order) -> tuple[list[Row], str | None]:
        """Return a page of a list of files, and the mark behind which the next one begins.

        Raises:
            Problem: The mark of the page before is none.
        """
        return await self._files.page(only_seen(filters), order)

    async def custody(self, file_id: int, before: int | None) -> list[Row]:
        """Return lines of a file's custody log, the first first: the last of all, or those before a position.

        Raises:
            NotFound: There is no such file.
        """
        await self._check_seen(file_id)
        archive = await custody_store.archive_of(self._db, file_id)
        if archive is None:
            raise NotFound(f"there is no file {file_id}")
        return await history.newest(self._db, file_id, archive["zip_id"], before, CUSTODY_LINES)

    async def receipt(self, file_id: int) -> bytes:
        """Return a file's receipt, to be checked by anybody.

        Raises:
            NotFound: There is no such file.
            NoReceipt: It has none, or none yet.
        """
        await self._check_seen(file_id)
        try:
            async with self._receipts:
                return (await making.make(self._db, file_id)).encode()
        except making.NoFile as error:
            raise NotFound(str(error)) from None
        except making.NoReceipt as error:
            raise NoReceipt(str(error)) from None
        except IntegrityError as error:  # a line of the custody log is missing, or was changed: a person has to look
            log.warning("no receipt can be made", file_id=file_id, error=brief(error))
            raise NoReceipt(f"no receipt of file {file_id} can be made as things stand: {brief(error)}") from None

    async def streams(self) -> list[StreamState] | None:
        """Return how events and dead letters stand; None if Redis is away."""
        try:
            stores = [one.name for one in await all_stores(self._db)]
            return await self._bus.streams([*streams_of(stores), DEAD_LETTERS])
        except RedisUnavailable:
            return None

    async def _check_seen(self, file_id: int) -> None:
        """Look whether a file is there for who asks: to a token that is for some cameras others have none.

        Raises:
            NotFound: It is not.
        """
        who = current()
        if who.grant.cameras and not who.sees(await self._store.camera(file_id)):
            raise NotFound(f"there is no file {file_id}")

    async def close_aged_folders(self) -> None:
        """Close folders past their age and ring for them."""
        aged = await self._store.close_aged_folders()
        for closed in aged:
            log.info("folder closed by age", folder_id=closed.folder_id)
        await self.ring(aged)

    async def ring(self, folders: Iterable[Closed]) -> None:
        """Tell the packer of folders that were closed; its sweep finds them in any case."""
        for closed in folders:
            await self._bus.emit(FileReceived(file_id=closed.file_id, folder_id=closed.folder_id), closed.store)

    async def _named(self, paths: list[str]) -> set[str]:
        return await self._tagger.named(paths) | await self.resumable.store.named(paths)

    async def sweep_orphans(self) -> None:
        """Move uploads that no row names to quarantine: those cut short by a crash; tag those that it left untagged."""
        self._tagger.begin()
        await self._sweeper.sweep()
        self._tagger.measure()
