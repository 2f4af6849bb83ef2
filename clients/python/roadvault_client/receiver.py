"""A small server for callbacks, for scripts: the standard library's, one thread for each connection."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from roadvault_client.callbacks import BatchEnded, Callback, read_callback
from roadvault_client.errors import BadCallback, TookTooLong

T = TypeVar("T", Callback, BatchEnded)

_LONGEST_BODY = 1 << 16
_CONNECTION_SECONDS = 10
_REMEMBERED = 10_000
"""Callbacks that nobody asked for are kept, up to so many."""


class Receiver:
    """What has been called back. Use `receive`."""

    def __init__(self, secret: str | list[str] | None) -> None:
        self._secret = secret
        self._came: OrderedDict[tuple[type, int], Callback | BatchEnded] = OrderedDict()
        self._news = threading.Condition()
        self.url = ""
        """To be given as `cb_url`."""

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Take a callback.

        Raises:
            BadCallback: It is none.
        """
        callback = read_callback(headers, body, self._secret)
        with self._news:
            number = callback.file_id if isinstance(callback, Callback) else callback.batch_id
            self._came[type(callback), number] = callback
            while len(self._came) > _REMEMBERED:
                self._came.popitem(last=False)
            self._news.notify_all()

    def wait(self, file_id: int, seconds: float | None = None) -> Callback:
        """Wait for a file's callback; it is handed out once.

        Raises:
            TookTooLong: It did not come in time.
        """
        return self._wait(Callback, file_id, f"file {file_id}", seconds)

    def wait_batch(self, batch_id: int, seconds: float | None = None) -> BatchEnded:
        """Wait until a batch has ended.

        Raises:
            TookTooLong: It has not in time.
        """
        return self._wait(BatchEnded, batch_id, f"batch {batch_id}", seconds)

    def _wait(self, kind: type[T], number: int, called: str, seconds: float | None) -> T:
        with self._news:
            if not self._news.wait_for(lambda: (kind, number) in self._came, seconds):
                raise TookTooLong(f"{called}: no callback within {seconds} s")
            found = self._came.pop((kind, number))
            assert isinstance(found, kind)  # noqa: S101 - by its key
            return found

    def all(self, seconds: float | None = None) -> Iterator[Callback | BatchEnded]:
        """Hand out callbacks as they come, until none has come for so long."""
        while True:
            with self._news:
                if not self._news.wait_for(lambda: bool(self._came), seconds):
                    return
                _, callback = self._came.popitem(last=False)
            yield callback


@contextmanager
def receive(
    secret: str | Iterable[str] | None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    url: str | None = None,
) -> Iterator[Receiver]:
    """Receive callbacks as long as this lasts.

    Args:
        secret: As for `read_callback`.
        host: The address to listen at; "" is all of the machine's.
        port: Likewise; 0 is any.
        url: How RoadVault reaches it, if not by this address and port.
    """
    receiver = Receiver(secret if secret is None or isinstance(secret, str) else list(secret))
    server = ThreadingHTTPServer((host, port), _handler(receiver))
    server.daemon_threads = True
    receiver.url = url or f"http://{host or '127.0.0.1'}:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CONNECTION_SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > _LONGEST_BODY:
                self._answer(413 if length.isdecimal() else 411)
                return
            try:
                receiver.take(dict(self.headers.items()), self.rfile.read(int(length)))
            except BadCallback:
                self._answer(400)
            else:
                self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: what is asked comes from outside."""

    return Handler
