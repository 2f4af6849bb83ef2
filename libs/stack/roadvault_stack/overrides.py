"""Settings of the environment: they win over the stack's own, and one that can't is refused, never passed over.

What settings there are, services and devnet say themselves, as entry points of the group `roadvault.settings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from pydantic_settings import BaseSettings

from roadvault_common.settings.config import PREFIX
from roadvault_common.settings.secret_files import SUFFIX, is_secret
from roadvault_stack import settings
from roadvault_stack.errors import StackError
from roadvault_stack.ports import FREE_PORTS
from roadvault_stack.processes import MARK
from roadvault_stack.settings import StackSettings

_OWN = "the stack runs one of its own"
_STOPS = "the stack kills what has not ended 20 seconds after it was told to stop"
_LOCAL = f"set {settings.PREFIX}"
DECIDED = {
    **dict.fromkeys(("DATABASE_URL", "DATABASE_PASSWORD", "REDIS_URL", "REDIS_PASSWORD"), _OWN),
    **dict.fromkeys(("IPFS_RPC_URL", "IPFS_RPC_TOKEN", "IPFS_GATEWAY_URL", "DEVNET_KUBO_RPC_URL"), _OWN),
    **dict.fromkeys(("DRAIN_SECONDS", "NOTICE_SECONDS"), _STOPS),
    "DATA_DIR": f"{_LOCAL}DIR",
    **dict.fromkeys(("STORE", "STORE_LINK_URL", "STORE_STREAM_URL"), f"{_LOCAL}STORES"),
    "DEVNET_DATA_DIR": f"{_LOCAL}DIR",
    "HTTP_PORT": f"each service has another: {_LOCAL}INGEST_PORT, {settings.PREFIX}PACKER_PORT, …",
    "PUBLIC_PORT": f"{_LOCAL}PUBLIC_PORT",
    "STREAM_PORT": f"{_LOCAL}STREAM_PORT",
    **dict.fromkeys(("STREAM_HOST", "STREAM_URL"), "its door and its retriever find each other on this machine"),
    "DEVNET_PORT": f"{_LOCAL}DEVNET_PORT",
    "DEVNET_HOST": "who reaches it can do anything",
    "DEVNET_BLOCK_SECONDS": f"{_LOCAL}BLOCK_SECONDS, which services go by, too",
    "DEVNET_REPLICAS_PER_BLOCK": f"{_LOCAL}REPLICAS_PER_BLOCK",
}
"""Settings that the stack decides itself, and why, or what to set instead."""
_NOT_SETTINGS = frozenset({MARK, FREE_PORTS})


@dataclass(frozen=True)
class Override:
    """A setting of the environment, by its name without `ROADVAULT_`."""

    name: str
    value: str
    secret: bool
    readers: tuple[str, ...]
    """The services that have it, or the devnet."""

    @property
    def replaces(self) -> str:
        """The setting that it takes the place of: itself, unless it names the file of a secret."""
        return self.name if self.secret or not self.name.endswith(SUFFIX) else self.name.removesuffix(SUFFIX)

    def __str__(self) -> str:
        """Return what the person at the terminal is told: no secret, and no URL's path, where a key may stand."""
        scheme, separator, rest = self.value.partition("://")
        shown = f"{scheme}://{rest.rpartition('@')[2].partition('/')[0]}" if separator else self.value
        return f"{PREFIX}{self.name}{'' if self.secret else f'={shown}'} for {', '.join(self.readers)}"


@cache
def _known() -> dict[str, dict[str, bool]]:
    """Return the settings of each program, and whether they are secret."""
    found: dict[str, dict[str, bool]] = {}
    for entry in sorted(entry_points(group="roadvault.settings")):
        of: type[BaseSettings] = entry.load()
        prefix = str(of.model_config.get("env_prefix")).removeprefix(PREFIX)
        names = {f"{prefix}{name}".upper(): is_secret(field) for name, field in of.model_fields.items()}
        found[entry.name] = names | {f"{name}{SUFFIX}": False for name, secret in names.items() if secret}
    if not found:
        raise StackError("The services' settings are not known, as after an update: run `make setup`.")
    return found


def read(environment: Mapping[str, str], own: Mapping[str, str]) -> list[Override]:
    """Return what wins over the stack's `own` values; what is the same anyway is left out.

    Raises:
        StackError: Nobody reads a setting, or the stack has to decide it; all of them are named.
    """
    overrides, refusals = [], []
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        name, value = variable.removeprefix(PREFIX), environment[variable]
        if variable in _NOT_SETTINGS or own.get(name) == value:
            continue
        readers = tuple(program for program, names in _known().items() if name in names)
        refusal = _refusal(variable, name, value, readers)
        if refusal is not None:
            refusals.append(refusal)
        elif readers:
            overrides.append(Override(name, _absolute(name, value), _known()[readers[0]][name], readers))
    if refusals:
        raise StackError("\n".join(refusals))
    return overrides


def _refusal(variable: str, name: str, value: str, readers: tuple[str, ...]) -> str | None:
    """Return why a variable can't be taken, or None."""
    local = {f"{settings.PREFIX}{field.upper()}" for field in StackSettings.model_fields}
    if variable in local:
        return None
    if not readers:
        known = {f"{PREFIX}{one}" for names in _known().values() for one in names} | local
        alike = get_close_matches(variable, known, n=1)
        return f"{variable}: no service has such a setting" + (f"; did you mean {alike[0]}?" if alike else ".")
    if (decided := DECIDED.get(name.removesuffix(SUFFIX))) is not None:
        return f"{variable} can't be set for the local stack: {decided}."
    if any(character in value for character in '%;#\n"\\'):  # supervisor's configuration has no sure way of escaping
        return (
            f"{variable}: the stack can't pass on a value with any of % ; # \" \\ in it; a secret may stand in a file."
        )
    return None


def _absolute(name: str, value: str) -> str:
    return str(Path(value).resolve()) if name.endswith(SUFFIX) else value
