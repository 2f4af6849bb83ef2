"""The Helm chart, rendered by Helm and checked by kubeconform: each service gets what docker-compose.yml gives it."""

import re
import resource
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import CHART, KUBERNETES, ROOT, SETS, Manifest, conform, containers, helm, manifests, pods, secrets, text
from unit.test_compose import SETTINGS

from roadvault_common.process.app import FORCE_SECONDS
from roadvault_common.settings.config import PREFIX
from roadvault_common.settings.secret_files import SUFFIX, is_secret

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SERVICES = [name for name in SETTINGS if name != "migrate"]
COMING = {"store", "store_link_url", "store_stream_url"}
"""Settings that the services may not have yet: those of several stores."""
BEYOND_COMPOSE = {"database_url", "door_database_url", "redis_url", "database_ca", "redis_ca"}
"""Files that compose has no use for: its servers are its own."""


def _environment(container: Manifest) -> dict[str, str]:
    given = {one["name"]: one["value"] for one in container.get("env", [])}
    assert len(given) == len(container.get("env", [])), "a variable is there twice"
    return given


@pytest.mark.parametrize("values", SETS)
def test_helm_finds_no_fault(values: str) -> None:
    done = helm("lint", values, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_all_sets_of_values(version: str) -> None:
    done = conform("\n---\n".join(text(values) for values in SETS), version)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Skipped: 0" in done.stdout
    assert f"Valid: {sum(len(manifests(values)) for values in SETS)}," in done.stdout


@pytest.mark.parametrize(
    ("kind", "path"),
    [("StatefulSet", ("spec", "template", "spec")), ("ServiceMonitor", ("spec",)), ("PrometheusRule", ("spec",))],
)
def test_what_kubernetes_would_not_take_is_seen(kind: str, path: tuple[str, ...]) -> None:
    one = deepcopy(next(one for one in manifests("three") if one["kind"] == kind))
    place = one
    for name in path:
        place = place[name]
    place["securtyContext"] = {}
    done = conform(yaml.safe_dump(one), KUBERNETES[1])
    assert done.returncode == 1
    assert "securtyContext" in done.stdout


@pytest.mark.parametrize("values", SETS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_and_no_secret_stands_in_one(values: str, service: str) -> None:
    found = containers(values, service)
    assert found
    fields = SETTINGS[service].model_fields
    for container, pod in found:
        seen = secrets(container, pod)
        for variable, value in _environment(container).items():
            name = variable.removeprefix(PREFIX).lower()
            if variable.endswith(SUFFIX) and is_secret(fields[name.removesuffix("_file")]):
                assert value in seen
            else:
                assert name in fields.keys() | COMING, f"{service} reads no {variable}"
                assert name in COMING or not is_secret(fields[name])
        assert "envFrom" not in container


@pytest.mark.parametrize("values", SETS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_service_starts_with_what_it_is_given(
    values: str, service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {
        "database_url": "mysql://rv@db:3306/rv",
        "door_database_url": "mysql://door@db:3306/rv",
        "redis_url": "redis://redis:6379/0",
        "master_keys": "x" * 43 + "=",
        "callback_master_keys": "x" * 43 + "=",
        "crust_seed": "//Alice",
        "callback_secret": "whsec_MTIzNDU2",
    }
    if values == "external":  # passwords stand in the URLs there
        told |= {name: told[name].replace("@", ":secret@") for name in told if name.endswith("_url")}
    for container, pod in containers(values, service):
        for name, value in _environment(container).items():
            monkeypatch.setenv(name, value.replace("/run/secrets/", f"{tmp_path}/"))
        for path in secrets(container, pod):
            name = Path(path).name
            (tmp_path / name).write_text(told.get(name, "filled-in-as-an-operator-would"))
        SETTINGS[service]()


@pytest.mark.parametrize("values", SETS)
@pytest.mark.parametrize("service", [*SETTINGS, "ipfs", "witness"])
def test_secrets_are_mounted_where_compose_mounts_them(values: str, service: str) -> None:
    optional = {"crust_seed", "pinning_token", "oidc_client_secret", "callback_secret", "copy_secret"}
    left_out = {"database_password", "door_database_password", "redis_password"} if values == "external" else set()
    wanted = set(COMPOSE[service]["secrets"])
    found = containers(values, service)
    assert found or values == "external"
    for container, pod in found:
        seen = secrets(container, pod)
        assert {str(Path(path).parent) for path in seen} <= {"/run/secrets"}
        names = {Path(path).name for path in seen} - BEYOND_COMPOSE
        assert names <= wanted
        assert wanted - names <= optional | left_out
        for mount in container["volumeMounts"]:
            assert mount.get("readOnly") or not mount["name"].startswith("secrets-")


def test_each_secret_is_the_key_that_values_name() -> None:
    ((container, pod),) = (
        one for one in containers("three", "crust-orderer") if "second" in str(one[1]["metadata"]["labels"])
    )
    seen = secrets(container, pod)
    assert seen["/run/secrets/crust_seed"] == ("account-second", "seed")
    assert seen["/run/secrets/master_keys"] == ("roadvault", "master_keys")
    assert "account-main" not in str(pod)
    assert not [one for values in SETS for one in manifests(values) if one["kind"] == "Secret"]


@pytest.mark.parametrize("values", SETS)
def test_each_sees_the_part_of_the_volume_that_it_sees_with_compose(values: str) -> None:
    for service in ("ingest", "packer", "pinner", "retriever", "door", "ipfs"):
        wanted = {
            (one["target"], (one.get("volume") or {}).get("subpath"), bool(one.get("read_only")))
            for one in COMPOSE[service]["volumes"]
            if isinstance(one, dict)
        }
        for container, _ in containers(values, service):
            mounts = [one for one in container["volumeMounts"] if one["mountPath"].startswith("/vault")]
            seen = {(one["mountPath"], one.get("subPath"), bool(one.get("readOnly"))) for one in mounts}
            assert seen == wanted, service
    for _, pod in pods(values):
        for first in pod["spec"].get("initContainers", []):
            assert {one for one in first["command"] if one.startswith("/")} == {
                one for one in COMPOSE["vault"]["command"] if one.startswith("/") and one != "/vault"
            }
    (claim,) = {str(pod["spec"]["volumes"][-1]["persistentVolumeClaim"]) for _, pod in containers(values, "door")[:1]}
    assert "'readOnly': True" in claim


@pytest.mark.parametrize("values", SETS)
def test_a_service_is_not_started_again_because_something_else_is_away(values: str) -> None:
    for service in SERVICES:
        for container, pod in containers(values, service):
            port = int(_environment(container)["ROADVAULT_HTTP_PORT"])
            for probe in ("startupProbe", "livenessProbe"):
                assert container[probe]["httpGet"] == {"path": "/healthz", "port": port}
            in_store = pod["metadata"]["labels"]["app.kubernetes.io/component"] == "store"
            # In a store's pod ingest alone: while Kubo is away, uploads go on.
            assert ("readinessProbe" in container) == (not in_store or service == "ingest")
            if "readinessProbe" in container:
                assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port}
    for _, pod in pods(values):
        ports = [port["containerPort"] for one in pod["spec"]["containers"] for port in one.get("ports", [])]
        assert len(set(ports)) == len(ports) - ports.count(4001) // 2  # TCP and UDP
        for one in pod["spec"]["containers"]:
            assert one["name"] in {"ipfs", "migrate", "witness"} or one["livenessProbe"]
            assert "readinessProbe" not in one or "httpGet" in one["readinessProbe"]


@pytest.mark.parametrize("values", SETS)
def test_nobody_is_root_or_writes_to_the_image_and_all_have_limits(values: str) -> None:
    for _, pod in pods(values):
        spec = pod["spec"]
        assert spec["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 100, "fsGroup": 100,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        assert spec["automountServiceAccountToken"] is False
        for one in [*spec["containers"], *spec.get("initContainers", [])]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert one["resources"]["requests"]
            limit = COMPOSE[one["name"]].get("mem_limit", "1g")
            assert one["name"] == "vault" or one["resources"]["limits"]["memory"] == limit.replace("g", "Gi")


@pytest.mark.parametrize("values", SETS)
def test_work_in_hand_is_finished_before_a_pod_is_killed(values: str) -> None:
    for service in SERVICES:
        for container, pod in containers(values, service):
            given = _environment(container)
            notice, drain = (float(given[f"ROADVAULT_{name}_SECONDS"]) for name in ("NOTICE", "DRAIN"))
            grace = pod["spec"]["terminationGracePeriodSeconds"]
            kubo = 60 if containers(values, "ipfs") and service in {"pinner", "retriever"} else 0
            assert grace > notice + drain + max(FORCE_SECONDS, kubo)


@pytest.mark.parametrize("hard", [5_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]])
def test_ingest_may_open_many_files_wherever_it_may(hard: int) -> None:
    ((container, _),) = containers("one", "ingest")
    shell, flag, line = container["command"]
    assert line.endswith("; exec roadvault-ingest")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))

    line = line.replace("exec roadvault-ingest", "ulimit -Sn")
    done = subprocess.run([shell, flag, line], preexec_fn=limit, capture_output=True, text=True, check=True)
    assert int(done.stdout) == min(hard, COMPOSE["ingest"]["ulimits"]["nofile"])


def test_migrations_come_before_the_services_and_can_be_run_again() -> None:
    ((container, pod),) = containers("one", "migrate")
    (job,) = (one for one in manifests("one") if one["kind"] == "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "before-hook-creation" in job["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert container["command"] == COMPOSE["migrate"]["command"]
    assert "serviceAccountName" not in pod["spec"]  # there is none yet when it runs, nor a ConfigMap
    assert "configMap" not in str(pod)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"settings": {"ROADVAULT_SWEP_SECONDS": "5"}}, "ROADVAULT_SWEP_SECONDS is no setting that can be given here"),
        ({"settings": {"ROADVAULT_HTTP_PORT": "5"}}, "ROADVAULT_HTTP_PORT is no setting that can be given here"),
        ({"settings": {"ROADVAULT_FOLDER_BYTES": 5_000_000_000}}, "got number, want string"),
        ({"services": {"door": {"settings": {"ROADVAULT_CONCURRENCY": "5"}}}}, "services.door.settings"),
        ({"stores": [{"name": "Main", "volume": {"size": "1Ti"}}]}, "/stores/0/name"),
        ({"stores": [{"name": "main"}]}, "missing property 'volume'"),
        ({"stores": [{"name": n, "volume": {"size": "1Ti"}} for n in ("a", "b")]}, "a needs a linkUrl"),
        ({"orderers": [{"name": "main"}]}, "main has no account"),
        ({"secrets": {"masterKeys": None}}, "masterKeys"),
        ({"secrets": {"masterKey": {"key": "x"}}}, "additional properties 'masterKey' not allowed"),
        ({"publicUrl": "files.example.org"}, "/publicUrl"),
        ({"publicUrl": ""}, "publicUrl: give the URL"),
        ({"crustUrl": ""}, "crustUrl: give the RPC"),
        ({"ourAddresses": []}, "ourAddresses: give the networks"),
        ({"witness": {"enabled": False}}, "witness: without one of its own"),
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_can_not_be_meant_is_refused_with_words(wrong: dict[str, Any], why: str, tmp_path: Path) -> None:
    values = {**yaml.safe_load((CHART / "ci" / "one-values.yaml").read_text()), **wrong}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    done = helm("template", tmp_path / "values.yaml")
    assert done.returncode == 1
    assert why in done.stderr


def test_the_charts_page_has_every_value() -> None:
    page = (CHART / "README.md").read_text()
    for name in yaml.safe_load((CHART / "values.yaml").read_text()):
        assert re.search(rf"^\| .*`{name}`.* \|.*\|.*\|$", page, re.MULTILINE), name
