"""What the agent is told: a TOML file, and variables that go before it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Then = Literal["keep", "mark", "move", "delete"]
WaitFor = Literal["received", "receipt", "packed", "pinned", "ordered", "replicated", "proven"]
PREFIX = "ROADVAULT_AGENT_"
_DIRECTIVES = {"Y": r"\d{4}", "y": r"\d{2}", "j": r"\d{3}", "f": r"\d{1,6}", "z": r"(?:[+-]\d{2}:?\d{2}|Z)", "%": "%"}
_LEAST_RATE = 20_000
"""Bytes a second for each upload: a server gives up whoever is much slower."""


class BadConfig(Exception):
    """What the agent was told can't be followed; the message says what and why."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that is watched."""

    path: Path
    include: tuple[str, ...] = ("*",)
    """Patterns of paths below the folder, or of names; the case does not matter."""
    exclude: tuple[str, ...] = ("*.tmp", "*.part", "*.partial", "~*")
    settle_seconds: float = 30
    """Size and time have to be the same for so long."""
    marker: str = ""
    """If given, a file is taken only if another one is beside it: `{name}.done`, `{stem}.ok`."""
    check_open: bool = True
    """Leave files alone that a process of this machine has open for writing, where that can be told."""
    camera: str = ""
    """A regular expression with a group `camera`, looked for in the path below the folder; or just a name."""
    recorded: str = "mtime"
    """`mtime`, `none`, or how a time is written in the path: `%Y%m%d_%H%M%S`."""
    zone: str = ""
    """Whose time that is: `Asia/Shanghai`; by default this machine's."""
    tags: tuple[str, ...] = ()
    lat: float | None = None
    lon: float | None = None
    wait_for: WaitFor = "received"
    """What must be so before a file is done with."""
    then: Then = "keep"
    move_to: Path | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("then", get_args(Then)), ("wait_for", get_args(WaitFor))):
            if getattr(self, name) not in allowed:
                raise BadConfig(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if (self.then == "move") != (self.move_to is not None):
            raise BadConfig('then = "move" and move_to belong together')
        if self.move_to is not None and self.move_to.absolute().is_relative_to(self.path.absolute()):
            raise BadConfig(f"move_to must not lie in the folder itself: {self.move_to}")
        try:
            re.compile(self.camera)
            self.clock  # noqa: B018 - raises
            self._written  # noqa: B018 - likewise
        except re.error as error:
            raise BadConfig(f"camera is no regular expression: {error}") from None
        except (ZoneInfoNotFoundError, ValueError):
            raise BadConfig(f"zone is not known: {self.zone}") from None

    @property
    def clock(self) -> ZoneInfo | None:
        """The time zone of names."""
        return ZoneInfo(self.zone) if self.zone else None

    @property
    def _written(self) -> re.Pattern[str]:
        parts = re.split(r"%(.)", self.recorded)
        known = (
            re.escape(part) if number % 2 == 0 else _DIRECTIVES.get(part, r"\d{2}") for number, part in enumerate(parts)
        )
        return re.compile("".join(known))

    def camera_of(self, path: str) -> str | None:
        """Return the camera that a path below the folder tells of."""
        if "(?P<camera>" not in self.camera:
            return self.camera or None
        found = re.search(self.camera, path)
        return None if found is None else found["camera"]

    def recorded_at(self, path: str, mtime_ns: int) -> datetime | None:
        """Return when a file was recorded, by its path; where that does not tell, by its own time."""
        if self.recorded == "none":
            return None
        found = None if self.recorded == "mtime" else self._written.search(path)
        if found is not None:
            try:
                when = datetime.strptime(found[0], self.recorded)  # noqa: DTZ007 - names seldom tell their zone
                return when if when.tzinfo else when.replace(tzinfo=self.clock).astimezone(UTC)
            except (ValueError, OverflowError):
                pass  # digits that are no time
        when = datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC)
        return when if 1970 < when.year < 2200 else None  # noqa: PLR2004 - what the server takes


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of it."""

    url: str
    token: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    state: Path = Path("/var/lib/roadvault-agent")
    """A directory for what has to outlive the agent."""
    poll_seconds: float = 10
    bytes_per_second: float = 0
    """For all uploads together; 0 is no bound."""
    uploads_at_once: int = 4
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    """0: no metrics."""
    forget_days: float = 90
    """Files that are gone and done are forgotten after so long."""
    folders: tuple[Folder, ...] = field(default=())

    @property
    def workers(self) -> int:
        """How many uploads go on at once: fewer on a thin line."""
        most = self.bytes_per_second // _LEAST_RATE if self.bytes_per_second else self.uploads_at_once
        return int(max(1, min(self.uploads_at_once, most)))

    def secret(self) -> str | None:
        """Return the token, if there is one."""
        return (self.token_file.read_text().strip() if self.token_file else self.token) or None


T = TypeVar("T", Config, Folder)


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file, if there is one, and the variables.

    Raises:
        BadConfig: There is something wrong with them.
    """
    told: dict[str, Any] = {}
    try:
        if path is not None:
            told = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} can't be read: {error}") from None
    folders = told.pop("folder", [])
    told |= {name: environment[key] for name in _names(Config) if (key := PREFIX + name.upper()) in environment}
    if not folders or not isinstance(folders, list):
        raise BadConfig("there is no [[folder]] to watch")
    return _made(Config, {**told, "folders": tuple(_made(Folder, one) for one in folders)})


def _names(kind: type) -> list[str]:
    return [one.name for one in fields(kind) if one.name != "folders"]


def _made(kind: type[T], told: dict[str, Any]) -> T:
    known = {one.name: one for one in fields(kind)}
    unknown: list[str] = sorted(told.keys() - known.keys())
    missing: list[str] = [name for name, one in known.items() if one.default is MISSING and name not in told]
    if unknown or missing:
        raise BadConfig(
            "; ".join([*(f"{one} is not a setting" for one in unknown), *(f"{one} is missing" for one in missing)])
        )
    try:
        return kind(**{name: _as(known[name].type, value) for name, value in told.items()})
    except (TypeError, ValueError) as error:
        raise BadConfig(str(error)) from None


def _as(kind: Any, value: Any) -> Any:  # noqa: ANN401 - of TOML, or a variable's text
    options = get_args(kind) or (kind,)
    if Path in options:
        return Path(value)
    if kind == tuple[str, ...]:
        return tuple(str(one) for one in ([value] if isinstance(value, str) else value))
    for number in (float, int):
        if number in options:
            return number(value)
    if kind in {str, bool} and not isinstance(value, kind):
        raise TypeError(f"{value!r} should be a {kind.__name__}")
    return value
