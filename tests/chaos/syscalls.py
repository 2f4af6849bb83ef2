"""Reads a trace of system calls (`strace -f -y`), and tells what a power cut would have cost when a promise was made.

The model is POSIX's: what was written is lost unless an fsync of that file began after the write and succeeded; a name
is lost unless an fsync of its directory began after the name was made and succeeded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

TRACED = "openat,mkdir,read,write,writev,pwrite64,fsync,fdatasync,sendto,sendmsg,recvfrom,unlink"
RECEIVES = ("recvfrom", "read")
"""What asyncio, and what uvloop reads a socket with."""
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_WHOLE = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+.*)$")
_BEGINS = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*) <unfinished \.\.\.>$")
_ENDS = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)\) += (?P<result>-?\d+.*)$")
_PATH = re.compile(r"^-?\d+<(?P<path>[^>]*)>")


@dataclass(frozen=True)
class Call:
    """A system call that succeeded: when it began and ended, as numbers of lines in the trace."""

    name: str
    arguments: str
    result: str
    begin: int
    end: int

    @property
    def target(self) -> str:
        """The file, directory or socket that the call works on."""
        text = self.result if self.name == "openat" else self.arguments
        found = _PATH.match(text)
        if found:
            return found["path"]
        return text.split('"')[1] if '"' in text else ""


def parse(trace: str) -> list[Call]:
    """Return the calls that succeeded, in the order in which they ended."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(trace.splitlines()):
        parts = _LINE.match(line)
        if parts is None:
            continue
        pid, rest = parts["pid"], parts["rest"]
        if begins := _BEGINS.match(rest):
            open_calls[pid] = (begins["name"], begins["arguments"], number)
        elif ends := _ENDS.match(rest):
            name, arguments, begin = open_calls.pop(pid, (ends["name"], "", number))
            calls.append(Call(name, arguments + ends["arguments"], ends["result"], begin, number))
        elif whole := _WHOLE.match(rest):
            calls.append(Call(whole["name"], whole["arguments"], whole["result"], number, number))
    return [call for call in calls if not call.result.startswith("-1")]


def lost(
    calls: Sequence[Call], path: str, statement: str, answer: str | None, beside: Sequence[str] = (), token: str = ""
) -> list[str]:
    """Return what a power cut would take of `path`, and what lies `beside` it, when it is promised: nothing, if well.

    The promise is the COMMIT after `statement`, which names the path, or the `token`; and the first send that contains
    `answer`.
    """
    token = token or PurePosixPath(path).name
    named = _first(calls, lambda call: call.name in _SENDS and statement in call.arguments and token in call.arguments)
    if named is None:
        return [f"no {statement} names {path}"]
    commit = _commit_after(calls, named)
    if commit is None:
        return [f"no COMMIT follows the {statement} of {path}"]
    wrong = [line for one in (path, *beside) for line in _not_durable(calls, one, commit.begin)]
    if answer is not None:
        wrong += _answered_early(calls, commit, answer)
    return wrong


def removed_early(calls: Sequence[Call], path: str, statement: str) -> list[str]:
    """Return what a power cut would take if `path` is removed before the row that allows it is known to be durable.

    That is when the database has answered the COMMIT that follows `statement`.
    """
    removals = [call for call in calls if call.name == "unlink" and call.target == path]
    if not removals:
        return [f"{path} was never removed"]
    allowed = _first(calls, lambda call: call.name in _SENDS and statement in call.arguments)
    if allowed is None:
        return [f"{path} was removed, and nothing had allowed it by {statement}"]
    commit = _commit_after(calls, allowed)
    confirmed = None if commit is None else _answer_to(calls, commit)
    if confirmed is None or removals[0].begin < confirmed.end:
        return [f"{path} was removed before the database had confirmed {statement}"]
    return []


def _commit_after(calls: Sequence[Call], statement: Call) -> Call | None:
    return _first(
        calls,
        lambda call: call.name in _SENDS and call.target == statement.target and "COMMIT" in call.arguments
        and call.begin > statement.end,
    )  # fmt: skip


def _answer_to(calls: Sequence[Call], commit: Call) -> Call | None:
    return _first(
        calls, lambda call: call.name in RECEIVES and call.target == commit.target and call.end > commit.begin
    )


_SENDS = ("sendto", "sendmsg", "write", "writev")
_SYNCS = ("fsync", "fdatasync")


def _not_durable(calls: Sequence[Call], path: str, promised: int) -> list[str]:
    created = _first(calls, lambda call: call.name == "openat" and call.target == path and "O_CREAT" in call.arguments)
    writes = [call for call in calls if call.name in {"write", "pwrite64"} and call.target == path]
    if created is None or not writes:
        return [f"{path} was never written"]
    wrong = []
    if not _synced(calls, path, max(call.end for call in writes), promised):
        wrong.append(f"{path}: bytes were not synced when it was promised")
    directory = str(PurePosixPath(path).parent)
    if not _synced(calls, directory, created.end, promised):
        wrong.append(f"{path}: its name was not synced when it was promised")
    made = [call for call in calls if call.name == "mkdir" and path.startswith(call.target + "/")]
    return wrong + [
        f"{path}: the directory {call.target} was not synced when it was promised"
        for call in made
        if not _synced(calls, str(PurePosixPath(call.target).parent), call.end, promised)
    ]


def _answered_early(calls: Sequence[Call], commit: Call, answer: str) -> list[str]:
    confirmed = _answer_to(calls, commit)
    answered = _first(calls, lambda call: call.name in _SENDS and answer in call.arguments)
    if answered is None:
        return [f"nobody was told {answer}"]
    if confirmed is None or answered.begin < confirmed.end:
        return [f"{answer} was told before the database had confirmed it"]
    return []


def _synced(calls: Sequence[Call], target: str, after: int, before: int) -> bool:
    return any(
        call.name in _SYNCS and call.target == target and call.begin > after and call.end < before for call in calls
    )


def _first(calls: Sequence[Call], fits: object) -> Call | None:
    assert callable(fits)
    return next((call for call in calls if fits(call)), None)
