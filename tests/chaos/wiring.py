"""How the stack is arranged to be broken: fault proxies, two of each service and room for a third, bent clocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from chaos.proxies import Proxies, toxiproxy
from free_ports import pick_free

from roadvault_stack import plan
from roadvault_stack.environment import SERVICES
from roadvault_stack.plan import Group, Plan, Program, says, says_ready
from roadvault_stack.ports import HOST
from roadvault_stack.settings import StackSettings

LEASE_SECONDS = 6
ORPHAN_SECONDS = 60
LINK_SECONDS = 60
"""Extractions hold their room for as long as their links live (and ten minutes more), however full the disk is."""
STALL_SECONDS = 5
"""After which IPFS, the proof's gateway, the chain and clients are given up when nothing comes."""
UPLOAD_EXPIRES_SECONDS = UPLOAD_HOLD_SECONDS = 60
"""For which an upload that nobody goes on with is kept, and its room."""

THIRDS = "thirds"
"""The group of the third processes, which run for a while at a time."""

_SERVICE_SETTINGS = {
    "LEASE_SECONDS": LEASE_SECONDS,
    "SWEEP_SECONDS": 2,
    "DRAIN_SECONDS": 4,
    "ORPHAN_HOURS": ORPHAN_SECONDS / 3600,
    "QUARANTINE_DAYS": ORPHAN_SECONDS / 86_400,
    "SWEEP_FILES": 10_000,
    "DISK_MARGIN_BYTES": 8 << 20,
    "EVENT_RECLAIM_SECONDS": 8,
    "IPFS_STALL_SECONDS": STALL_SECONDS,
    "PROOF_STALL_SECONDS": STALL_SECONDS,
    "CALLBACK_TIMEOUT_SECONDS": 2,
    "LINK_TTL_SECONDS": LINK_SECONDS,
    "UPLOAD_STALL_SECONDS": STALL_SECONDS,
    "UPLOAD_EXPIRES_HOURS": UPLOAD_EXPIRES_SECONDS / 3600,
    "UPLOAD_HOLD_SECONDS": UPLOAD_HOLD_SECONDS,
    "DOWNLOAD_GRACE_SECONDS": STALL_SECONDS,
    "CRUST_TIMEOUT_SECONDS": STALL_SECONDS,
    "CRUST_CHECK_SECONDS": 5,
    "CATALOGUE_SECONDS": 3,
    "CATALOGUE_ORDER_SECONDS": 30,
    "LOG_FORMAT": "json",
}
_PROXIED = {
    "database": "mariadb_port",
    "redis": "redis_port",
    "ipfs-rpc": "ipfs_rpc_port",
    "ipfs-gateway": "ipfs_gateway_port",
    "proof-gateway": "network_ipfs_gateway_port",
    "chain": "devnet_port",
    "links": "public_port",
    "api": "ingest_port",
}
"""The connections that can be slowed, cut or left half open, and the ports that they lead to."""


@dataclass(frozen=True)
class Wiring:
    """What runs, and through which doors it is reached."""

    plan: Plan
    proxies: Proxies
    doors: list[str]
    """Where each of ingest's processes takes uploads and requests: the first two behind proxies, the third directly."""
    receiver_port: int
    """Where callbacks have to be taken."""
    receiver_url: str
    """The same, as the notifier reaches it, through a proxy."""


def second(service: str) -> str:
    """Return the name of a service's second process, which runs all the time."""
    return f"{service}-2"


def third(service: str) -> str:
    """Return the name of the process that a service has besides for a while."""
    return f"{service}-3"


