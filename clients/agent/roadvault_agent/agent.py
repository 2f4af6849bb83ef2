"""The agent: looks at its folders again and again, and hands over what is ready, several files at a time."""

import logging
import sqlite3
import threading
import time
from contextlib import suppress

from roadvault_agent import files
from roadvault_agent.config import Config, Folder
from roadvault_agent.delivery import Delivery, NotYet, fresh_key
from roadvault_agent.files import Changed, Vanished
from roadvault_agent.rest import Rest
from roadvault_agent.state import Row, State, Version
from roadvault_agent.tally import Tally
from roadvault_agent.todo import Todo
from roadvault_agent.watch import FolderAway, Found, Watch
from roadvault_client import (
    ConnectionFailed,
    Forbidden,
    NoRoom,
    NotFound,
    NotRoadVault,
    Refused,
    RoadVaultError,
    TooMany,
    Unauthorized,
    Unavailable,
    WrongHash,
)

log = logging.getLogger("roadvault_agent")

_REFUSED_SECONDS = 3600.0
_NOT_ALLOWED = "not_allowed"
"""The server's word, and no proxy's."""
_SENT_SECONDS = 60.0
"""Between two looks at a file that the server has, and that is waited for."""
_SENT_AT_ONCE = 100
_BATCH = 200
_FORGET_EVERY_SECONDS = 3600.0


