"""What the Helm chart puts around the services: who reaches whom, what watches them, what keeps them when nodes go."""

import json

import pytest
import yaml
from charts import CHART, ROOT, SETS, Network, containers, manifests, pods

from roadvault_stack.environment import GRANTS

INTERNET, CLUSTER, DATABASE = "8.8.8.8", "10.0.0.7", "10.1.0.5"
RULES = ROOT / "deploy" / "alerts.yml"


@pytest.mark.parametrize("values", ["one", "three"])
def test_each_reaches_what_composes_networks_let_it_reach(values: str) -> None:
    net = Network.of(values)
    assert net.components.keys() == {"store", "door", "crust-orderer", "notifier", "witness", "migrate"}
    everybody = [*net.components, INTERNET, CLUSTER]

    def reach(port: int, target: str, protocol: str = "TCP") -> set[str]:
        return {source for source in everybody if source != target and net.reaches(source, target, port, protocol)}

    # Kubo's RPC and gateway: nobody but its pod; the witness's: who buys.
    for port in (5001, 8080):
        assert reach(port, "store") == set()
        assert reach(port, "witness") == {"crust-orderer"}
    assert reach(7003, "store") == {"door"}
    assert reach(7002, "door") >= {INTERNET, CLUSTER}
    assert reach(7000, "door") - {CLUSTER} == {"store"}
    assert reach(4001, "store") >= {INTERNET, "witness"} - {"witness"}
    assert reach(4001, "witness") == set()
    assert reach(4001, "store", "UDP") >= {INTERNET}
    assert not reach(7001, "store") & {"door", "notifier", "crust-orderer", "witness"}
    for source in net.components:
        assert net.reaches(source, DATABASE, 3306) == (source != "witness")
        assert net.reaches(source, CLUSTER, 6379) == (source not in {"witness", "door", "migrate"})
        assert net.reaches(source, INTERNET, 443) == (source in {"store", "crust-orderer", "notifier", "witness"})
        assert not net.reaches(source, CLUSTER, 443)
        assert not net.reaches(source, "169.254.169.254", 80)
    # Where values say in which network the database is, elsewhere there is none.
    assert net.reaches("notifier", CLUSTER, 3306) == (values == "one")


@pytest.mark.parametrize("values", SETS)
def test_what_services_are_told_of_each_other_is_there(values: str) -> None:
    ports = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
        for one in manifests(values)
        if one["kind"] == "Service"
    }
    selectors = [one["spec"]["selector"] for one in manifests(values) if one["kind"] == "Service"]
    labels = [pod["metadata"]["labels"] for _, pod in pods(values)]
    assert all(any(selector.items() <= one.items() for one in labels) for selector in selectors)
    told = 0
    for service in GRANTS:
        for container, _ in containers(values, service):
            for one in container["env"]:
                host, _, port = one["value"].removeprefix("http://").partition(":")
                if one["value"].startswith("http://rv-"):
                    assert int(port) in ports[host]
                    assert "." not in host, "a name with a dot is one that ROADVAULT_HOSTS has to have"
                    told += 1
                elif one["name"] == "ROADVAULT_CALLBACK_REFUSE":
                    swarm = {name for name in ports if "-swarm-" in name}
                    assert set(one["value"].split(",")) == ports.keys() - swarm
    assert told


def test_every_name_fits() -> None:
    for one in manifests("three"):
        assert len(one["metadata"]["name"]) <= 52, "a StatefulSet's pods have a hash behind theirs in a label"
        for port in one["spec"].get("ports", []) if one["kind"] == "Service" else []:
            assert len(port["name"]) <= 15


def test_rules_and_dashboards_are_those_of_deploy() -> None:
    (rule,) = (one for one in manifests("three") if one["kind"] == "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    boards = {
        name: json.loads(board)
        for one in manifests("three")
        if one["kind"] == "ConfigMap" and one["metadata"]["labels"].get("grafana_dashboard")
        for name, board in one["data"].items()
    }
    files = (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")
    assert boards == {f"roadvault-{path.name}": json.loads(path.read_text()) for path in files}
    for link in ("alerts.yml", "dashboards", "ipfs-init.sh", "witness-init.sh"):
        assert (CHART / "files" / link).is_symlink()
    assert not [one for one in manifests("one") if one["apiVersion"].startswith("monitoring")]


def test_every_service_is_watched_under_the_name_that_rules_and_dashboards_know() -> None:
    (monitor,) = (one for one in manifests("three") if one["kind"] == "ServiceMonitor")
    watched = [
        one
        for one in manifests("three")
        if one["kind"] == "Service"
        and monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    named = {}
    for endpoint in monitor["spec"]["endpoints"]:
        labels = {one["targetLabel"]: one["replacement"] for one in endpoint["relabelings"]}
        assert labels["job"] == "roadvault"
        named[endpoint["port"]] = labels["service"]
    assert set(named.values()) == GRANTS.keys()
    for service in GRANTS:
        for container, pod in containers("three", service):
            labels = pod["metadata"]["labels"]
            own = [one for one in watched if one["spec"]["selector"].items() <= labels.items()]
            ports = {(port["name"], port["port"]) for one in own for port in one["spec"]["ports"]}
            (port,) = (one["containerPort"] for one in container["ports"] if named.get(one["name"]) == service)
            assert (service, port) in ports
            assert all(one["spec"]["publishNotReadyAddresses"] for one in own)


def test_nodes_are_emptied_one_store_after_the_other() -> None:
    budgets = [one for one in manifests("three") if one["kind"] == "PodDisruptionBudget"]
    for component in ("store", "door", "crust-orderer", "notifier"):
        labels = [
            pod["metadata"]["labels"]
            for _, pod in pods("three")
            if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
        ]
        (own,) = (one for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= labels[0].items())
        assert all(own["spec"]["selector"]["matchLabels"].items() <= one.items() for one in labels)
        assert own["spec"]["maxUnavailable"] == 1
        # What waits for a server that is away would keep its node for as long.
        assert own["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_each_store_has_a_volume_that_outlives_it_and_a_door_beside_it() -> None:
    stores = {
        one["metadata"]["labels"]["roadvault/store"]: one
        for one in manifests("three")
        if one["kind"] == "StatefulSet" and "-store-" in one["metadata"]["name"]
    }
    doors = {pod["metadata"]["labels"]["roadvault/store"]: pod for _, pod in containers("three", "door")}
    assert stores.keys() == doors.keys() == {"main", "north", "south"}
    for name, store in stores.items():
        assert store["metadata"]["name"] == f"rv-roadvault-store-{name}"
        assert set(store["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
        spec = doors[name]["spec"]
        (claim,) = (one["persistentVolumeClaim"] for one in spec["volumes"] if "persistentVolumeClaim" in one)
        own = "south" if name == "south" else f"vault-rv-roadvault-store-{name}-0"
        assert claim == {"claimName": own, "readOnly": True}
        (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"]["matchLabels"].items() <= store["spec"]["template"]["metadata"]["labels"].items()
    told = {
        next(one["value"] for one in container["env"] if one["name"] == "ROADVAULT_STORE")
        for service in ("ingest", "packer", "pinner", "retriever", "door")
        for container, _ in containers("three", service)
    }
    assert told == stores.keys()
