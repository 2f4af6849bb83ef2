"""How a piece of work on a row ends: done, waiting, to be retried, or failed. There is no fifth way."""

from dataclasses import dataclass

from roadvault_common.work.reasons import Reason


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done; `again_after` (seconds) asks for the row to become due again, for stages that recur."""

    again_after: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """The row waits for something that is not its fault: the market is closed, nothing is final yet, nobody gives it.

    Nothing is counted, so that it never adds up to a failure. `after` is in seconds; without it the rest grows with the
    time that the row has waited already.
    """

    reason: Reason
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The work did not succeed and is worth another try, which counts.

    `after` is in seconds; without it the stage's exponential backoff decides.
    """

    reason: Reason
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The work cannot succeed by itself; `reason` tells the operator what happened and what to do."""

    reason: Reason


Outcome = Done | Wait | Retry | Failed