def arrange(root: Path) -> tuple[StackSettings, Wiring]:
    """Lay out a new stack below `root`."""
    # All at once: two calls could give out the same port twice, since nothing listens yet.
    names = list(StackSettings(dir=root).ports())
    ports = iter(pick_free(len(names) + len(_PROXIED) + 6 * len(SERVICES) + 4))
    settings = _settings(root, dict(zip(names, ports, strict=False)))
    made = plan.make(settings)
    control, receiver = next(ports), next(ports)
    targets = {name: (next(ports), getattr(settings, port)) for name, port in _PROXIED.items()}
    addresses = {f"{HOST}:{port}": f"{HOST}:{listen}" for listen, port in targets.values()}
    servers, network, services = made.groups
    # Not through the witness: its node would dial the network's again only a while after that was killed.
    gateway = {"PROOF_GATEWAY_URL": f"http://{HOST}:{settings.network_ipfs_gateway_port}"}
    first = [_prepared(program, addresses, gateway) for program in services.programs]
    others = [_another(program, second(program.name), ports) for program in first]
    thirds = [_another(program, third(program.name), ports) for program in first]
    bent = [[_bent(program, root) for program in programs] for programs in (first, others, thirds)]
    targets |= {"api-2": (next(ports), _port(others)), "receiver": (next(ports), receiver)}
    command = toxiproxy(control, root / "toxiproxy.json", targets)
    proxy = Program("toxiproxy", command, {}, partial(Proxies.answers, control), 5)
    groups = [
        Group(servers.name, [*servers.programs, proxy]),
        network,
        Group(services.name, bent[0] + bent[1]),
        Group(THIRDS, bent[2]),
    ]
    doors = [f"http://{HOST}:{port}" for port in (targets["api"][0], targets["api-2"][0], _port(thirds))]
    receiver_url = f"http://{HOST}:{targets['receiver'][0]}"
    proxies = Proxies(control, list(targets))
    return settings, Wiring(replace(made, groups=groups), proxies, doors, receiver, receiver_url)


def _settings(root: Path, ports: dict[str, int]) -> StackSettings:
    values = {"folder_bytes": 2 << 20, "folder_age_seconds": 6, "block_seconds": 0.15, "replicas_per_block": 20}
    return StackSettings.model_validate({"dir": root, **values, **ports})


def _prepared(program: Program, addresses: dict[str, str], more: dict[str, str]) -> Program:
    """Have a service reach its servers through the proxies, and wait less long for everything."""
    given = {f"ROADVAULT_{name}": str(value) for name, value in (_SERVICE_SETTINGS | more).items()}
    environment = {**program.environment, **given}
    for address, proxied in addresses.items():
        environment = {name: value.replace(address, proxied) for name, value in environment.items()}
    return replace(program, environment=environment)


def _another(program: Program, name: str, ports: Iterator[int]) -> Program:
    port = next(ports)
    environment = {
        **program.environment,
        "ROADVAULT_HTTP_PORT": str(port),
        "ROADVAULT_PUBLIC_PORT": str(next(ports)),
        "ROADVAULT_STREAM_PORT": str(next(ports)),
        "ROADVAULT_INGEST_WORKER": name,
    }
    return replace(
        program, name=name, environment=environment, ready=partial(says_ready, port), explain=partial(says, port)
    )


def _port(programs: list[Program]) -> int:
    ingest = next(program for program in programs if program.name.startswith("ingest"))
    return int(ingest.environment["ROADVAULT_HTTP_PORT"])


# --- clocks ------------------------------------------------------------------------------------------------------


def bend(file: Path, shift: float) -> None:
    """Set the wall clock that `bendable` reads from this file ahead by so many seconds.

    Never by a rate: libfaketime would then stretch or shorten time-outs as well, the monotonic clock's among them.
    """
    new = file.with_suffix(".new")
    new.write_text(f"{shift:+.3f}")
    new.replace(file)  # the clock is looked at all the time, and must not be found empty


def bendable(file: Path) -> dict[str, str]:
    """Return the environment of a process whose wall clock, and nothing else, goes by this file."""
    # The variant for programs with threads.
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise AssertionError("libfaketime is not on this machine: run `make setup-tests`")
    bend(file, 0)
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",  # seconds; else the file is read at each look at a clock, monotonic ones too
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def clock(root: Path, program: str) -> Path:
    """Return the file that bends a process's wall clock."""
    return root / f"clock-{program}"


def _bent(program: Program, root: Path) -> Program:
    return replace(program, environment={**program.environment, **bendable(clock(root, program.name))})
