"""Time moved by hand."""


class Clock:
    """The machine's monotonic clock, moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now
