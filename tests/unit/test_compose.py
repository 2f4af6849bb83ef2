"""docker-compose.yml, parsed by a real compose implementation: every variable is a setting, and every setting there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from roadvault_common.app import FORCE_SECONDS
from roadvault_common.config import PREFIX, DatabaseSettings
from roadvault_common.crypto import MasterKeys
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_door.config import DoorSettings
from roadvault_ingest.config import IngestSettings
from roadvault_notifier.config import NotifierSettings
from roadvault_packer.config import PackerSettings
from roadvault_pinner.config import PinnerSettings
from roadvault_retriever.config import RetrieverSettings
from roadvault_stack.environment import GRANTS

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, type[BaseSettings]] = {
    "migrate": DatabaseSettings,
    "ingest": IngestSettings,
    "door": DoorSettings,
    "packer": PackerSettings,
    "pinner": PinnerSettings,
    "crust-orderer": OrdererSettings,
    "retriever": RetrieverSettings,
    "notifier": NotifierSettings,
}
FILLED_IN = "filled-in-as-an-operator-would"
SET_BY_COMPOSE = {
    "DATABASE_URL": "its own MariaDB, with ROADVAULT_DATABASE_PASSWORD",
    "REDIS_URL": "its own Redis",
    "IPFS_RPC_URL": "its own Kubo",
    "IPFS_GATEWAY_URL": "likewise",
    "HTTP_HOST": "inside the container; ROADVAULT_INTRANET_ADDRESS is what the machine shows",
    "HTTP_PORT": "what Prometheus and the health checks ask",
    "PUBLIC_HOST": "inside the container; ROADVAULT_PUBLIC_ADDRESS is what the machine shows",
    "PUBLIC_PORT": "likewise",
    "DATA_DIR": "on the volume, where Kubo's filestore sees it at the same path",
    "INGEST_WORKER": "one ingest; its open folder outlives its container",
    "DRAIN_SECONDS": "stop_grace_period has to be longer",
    "NOTICE_SECONDS": "likewise",
    "CRUST_SEED": "a secret of its own, never in the environment: ROADVAULT_CRUST_SEED_FILE",
    "CRUST_SEED_FILE": "where that secret is in the container",
}
"""Settings that .env has no say in, and what stands in for them."""


def _example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value or FILLED_IN for name, _, value in pairs}


def _may_be_set() -> dict[str, str]:
    """Return the settings that the example shows behind a `#`, with the values it gives them."""
    pairs = re.findall(r"^#(ROADVAULT_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return {name: value or FILLED_IN for name, value in pairs}


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    env_file = tmp_path_factory.mktemp("compose") / ".env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in _example().items()))
    # --dry-run: podman itself is not needed for parsing.
    parser = [str(Path(sys.executable).with_name("podman-compose")), "--dry-run"]
    done = subprocess.run(
        [*parser, "--env-file", str(env_file), "--file", str(ROOT / "docker-compose.yml"), "config"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr, done.stderr
    parsed: dict[str, Any] = yaml.safe_load(done.stdout)
    return parsed


def _environment(compose: dict[str, Any], service: str) -> dict[str, str | None]:
    """Return a service's variables; None for those that are passed on if they stand in .env."""
    environment = compose["services"][service]["environment"]
    return {name: value if value is None else str(value) for name, value in environment.items()}


