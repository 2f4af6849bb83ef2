"""docker-compose.yml, parsed by a real compose implementation: every variable is a setting, and every setting there."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from roadvault_common.access.callback_keys import CallbackKeys
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.process.app import FORCE_SECONDS
from roadvault_common.settings.archives import IpfsSettings, KeySettings
from roadvault_common.settings.config import PREFIX, DatabaseSettings
from roadvault_common.settings.secret_files import SUFFIX, is_secret
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_door.config import DoorSettings
from roadvault_ingest.config import IngestSettings
from roadvault_notifier.config import NotifierSettings
from roadvault_operator.config import OperatorSettings
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
MOUNTED = "/run/secrets/"
FILLED_IN = "filled-in-as-an-operator-would"
SET_BY_COMPOSE = {
    "DATABASE_URL": "its own MariaDB",
    "REDIS_URL": "its own Redis",
    "IPFS_RPC_URL": "its own Kubo",
    "IPFS_GATEWAY_URL": "likewise",
    "WITNESS_RPC_URL": "its own witness",
    "WITNESS_GATEWAY_URL": "likewise",
    "DOOR_URL": "its own door",
    "HTTP_HOST": "inside the container; ROADVAULT_INTRANET_ADDRESS is what the machine shows",
    "HTTP_PORT": "what Prometheus and the health checks ask",
    "PUBLIC_HOST": "inside the container; ROADVAULT_PUBLIC_ADDRESS is what the machine shows",
    "PUBLIC_PORT": "likewise",
    "STREAM_URL": "its own retriever",
    "STREAM_HOST": "inside the container",
    "STREAM_PORT": "what the door asks",
    "DATA_DIR": "on the volume, where Kubo's filestore sees it at the same path",
    "INGEST_WORKER": "one ingest; its open folder outlives its container",
    "DRAIN_SECONDS": "stop_grace_period has to be longer",
    "NOTICE_SECONDS": "likewise",
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
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of secrets, as an operator makes them."""
    directory = tmp_path_factory.mktemp("secrets")
    _make_secrets(directory, directory / "no.env")
    for name, value in (
        ("crust_seed", "//Alice"),
        ("pinning_token", FILLED_IN),
        ("callback_secret", "whsec_MTIzNDU2"),
        ("oidc_client_secret", FILLED_IN),
        ("copy_secret", FILLED_IN),
    ):
        (directory / name).write_text(value)
    return directory


