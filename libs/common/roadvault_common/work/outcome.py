"""How a piece of work on a row ends: done, to be retried, or failed. There is no fourth way."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done; `again_after` (seconds) asks for the row to become due again, for stages that recur."""

    again_after: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The work did not succeed and is worth another try.

    `after` is in seconds; without it the stage's exponential backoff decides. `counts` is False where waiting is
    nobody's fault (the market is closed, nothing is final yet), so that it never adds up to a failure.
    """

    reason: str
    after: float | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """The work cannot succeed by itself; `reason` tells the operator what happened and what to do."""

    reason: str


Outcome = Done | Retry | Failed
