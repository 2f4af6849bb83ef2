"""The notifier: tells a client that its file is there, until the client takes it or is given up."""

from functools import partial

import structlog
from pydantic import SecretStr

from roadvault_common.access.callback_keys import CallbackKeys
from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.web import callback_url
from roadvault_common.web.links import Links
from roadvault_common.work import breakers, reasons
from roadvault_common.work.breakers import Breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import CALLBACK, REPORT
from roadvault_common.work.worker import Worker
from roadvault_notifier.batch_store import Batch, BatchStore
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.hosts import Hosts
from roadvault_notifier.store import Callback, NotifierStore
from roadvault_notifier.webhook import Callbacks, ClientAway

log = structlog.get_logger()

_REVOKED = Reason("token_revoked", "the token that asked for this was revoked: nobody is called for it")
_LOOK_SECONDS = 15.0
"""At the most, between two looks at whether the requests of a batch have ended."""


class Notifier:
    """Calls clients back; `calling` is the worker of callbacks for files, `reporting` that of those for batches."""

    def __init__(self, settings: NotifierSettings, db: Database, bus: Bus, links: Links, callbacks: Callbacks) -> None:
        self._settings = settings
        self._links = links
        self._keys = CallbackKeys(settings.callback_master_keys)
        self._callbacks = callbacks
        self._store = NotifierStore(db)
        self._batches = BatchStore(db)
        self.hosts = Hosts(settings.concurrency)
        needs = [breakers.database(db)]
        self.breakers = Breakers(*needs, breakers.redis(bus), more=self.hosts.away)
        seconds, at_once = settings.lease_seconds, settings.concurrency
        worker = partial(Worker, db=db, bus=bus, lease_seconds=seconds, concurrency=at_once, needs=needs)
        self.calling = worker(CALLBACK, self._call_back)
        self.reporting = worker(REPORT, self._report)

    async def _call_back(self, lease: Lease) -> Outcome:
        callback = await self._store.callback(lease.row_id)
        if callback.path is None:
            return Failed(Reason("extraction_gone", "the extraction is gone; ask for the file again"))
        if callback.revoked:
            return Failed(_REVOKED)
        if not callback.cb_url:  # a person asked on a page, where the link now stands
            await self._store.promise_link(lease, self._settings.link_ttl_seconds)
            await self._store.close_taken(lease, callback, "page")
            return Done()
        signing = await self._signing(callback.token_id)
        url = callback_url.read(callback.cb_url)
        wait = self.hosts.wait(url.place)
        if wait is not None:
            return await self._put_off(callback, url.place, _waits_for(url.place), wait)
        try:
            with self.hosts.calling(url.place):
                expires_at = await self._store.promise_link(lease, self._settings.link_ttl_seconds)
                token = self._links.token(callback.download_id, expires_at)
                link = f"{(callback.link_url or self._settings.public_url).rstrip('/')}/d/{token}"
                body: dict[str, object] = {"fileID": callback.file_id, "fileUrl": link}
                if callback.span is not None:
                    body["clip"] = callback.span.told()
                await self._callbacks.post(url, f"download-{callback.download_id}", body, signing)
        except ClientAway as away:
            return await self._put_off(callback, url.place, reasons.of(away), self.hosts.wait(url.place) or 0)
        await self._store.close_taken(lease, callback, url.place)
        log.info("called back", file_id=callback.file_id)
        return Done()

    async def _signing(self, token_id: int | None) -> list[SecretStr]:
        """Return what signs the callbacks of a token."""
        keys = [] if token_id is None else await self._store.callback_keys(token_id)
        return [self._keys.unwrap(key) for key in keys]

    async def _report(self, lease: Lease) -> Outcome:
        """Tell a client that all requests of its batch have ended, once they have."""
        batch = await self._batches.settle(lease)
        if batch.open:
            # As quick as its requests end: a small one that is nearly done is looked at each second.
            after = min(_LOOK_SECONDS, 1 + batch.idle_seconds / 4)
            words = f"{batch.open} of its {batch.files} requests are under way"
            return Wait(Reason("requests_open", words, open=batch.open, files=batch.files), after)
        if batch.revoked:
            return Failed(_REVOKED)
        signing = await self._signing(batch.token_id)
        url = callback_url.read(batch.cb_url)
        wait = self.hosts.wait(url.place)
        if wait is not None:
            return self._report_later(batch, _waits_for(url.place), wait)
        body: dict[str, object] = {"batchID": lease.row_id, "files": batch.files, **batch.counts}
        try:
            with self.hosts.calling(url.place):
                await self._callbacks.post(url, f"batch-{lease.row_id}", body, signing)
        except ClientAway as away:
            return self._report_later(batch, reasons.of(away), self.hosts.wait(url.place) or 0)
        await self._batches.close_taken(lease)
        log.info("batch reported", batch_id=lease.row_id)
        return Done()

    def _report_later(self, batch: Batch, reason: Reason, seconds: float) -> Outcome:
        return Retry(reason) if batch.ended_seconds > self._settings.extraction_seconds else Wait(reason, seconds)

    async def _put_off(self, callback: Callback, place: str, reason: Reason, seconds: float) -> Outcome:
        """Have a callback wait for its host, and with it all that are due for a host that gives no answer.

        It counts only once the file has been kept for its time: without a count, waiting would have no end.
        """
        patience = self._settings.extraction_seconds
        if self.hosts.silent(place):
            await self._store.put_off(place, seconds, patience)
        return Retry(reason) if callback.waits_seconds > patience else Wait(reason, seconds)


def _waits_for(place: str) -> Reason:
    return Reason("client_waits", "waiting for the client's host", host=place)
