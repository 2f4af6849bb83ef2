"""The notifier: tells a client that its file is there, until the client takes it or is given up."""

import structlog

from roadvault_common.access.callback_keys import CallbackKeys
from roadvault_common.errors import brief
from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.web import callback_url
from roadvault_common.web.links import Links
from roadvault_common.work import breakers
from roadvault_common.work.breakers import Breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.stages import CALLBACK
from roadvault_common.work.worker import Worker
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.hosts import Hosts
from roadvault_notifier.store import Callback, NotifierStore
from roadvault_notifier.webhook import Callbacks, ClientAway

log = structlog.get_logger()


class Notifier:
    """Calls clients back; `calling` is the stage's worker."""

    def __init__(self, settings: NotifierSettings, db: Database, bus: Bus, links: Links, callbacks: Callbacks) -> None:
        self._settings = settings
        self._links = links
        self._keys = CallbackKeys(settings.callback_master_keys)
        self._callbacks = callbacks
        self._store = NotifierStore(db)
        self.hosts = Hosts(settings.concurrency)
        needs = [breakers.database(db)]
        self.breakers = Breakers(*needs, breakers.redis(bus), more=self.hosts.away)
        seconds, at_once = settings.lease_seconds, settings.concurrency
        self.calling = Worker(
            CALLBACK, self._call_back, db, bus, lease_seconds=seconds, concurrency=at_once, needs=needs
        )

    async def _call_back(self, lease: Lease) -> Outcome:
        callback = await self._store.callback(lease.row_id)
        if callback.path is None:
            return Failed("the extraction is gone; ask for the file again")
        if callback.revoked:
            return Failed("the token that asked for this was revoked: nobody is called for it")
        keys = [] if callback.token_id is None else await self._store.callback_keys(callback.token_id)
        signing = [self._keys.unwrap(key) for key in keys]
        url = callback_url.read(callback.cb_url)
        wait = self.hosts.wait(url.place)
        if wait is not None:
            return await self._put_off(callback, url.place, "waiting for the client's host", wait)
        try:
            with self.hosts.calling(url.place):
                expires_at = await self._store.promise_link(lease, self._settings.link_ttl_seconds)
                token = self._links.token(callback.download_id, expires_at)
                link = f"{self._settings.public_url.rstrip('/')}/d/{token}"
                body: dict[str, object] = {"fileID": callback.file_id, "fileUrl": link}
                await self._callbacks.post(url, f"download-{callback.download_id}", body, signing)
        except ClientAway as away:
            return await self._put_off(callback, url.place, brief(away), self.hosts.wait(url.place) or 0)
        await self._store.close_taken(lease, callback, url.place)
        log.info("called back", file_id=callback.file_id)
        return Done()

    async def _put_off(self, callback: Callback, place: str, reason: str, seconds: float) -> Outcome:
        """Have a callback wait for its host, and with it all that are due for a host that gives no answer.

        It counts only once the file has been kept for its time: without a count, waiting would have no end.
        """
        patience = self._settings.extraction_seconds
        if self.hosts.silent(place):
            await self._store.put_off(place, seconds, patience)
        return Retry(reason) if callback.waits_seconds > patience else Wait(reason, seconds)
