"""What a clip is wanted of: two times of a video, or on the clock."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from roadvault_common.sql.db import Row

_NAME_BYTES = 255
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """From one time to another, in milliseconds of the video or, if `on_clock`, since 1970."""

    begin: int
    end: int
    on_clock: bool

    @classmethod
    def of(cls, row: Row) -> Self | None:
        """Return what a request's or a batch's row says; None: it is for files as they are."""
        if row["clip_from"] is None:
            return None
        return cls(row["clip_from"], row["clip_to"], bool(row["clip_clock"]))

    def told(self) -> dict[str, float | str]:
        """Return it as the API has it: seconds, or times in UTC."""
        return {"from": self._told(self.begin), "to": self._told(self.end)}

    def _told(self, at: int) -> float | str:
        if self.on_clock:
            return clock(at)
        return at // 1000 if at % 1000 == 0 else at / 1000

    def name(self, file_name: str) -> str:
        """Return what a file's clip is called, on any system."""
        tail = f" {self._named(self.begin)}-{self._named(self.end)}.mp4"
        stem = file_name.rpartition(".")[0] or file_name
        return stem.encode()[: _NAME_BYTES - len(tail)].decode(errors="ignore") + tail

    def _named(self, at: int) -> str:
        return clock(at).replace("-", "").replace(":", "") if self.on_clock else f"{self._told(at)}s"


def clock(at: int) -> str:
    """Return a time of milliseconds since 1970, in ISO 8601."""
    when = _EPOCH + timedelta(milliseconds=at)
    text = when.isoformat(timespec="milliseconds" if at % 1000 else "seconds")
    return text.removesuffix("+00:00") + "Z"


def milliseconds(when: datetime) -> int:
    """Return a time in milliseconds since 1970; one without a zone is in UTC, as the database has it."""
    return (when.replace(tzinfo=when.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)


def columns(span: Span | None) -> tuple[int | None, int | None, bool]:
    """Return the values of clip_from, clip_to and clip_clock."""
    return (None, None, False) if span is None else (span.begin, span.end, span.on_clock)