def _make_secrets(directory: Path, env_file: Path) -> str:
    done = subprocess.run(
        ["sh", str(ROOT / "deploy" / "make-secrets.sh")],
        env={"PATH": os.environ["PATH"], "ROADVAULT_SECRETS_DIR": str(directory), "ENV_FILE": str(env_file)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _parsed(tmp_path_factory.mktemp("compose") / ".env")


def _parsed(env_file: Path, *more: str, env: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return what compose makes of docker-compose.yml, and of more files."""
    env_file.write_text("".join(f"{name}={value}\n" for name, value in {**_example(), **env}.items()))
    files = [part for name in ("docker-compose.yml", *more) for part in ("--file", str(ROOT / name))]
    # --dry-run: podman itself is not needed for parsing.
    parser = [
        str(Path(sys.executable).with_name("podman-compose")),
        "--dry-run",
        "--profile",
        "backup",
        "--profile",
        "operator",
        "--profile",
        "monitoring",
    ]
    done = subprocess.run(
        [*parser, "--env-file", str(env_file), *files, "config"],
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


def _variables(service: str) -> set[str]:
    """Return the variables that a service reads; of a secret that of its file."""
    fields = SETTINGS[service].model_fields.items()
    return {f"{PREFIX}{name.upper()}{SUFFIX if is_secret(field) else ''}" for name, field in fields}


def _urls(service: str) -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in SETTINGS[service].model_fields if name.endswith("_url")}


@pytest.mark.parametrize("service", list(SETTINGS))
def test_every_variable_is_a_setting_that_is_read_and_no_secret(compose: dict[str, Any], service: str) -> None:
    fields = _variables(service) | _urls(service)
    assert _given(compose, service).keys() <= fields
    assert _environment(compose, service).keys() <= fields


@pytest.mark.parametrize("service", list(SETTINGS))
def test_every_setting_can_be_set_in_env(compose: dict[str, Any], service: str) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    settable = set(re.findall(r"^ +(\w+): \$\{\1:", text, re.MULTILINE))
    given = _environment(compose, service)
    settable |= {name for name, value in given.items() if value is None or value.startswith(MOUNTED)}
    not_settable = {name.removeprefix(PREFIX).replace("_URL_FILE", "_URL") for name in _variables(service) - settable}
    assert not_settable <= SET_BY_COMPOSE.keys(), "add them to docker-compose.yml, without a value"
    assert not {f"{PREFIX}{name}" for name in SET_BY_COMPOSE} & settable


@pytest.mark.parametrize("env_file", [{}, _may_be_set()], ids=["least", "all"])
@pytest.mark.parametrize("service", list(SETTINGS))
def test_every_service_starts_with_what_it_is_given(
    compose: dict[str, Any], service: str, env_file: dict[str, str], monkeypatch: pytest.MonkeyPatch, secrets: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in _given(compose, service, env_file).items():
        monkeypatch.setenv(name, value.replace(MOUNTED, f"{secrets}/"))
    SETTINGS[service]()
    mounted = {value.removeprefix(MOUNTED) for value in _given(compose, service).values() if value.startswith(MOUNTED)}
    assert mounted == set(compose["services"][service].get("secrets", []))


def test_every_variable_of_the_example_is_used_and_none_is_missing() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == _example().keys()


def test_what_the_example_says_may_be_set_is_passed_on(compose: dict[str, Any]) -> None:
    passed = {name for service in GRANTS for name, value in _environment(compose, service).items() if value is None}
    assert _may_be_set().keys() <= passed


def test_secrets_are_made_once_and_are_ones_that_are_taken(secrets: Path) -> None:
    made = {path.name: path.read_text().strip() for path in secrets.iterdir()}
    MasterKeys(SecretStr(made["master_keys"]))
    CallbackKeys(SecretStr(made["callback_master_keys"]))
    assert made["callback_master_keys"] != made["master_keys"]
    for name in (
        "database_password",
        "door_database_password",
        "redis_password",
        "link_secret",
        "view_secret",
        "ipfs_rpc_token",
        "witness_rpc_token",
    ):
        assert re.fullmatch("[0-9a-f]{48}", made[name])
        assert (secrets / name).stat().st_mode & 0o777 == 0o444  # a container's user reads the file that is mounted
    assert secrets.stat().st_mode & 0o777 == 0o700  # and nobody else gets into the directory
    assert "there already" in _make_secrets(secrets, secrets / "no.env")
    assert {path.name: path.read_text().strip() for path in secrets.iterdir()} == made


def test_what_an_earlier_version_had_in_env_is_taken_over(tmp_path: Path) -> None:
    old = Fernet.generate_key().decode()
    (tmp_path / ".env").write_text(f"ROADVAULT_DATABASE_PASSWORD='as it was'\nROADVAULT_MASTER_KEYS={old},{old}\n")
    said = _make_secrets(tmp_path / "secrets", tmp_path / ".env")
    assert (tmp_path / "secrets/master_keys").read_text() == f"{old},{old}\n"
    assert (tmp_path / "secrets/database_password").read_text() == "as it was\n"
    assert "master_keys: taken from ROADVAULT_MASTER_KEYS" in said
    assert old not in said


def test_secrets_go_only_where_the_local_stack_gives_them(compose: dict[str, Any]) -> None:
    for secret in (
        "MASTER_KEYS",
        "CALLBACK_MASTER_KEYS",
        "LINK_SECRET",
        "VIEW_SECRET",
        "IPFS_RPC_TOKEN",
        "WITNESS_RPC_TOKEN",
        "CRUST_SEED",
    ):
        holders = {service for service in GRANTS if f"{PREFIX}{secret}_FILE" in _environment(compose, service)}
        assert holders == {service for service, granted in GRANTS.items() if secret in granted}
    for name, service in compose["services"].items():
        text = str(service.get("environment", {})) + str(service.get("command", ""))
        assert "PASSWORD:" not in text, name


def test_kubo_is_on_no_network_with_whoever_does_not_need_it(compose: dict[str, Any]) -> None:
    on = {name: set(service.get("networks") or []) for name, service in compose["services"].items()}
    assert {name for name, networks in on.items() if networks & on["ipfs"]} == {
        "ipfs",
        "pinner",
        "retriever",
        "operator",
    }
    assert {name for name, networks in on.items() if networks & on["witness"]} == {"witness", "crust-orderer"}
    assert {name for name, networks in on.items() if networks & on["mariadb"]} == {
        *SETTINGS,
        "mariadb",
        "redis",
        "operator",
    }
    outside = {name for name, network in compose["networks"].items() if not (network or {}).get("internal")}
    assert {name for name, networks in on.items() if networks & outside} == {
        "ingest", "door", "crust-orderer", "notifier", "ipfs", "witness", "prometheus", "alertmanager",
        "grafana",
    }  # fmt: skip
    assert {name for name, networks in on.items() if "watch" in networks} == {*GRANTS, "prometheus"}


def test_the_operators_container_leaves_no_log_and_is_given_what_its_commands_read(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, secrets: Path
) -> None:
    operator = compose["services"]["operator"]
    assert operator["logging"] == {"driver": "none"}
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    given = _given(compose, "operator")
    for name, value in given.items():
        monkeypatch.setenv(name, value.replace(MOUNTED, f"{secrets}/"))
    read = [OperatorSettings(), IpfsSettings(), KeySettings()]
    fields = {name: one for one in read for name in type(one).model_fields}
    assert {name.removeprefix(PREFIX).removesuffix("_FILE").lower() for name in given} <= fields.keys()
    assert {value.removeprefix(MOUNTED) for value in given.values() if value.startswith(MOUNTED)} == set(
        operator["secrets"]
    )


def test_everything_has_limits(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service["ulimits"]["nofile"], name


def test_images_can_be_pinned_by_digest(tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    images = re.findall(r"(?:image|PYTHON_IMAGE): (.*)", text)
    tags = dict(re.findall(r"\$\{(ROADVAULT_\w+_IMAGE):-(.*?)\}", "\n".join(images)))
    assert len(tags) == len(set(images)) - 1  # all but our own
    assert tags.items() <= _example().items()
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "sha256:%064d" "$(printf %s "$6" | wc -c)"\n')
    docker.chmod(0o755)
    (tmp_path / ".env").write_text("A=1\n" + "".join(f"{name}={tag}\n" for name, tag in tags.items()))
    for _ in range(2):  # again, too, when newer ones are wanted
        subprocess.run(
            ["sh", str(ROOT / "deploy" / "pin-images.sh")], check=True, capture_output=True,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "ENV_FILE": str(tmp_path / ".env")},
        )  # fmt: skip
    pinned = "".join(f"{name}={tag}@sha256:{len(tag):064d}\n" for name, tag in tags.items())
    assert (tmp_path / ".env").read_text() == f"A=1\n{pinned}"


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
    assert ports.keys() == {"ingest", "door", "ipfs", "prometheus", "alertmanager", "grafana"}
    assert ports["ingest"] == ["127.0.0.1:7001:7001"]
    assert ports["door"] == ["0.0.0.0:7002:7002"]
    # Pages of any origin may read Prometheus unless it is told otherwise, and silence Alertmanager whatever it is told.
    assert [ports["prometheus"], ports["alertmanager"]] == [["127.0.0.1:9090:9090"], ["127.0.0.1:9093:9093"]]
    assert ports["grafana"] == ["127.0.0.1:3000:3000"]
    assert "WATCH_ADDRESS:-127.0.0.1}:9093" in (ROOT / "docker-compose.yml").read_text()
    assert "--web.cors.origin=none" in compose["services"]["prometheus"]["command"]


def test_the_door_writes_nothing_and_has_no_keys(compose: dict[str, Any]) -> None:
    door = compose["services"]["door"]
    assert door["read_only"]
    assert all(volume["read_only"] for volume in door["volumes"])
    given = _environment(compose, "door").keys()
    assert not {f"{PREFIX}{name}" for name in ("MASTER_KEYS_FILE", "REDIS_URL", "CRUST_URL", "IPFS_RPC_URL")} & given
    assert _environment(compose, "door")["ROADVAULT_DATABASE_URL"] == "mysql://door@mariadb:3306/roadvault"
    secret = "door_database_password"
    assert set(door["networks"]) == {"data", "watch", "doors", "stream"}
    assert {name for name, service in compose["services"].items() if "stream" in (service.get("networks") or [])} == {
        "door",
        "retriever",
    }
    port = _environment(compose, "retriever")["ROADVAULT_STREAM_PORT"]
    assert _environment(compose, "door")["ROADVAULT_STREAM_URL"] == f"http://retriever:{port}"
    assert set(door["secrets"]) == {secret, "link_secret"}
    assert {name for name, service in compose["services"].items() if secret in (service.get("secrets") or [])} == {
        "door",
        "mariadb",
    }
    assert f"LOAD_FILE('{MOUNTED}{secret}')" in (ROOT / "deploy" / "database-users.sql").read_text()


def test_each_sees_its_part_of_the_volume_and_kubo_archives_where_services_write_them(compose: dict[str, Any]) -> None:
    services = compose["services"]
    seen = {name: {volume["target"]: volume for volume in _parts(service)} for name, service in services.items()}
    data = _given(compose, "pinner")["ROADVAULT_DATA_DIR"]
    covered = {
        "ingest": {"archives", "downloads", "posters"},
        "door": {"received", "archives", "posters", "quarantine", "ledger"},
    }
    for name in ("ingest", "door", "packer", "pinner", "retriever"):
        directory, *over = seen[name].values()
        assert (directory["target"], directory["volume"]["subpath"]) == (data, "data")
        assert {volume["target"].removeprefix(f"{data}/") for volume in over} == covered.get(name, set())
        assert all(volume["read_only"] for volume in over)
    assert {volume["volume"]["subpath"] for volume in list(seen["ingest"].values())[1:]} == {
        "data/archives",
        "data/downloads",
        "data/posters",
    }
    assert {volume["type"] for volume in list(seen["door"].values())[1:]} == {"tmpfs"}  # there is nothing in it
    repository = services["ipfs"]["environment"]["IPFS_PATH"]
    assert Path(repository).parent in Path(data).parents  # what the filestore asks for
    assert seen["ipfs"].keys() == {repository, f"{data}/archives"}
    assert seen["ipfs"][f"{data}/archives"]["read_only"]
    assert not seen["crust-orderer"] | seen["notifier"]
    made = services["vault"]["command"]
    for volumes in seen.values():
        for volume in volumes.values():
            made_by = f"/vault/{volume['volume']['subpath']}" if volume["type"] == "volume" else volume["target"]
            assert made_by in made


def _parts(service: dict[str, Any]) -> list[dict[str, Any]]:
    return [volume for volume in service.get("volumes") or [] if isinstance(volume, dict)]


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


def test_the_databases_log_is_durable_and_what_copies_it_reaches_nothing_else(compose: dict[str, Any]) -> None:
    options = compose["services"]["mariadb"]["command"]
    assert {"--log-bin=binlog", "--binlog-format=ROW", "--sync-binlog=1"} <= set(options)
    assert not [option for option in options if "flush-log-at-trx-commit" in option]  # at each commit, by default
    backup = compose["services"]["backup"]
    assert (backup["network_mode"], backup["user"], backup["read_only"]) == ("none", "mysql", True)
    assert "mariadb:/var/lib/mysql:ro" in backup["volumes"]
    assert not {"secrets", "networks", "ports"} & backup.keys()
    assert (
        backup["image"] == compose["services"]["mariadb"]["image"]
    )  # mariadb-backup has to be of the server's version


def test_recovery_by_the_chain_has_a_way_to_a_crust_node_and_nothing_else_is_other(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    services = _parsed(tmp_path / ".env", "deploy/chain.yml")["services"]
    operator = services["operator"]
    assert {name for name, service in services.items() if service != compose["services"][name]} == {"operator"}
    assert {*operator["networks"]} == {*compose["services"]["operator"]["networks"], "outward"}
    more = operator["environment"].items() - compose["services"]["operator"]["environment"].items()
    assert dict(more) == {"ROADVAULT_CRUST_URL": _example()["ROADVAULT_CRUST_URL"]}


def test_redis_may_run_elsewhere(tmp_path: Path) -> None:
    url = "rediss+sentinel://roadvault@r1,r2,r3/rv/0?ssl_ca_certs=/run/secrets/redis_ca"
    more = {"ROADVAULT_REDIS_URL": url, "ROADVAULT_REDIS_CA_FILE": "./ca.pem"}
    parsed = _parsed(tmp_path / ".env", "deploy/redis-elsewhere.yml", env=more)
    environments = {name: one.get("environment") or {} for name, one in parsed["services"].items()}
    using = {name for name, given in environments.items() if "ROADVAULT_REDIS_URL" in given}
    assert using == {*SETTINGS.keys() - {"migrate", "door"}, "operator"}
    for name in using:
        service = parsed["services"][name]
        assert environments[name]["ROADVAULT_REDIS_URL"] == url
        assert {"elsewhere", "data"} <= set(service["networks"])
        assert {"redis_ca", "redis_password"} <= set(service["secrets"])
    assert not (parsed["networks"]["elsewhere"] or {}).get("internal")