def _given(compose: dict[str, Any], service: str, env_file: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a service gets of such an .env."""
    passed = {**_environment(compose, service)}
    passed |= {name: (env_file or {}).get(name) for name, value in passed.items() if value is None}
    return {name: value for name, value in passed.items() if value is not None and name.startswith(PREFIX)}


@pytest.mark.parametrize("service", list(SETTINGS))
def test_every_variable_is_a_setting_that_the_service_reads(compose: dict[str, Any], service: str) -> None:
    fields = {f"{PREFIX}{name.upper()}" for name in SETTINGS[service].model_fields}
    assert _given(compose, service).keys() <= fields
    assert _environment(compose, service).keys() <= fields


@pytest.mark.parametrize("service", list(SETTINGS))
def test_every_setting_can_be_set_in_env(compose: dict[str, Any], service: str) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    settable = set(re.findall(r"^ +(\w+): \$\{\1:", text, re.MULTILINE))
    settable |= {name for name, value in _environment(compose, service).items() if value is None}
    fields = {f"{PREFIX}{name.upper()}" for name in SETTINGS[service].model_fields}
    not_settable = {name.removeprefix(PREFIX) for name in fields - settable}
    assert not_settable <= SET_BY_COMPOSE.keys(), "add them to docker-compose.yml, without a value"
    assert not {f"{PREFIX}{name}" for name in SET_BY_COMPOSE} & settable


@pytest.mark.parametrize("env_file", [{}, _may_be_set()], ids=["least", "all"])
@pytest.mark.parametrize("service", list(SETTINGS))
def test_every_service_starts_with_what_it_is_given(
    compose: dict[str, Any], service: str, env_file: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in _given(compose, service, env_file).items():
        monkeypatch.setenv(name, value)
    SETTINGS[service]()


def test_every_variable_of_the_example_is_used_and_none_is_missing() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == _example().keys()


def test_what_the_example_says_may_be_set_is_passed_on(compose: dict[str, Any]) -> None:
    passed = {name for service in GRANTS for name, value in _environment(compose, service).items() if value is None}
    assert _may_be_set().keys() <= passed


@pytest.mark.parametrize("secret", ["ROADVAULT_MASTER_KEYS", "ROADVAULT_LINK_SECRET", "ROADVAULT_DATABASE_PASSWORD"])
def test_the_commands_that_make_secrets_make_secrets_that_are_taken(secret: str) -> None:
    head = (ROOT / ".env.example").read_text().partition(f"\n{secret}=")[0]
    command = re.findall(r"openssl .*", head)[-1]
    made = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout.strip()
    if secret == "ROADVAULT_MASTER_KEYS":
        MasterKeys(SecretStr(made))
    assert len(made) >= 44
    assert not set(made) & set("/@$")


def test_secrets_go_only_where_the_local_stack_gives_them(compose: dict[str, Any]) -> None:
    for secret in ("MASTER_KEYS", "LINK_SECRET"):
        holders = {service for service in GRANTS if f"{PREFIX}{secret}" in _environment(compose, service)}
        assert holders == {service for service, granted in GRANTS.items() if secret in granted}
    holders = {name for name, service in compose["services"].items() if service.get("secrets")}
    assert holders == {"crust-orderer"}


def test_servers_are_healthy_and_tables_are_there_before_a_service_starts(compose: dict[str, Any]) -> None:
    for name in GRANTS:
        service = compose["services"][name]
        waits = {other: how["condition"] for other, how in service["depends_on"].items()}
        assert waits["mariadb"] == "service_healthy"
        assert name == "door" or waits["redis"] == "service_healthy"
        assert waits["migrate"] == "service_completed_successfully"
        assert service["healthcheck"]["test"]
        assert service["command"] == [f"roadvault-{name}"]


def test_only_what_people_and_nodes_ask_has_ports(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if service.get("ports")}
    assert ports.keys() == {"ingest", "door", "ipfs", "prometheus", "alertmanager"}
    assert ports["ingest"] == ["127.0.0.1:7001:7001"]
    assert ports["door"] == ["0.0.0.0:7002:7002"]


def test_the_door_writes_nothing_and_has_no_keys(compose: dict[str, Any]) -> None:
    door = compose["services"]["door"]
    assert door["read_only"]
    assert [volume.rpartition(":")[2] for volume in door["volumes"]] == ["ro"]
    given = _environment(compose, "door").keys()
    assert not {f"{PREFIX}{name}" for name in ("MASTER_KEYS", "REDIS_URL", "CRUST_URL", "IPFS_RPC_URL")} & given


def test_kubo_sees_archives_where_the_services_write_them(compose: dict[str, Any]) -> None:
    services = compose["services"]
    repository = Path(services["ipfs"]["environment"]["IPFS_PATH"])
    data = Path(_given(compose, "pinner")["ROADVAULT_DATA_DIR"])
    assert repository.parent in data.parents  # what the filestore asks for
    for name in ("ipfs", "ingest", "packer", "pinner", "retriever"):
        assert f"vault:{repository.parent}" in services[name]["volumes"]


def test_prometheus_asks_every_replica_of_every_service_where_it_listens(compose: dict[str, Any]) -> None:
    (job,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {(name, str(names["port"])) for names in job["dns_sd_configs"] for name in names["names"]}
    assert targets == {(name, _given(compose, name)["ROADVAULT_HTTP_PORT"]) for name in GRANTS}
    assert {names["type"] for names in job["dns_sd_configs"]} == {"A"}  # an address for each container of a service


def test_alerts_reach_somebody_who_passes_them_on(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    ((target,),) = (each["targets"] for each in config["alerting"]["alertmanagers"][0]["static_configs"])
    assert target.partition(":")[0] in compose["services"]


@pytest.mark.parametrize("service", list(GRANTS))
def test_a_service_has_left_by_force_before_it_is_killed(compose: dict[str, Any], service: str) -> None:
    given, defaults = _given(compose, service), SETTINGS[service].model_fields
    notice, drain = (
        float(given.get(f"{PREFIX}{name.upper()}", defaults[name].default))
        for name in ("notice_seconds", "drain_seconds")
    )
    grace = float(compose["services"][service]["stop_grace_period"].removesuffix("s"))
    assert grace > notice + drain + FORCE_SECONDS
