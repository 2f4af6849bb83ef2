"""What Prometheus sees of each service, as it stands after its start: each as a process of its own."""

import asyncio

import aiohttp
import asked
import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers_devnet import Devnet
from servers_services import Services

from roadvault_common.build import REVISION, VERSION
from roadvault_common.files.room import Purpose
from roadvault_common.sql.db import Database
from roadvault_common.work import outage_store

STAGES = {
    "ingest": ("ask",),
    "door": (),
    "packer": ("pack",),
    "pinner": ("pin", "drop", "restore", "inspect"),
    "crust-orderer": ("watch", "order", "prove", "audit"),
    "retriever": ("fetch", "expire", "look"),
    "notifier": ("callback", "report"),
}
STREAMS = {
    "ingest": (),
    "door": (),
    "packer": ("file.received",),
    "pinner": ("folder.sealed", "zip.replicated"),
    "crust-orderer": ("zip.pinned",),
    "retriever": ("download.requested",),
    "notifier": ("file.extracted",),
}


def _audited(place: str) -> set[str]:
    gauges = ("oldest_audit_seconds", "audit_period_seconds", "archives_unsound", "audit_failures_total")
    return {*(f"roadvault_{name} place={place}" for name in gauges), "roadvault_sample_age_seconds sample=audits"}


OWN: dict[str, set[str]] = {
    "ingest": {
        "roadvault_stage_bytes_total stage=receive",
        "roadvault_schema_version",
        "roadvault_sample_age_seconds sample=schema",
    },
    "door": {
        "roadvault_stage_bytes_total stage=serve",
        *(f"roadvault_connections_cut_total why={why}" for why in ("header", "crowd", "full", "stalled")),
    },
    "packer": set(),
    "pinner": {
        *_audited("local"),
        "roadvault_garbage_stays_seconds",
        "roadvault_pins_broken",
        "roadvault_ipfs_disk_free_bytes",
        "roadvault_sample_age_seconds sample=ipfs disk",
    },
    "crust-orderer": {
        *_audited("network"),
        "roadvault_crust_balance_cru",
        "roadvault_replicas_count",
        "roadvault_finalized_head_age_seconds",
        "roadvault_soonest_expiry_seconds",
        "roadvault_stored_bytes",
        *(
            f"roadvault_archives state={state}"
            for state in ("not_ordered", "ordered", "order_failed", "live", "expired")
        ),
        "roadvault_archives_expired",
        "roadvault_archives_under_floor",
        "roadvault_oldest_unreplicated_seconds",
        *(f"roadvault_sample_age_seconds sample={name}" for name in ("rows", "events", "archives", "chain", "money")),
    },
    "retriever": {
        f"roadvault_fetch_{what}_total source={source}"
        for what in ("sources", "rot", "unreadable")
        for source in ("received", "archive", "ipfs")
    },
    "notifier": set(),
}
DOMAINS = {
    "ingest": ("redis",),
    "door": (),
    "packer": ("database", "disk", "redis"),
    "pinner": ("database", "ipfs", "ipfs disk", "network", "redis"),
    "crust-orderer": ("database", "market", "redis"),
    "retriever": ("database", "disk", "ipfs", "ipfs disk", "network", "redis"),
    "notifier": ("database", "redis"),
}
ON_DISK = ("ingest", "packer", "pinner", "retriever")


def expected(name: str, data_dir: str) -> set[str]:
    """Return the series that a service has to show."""
    series = {"roadvault_http_seconds_count route=/readyz status=200"} | OWN[name]
    series |= {f"roadvault_build_info revision={REVISION} service={name} version={VERSION}"}
    for stream in STREAMS[name]:
        series |= {
            f"roadvault_events_total end={end} stream={stream}" for end in ("handled", "retried", "dead_lettered")
        }
        series |= {
            f"roadvault_{what} stream={stream}"
            for what in ("event_handler_seconds_count", "stream_lag_events", "stream_pending_events")
        }
    for stage in STAGES[name]:
        series |= {
            f"roadvault_stage_outcomes_total outcome={outcome} stage={stage}"
            for outcome in ("done", "wait", "retry", "failed")
        }
        series |= {
            f"roadvault_{what} stage={stage}"
            for what in (
                "rows_due",
                "rows_failed",
                "oldest_due_seconds",
                "oldest_waiting_seconds",
                "stage_bytes_total",
                "stage_seconds_count",
            )
        }
    for domain in DOMAINS[name]:
        series |= {f"roadvault_breaker_{what} domain={domain}" for what in ("open", "open_seconds")}
    if name in ON_DISK:
        series |= {f"roadvault_disk_free_bytes data_dir={data_dir}", "roadvault_sample_age_seconds sample=disk"}
        series |= {
            f"roadvault_disk_{what} purpose={purpose}"
            for what in ("reserved_bytes", "waiting_seconds")
            for purpose in Purpose
        }
    return series


SEEN: dict[str, list[dict[str, str]]] = {}
"""The labels of all series that services of this module have shown, by metric."""


async def shown(url: str) -> set[str]:
    """Scrape a service; return its series as a name and its labels in order."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        text = await response.text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    for sample in samples:
        SEEN.setdefault(sample.name, []).append(sample.labels)
    return {
        " ".join([sample.name, *(f"{label}={value}" for label, value in sorted(sample.labels.items()))])
        for sample in samples
    }


async def see(services: Services, request: pytest.FixtureRequest, name: str) -> None:
    """Start a service, and see that it shows what it has to."""
    crust = {}
    if name == "crust-orderer":
        devnet: Devnet = request.getfixturevalue("devnet")
        crust = {"crust_url": devnet.url, "crust_seed": "//Alice"}
    service = services(name, **crust)
    await service.start()
    wanted = expected(name, service.environment["ROADVAULT_DATA_DIR"])
    async with asyncio.timeout(30):
        while not wanted <= await shown(service.url):  # gauges are read from the servers on a timer
            assert service.process is not None
            assert service.process.returncode is None, service.log.read_text()
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", list(STAGES))
async def test_a_service_shows_what_there_is_to_see(
    services: Services, request: pytest.FixtureRequest, name: str
) -> None:
    await see(services, request, name)


async def test_dashboards_ask_for_what_services_show(services: Services, request: pytest.FixtureRequest) -> None:
    for name in STAGES.keys() - {labels["service"] for labels in SEEN.get("roadvault_build_info", [])}:
        await see(services, request, name)  # where the tests above have not had it up
    assert not asked.wrong(SEEN)


async def test_a_service_that_waits_for_something_says_so_and_is_ready_for_all_else(
    services: Services, database_url: str
) -> None:
    pinner = services("pinner", redis_url="redis://127.0.0.1:1/0", sweep_seconds=1)
    await pinner.start()
    async with aiohttp.ClientSession() as http, Database.open(database_url) as db, asyncio.timeout(30):
        while not (seen := await outage_store.away(db)):
            await asyncio.sleep(0.05)
        async with http.get(f"{pinner.url}/readyz") as response:
            assert response.status == 200
            away = (await response.json())["away"]
    assert [(row["domain"], row["service"]) for row in seen] == [("redis", "pinner")]
    assert "Redis can't be reached" in away["redis"]["reason"]
    assert away["redis"]["seconds"] >= 0