class Agent:
    """Everything together. `run` it; `stop` ends it."""

    def __init__(self, config: Config, state: State, delivery: Delivery, tally: Tally) -> None:
        self.config = config
        self.tally = tally
        self.rest = Rest()
        self._state = state
        self._delivery = delivery
        self._watches = [Watch(folder) for folder in config.folders]
        self._folders = {str(folder.path): folder for folder in config.folders}
        self._known: dict[tuple[str, str], tuple[Found, int]] = {}
        """The rows of files that are as they were when they were last looked at."""
        self._waiting: dict[int, float] = {}
        """Rows of files that are there and not sent, and since when they wait."""
        self._refused: set[int] = set()
        self._todo = Todo(self.rest)
        self._stopping = threading.Event()
        self._sent_after = 0
        self._forget_at = 0.0

    def stop(self) -> None:
        """End `run`; what is under way is broken off, and goes on next time."""
        self._stopping.set()
        self._todo.end()

    def run(self, *, once: bool = False) -> bool:
        """Watch and hand over, until `stop`; with `once`, until nothing is left to do. Return whether all went well."""
        for _ in range(self.config.workers):
            threading.Thread(target=self._work, daemon=True).start()
        pause = min(self.config.poll_seconds, 1) if once else self.config.poll_seconds
        while not self._stopping.is_set():
            try:
                over = self._look()
            except (OSError, sqlite3.Error) as error:  # our own disk is full, or gone
                log.error("what is there can't be noted: %s", error)  # noqa: TRY400 - a trace says no more
                over = False
            if once and over:
                break
            self._stopping.wait(pause)
        self.stop()
        return not (self._waiting or self._refused)

    def _look(self) -> bool:
        """See what is there, and queue what can be done; tell whether nothing is left to wait for."""
        idle = self._todo.idle  # first: what a worker finishes from here on is seen the next time
        waiting: dict[int, float] = {}
        unsettled = False
        for watch in self._watches:
            waiting |= self._look_at(watch)
            unsettled |= watch.unsettled
        self._waiting = waiting
        sent = [row.row_id for row in self._state.sent(_SENT_AT_ONCE, self._sent_after)]
        self._sent_after = sent[-1] if len(sent) == _SENT_AT_ONCE else 0
        self._todo.offer(sent)
        self._todo.offer(sorted(waiting, key=waiting.__getitem__))
        self.tally.look(self._state.counts(), waiting, self.rest.away_seconds)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY_SECONDS
            there = {row_id for _, row_id in self._known.values()}
            self._state.forget_done(time.time() - self.config.forget_days * 86_400, there)
        return idle and not unsettled and not sent and not (waiting.keys() - self._refused)

    def _look_at(self, watch: Watch) -> dict[int, float]:
        """Return the rows of a folder's files that wait, and since when; new ones get theirs."""
        folder = str(watch.folder.path)
        try:
            ready = watch.look()
        except FolderAway as away:
            if self.tally.folder_away(folder, away=True):
                log.warning("a folder is not there: %s", away)
            ready = []
        else:
            if self.tally.folder_away(folder, away=False):
                log.info("a folder is back: %s", folder)
        if watch.troubles:
            log.warning("not all of %s can be read, %d times: %s", folder, len(watch.troubles), watch.troubles[0])
        known: dict[tuple[str, str], tuple[Found, int]] = {}
        fresh = []
        for found in ready:
            before = self._known.get((folder, found.path))
            if before is not None and before[0] == found:
                known[folder, found.path] = before
            else:
                fresh.append(found)
        for start in range(0, len(fresh), _BATCH):
            known |= self._take(watch.folder, fresh[start : start + _BATCH])
        gone = [place for place in self._known if place[0] == folder and place not in known]
        self._known |= known
        steps = self._state.steps([row_id for _, row_id in known.values()])
        gone += [place for place, (_, row_id) in known.items() if row_id not in steps]
        for place in gone:  # who knows what lies there the next time: another card names its files alike
            del self._known[place]
        return {row_id: seen_at for row_id, (step, seen_at) in steps.items() if step == "waiting"}

    def _take(self, folder: Folder, fresh: list[Found]) -> dict[tuple[str, str], tuple[Found, int]]:
        """Give files their rows, before the first byte of them is sent."""
        name, versions, founds = str(folder.path), [], []
        for found in fresh:
            try:
                mark = files.fingerprint(name, found.path)
            except (OSError, Vanished):  # it went, or can't be read now: seen again, if it is there
                continue
            versions.append((Version(name, found.path, found.size, found.mtime_ns, mark), fresh_key()))
            founds.append(found)
        rows = self._state.take(versions)
        # Of many files on a slow disk the first need not wait for the last.
        self._todo.offer(row.row_id for row in rows if row.step == "waiting")
        for row in rows:
            if row.step == "done" and folder.then in {"move", "delete"}:
                self._take_again(row)
        return {(name, found.path): (found, row.row_id) for found, row in zip(founds, rows, strict=True)}

    def _take_again(self, row: Row) -> None:
        """Look at a file anew that was done with and is there again: somebody brought it back, or it is another one."""
        try:
            with files.opened(row.version, self._delivery.bucket) as file:
                same = file.sha256() == row.sha256
        except (OSError, Changed, Vanished):
            return
        if same:
            self._state.look_again(row.row_id)
        else:
            self._state.begin_anew(row.row_id, fresh_key(), "another file of the same name, size and time")

    def _work(self) -> None:
        while (row_id := self._todo.next()) is not None:
            row = self._state.row(row_id)
            if row is not None and row.step != "done":
                self._work_on(row)
            self._todo.release(row_id)

    def _work_on(self, row: Row) -> None:
        """Take a file as far as it comes now."""
        self.tally.moving[row.row_id] = (row.version.path, 0, row.version.size)
        try:
            self._carry(row)
        except Exception as error:  # noqa: BLE001 - `_failed` sorts them, and tells of what it does not know
            self._failed(row, error)
        finally:
            del self.tally.moving[row.row_id]

    def _carry(self, row: Row) -> None:
        folder, before = self._folders.get(row.version.folder), 0
        if folder is None:
            raise Vanished("its folder is not watched any more")

        def progress(sent: int) -> None:
            nonlocal before
            self.tally.bytes.inc(max(0, sent - before))
            before = sent
            self.tally.moving[row.row_id] = (row.version.path, sent, row.version.size)

        if row.step == "waiting":
            row = self._delivery.hand_over(row, folder, progress)
            self.tally.files.inc()
            self._answered()
        reason = self._delivery.finish(row, folder)
        self._answered()
        self._state.note_done(row.row_id, reason)
        self._refused.discard(row.row_id)
        self._todo.forget(row.row_id)
        log.info("%s is done with, as file %s%s", row.version.path, row.file_id, f": {reason}" if reason else "")

    def _answered(self) -> None:
        if self.rest.end():
            log.info("the server is back")

    def _put_aside(self, row: Row, error: Exception) -> None:
        """Note that a file is refused, which holds up no other."""
        self._answered()
        self._refused.add(row.row_id)
        log.error("%s is refused: %s", row.version.path, error)

    def _failed(self, row: Row, error: Exception) -> None:
        """Have a file tried again, at the time that its trouble asks for."""
        path, seconds = row.version.path, None
        match error:
            case Changed():
                self._state.forget(row.row_id)  # as it is by now it gets a row of its own, once it is left alone
                log.info("%s is taken anew: %s", path, error)
                return
            case NotYet():
                self._answered()
                seconds = _SENT_SECONDS
            case Forbidden() if error.word == _NOT_ALLOWED and error.scope is None:  # by its camera: others may go
                self._put_aside(row, error)
                seconds = _REFUSED_SECONDS
            case (
                ConnectionFailed()
                | NotRoadVault()
                | Unavailable()
                | NoRoom()
                | TooMany()
                | Unauthorized()
                | Forbidden()
            ):
                seconds = 0.0  # it is nothing of this file's: all rest
                if self.rest.begin(str(error), getattr(error, "retry_after", None)):
                    log.warning("the server is not there for us; asked again from time to time: %s", error)
            case Refused() if error.status < 500 and not isinstance(error, NotFound | WrongHash):  # noqa: PLR2004
                self._put_aside(row, error)
                seconds = _REFUSED_SECONDS
            case RoadVaultError() | OSError() | Vanished() | sqlite3.Error():
                log.warning("%s: %s", path, error)
            case _:
                log.error("%s", path, exc_info=error)
        if not isinstance(error, NotYet):
            self.tally.failures.labels(type(error).__name__).inc()
        self._todo.put_off(row.row_id, seconds)
        with suppress(sqlite3.Error):
            self._state.note_reason(row.row_id, str(error) or type(error).__name__)
