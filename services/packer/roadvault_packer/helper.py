"""A thread that helps with packing: in order, and only so many pieces behind."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self

P = ParamSpec("P")


class Helper:
    """Does one piece of work after the other in a thread of its own; at most `most` of them are in hand."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pack")
        self._in_hand: deque[Future[object]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def add(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have `work` done; with too much in hand wait for the oldest first, and raise what it raised."""
        if len(self._in_hand) >= self._most:
            self._in_hand.popleft().result()
        self._in_hand.append(self._thread.submit(work, *args, **kwargs))

    def wait(self) -> None:
        """Wait until all is done; raise what the first that failed has raised."""
        while self._in_hand:
            self._in_hand.popleft().result()
