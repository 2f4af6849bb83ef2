"""The Helm chart, as Helm renders it, and what a cluster would make of its network policies."""

import ipaddress
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "roadvault"
PROGRAMS = ROOT / ".venv" / "charts"
SETS = ("one", "three", "external")
KUBERNETES = ("1.28.0", "1.34.0", "1.37.0")
"""The oldest that Chart.yaml takes, and newer ones."""
Manifest = dict[str, Any]


def helm(command: str, values: str | Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of Helm's on the chart, with one of its sets of values or a file of them."""
    file = CHART / "ci" / f"{values}-values.yaml" if isinstance(values, str) else values
    name = ["rv"] if command == "template" else []
    words = [command, *name, str(CHART), "--values", str(file), "--kube-version", KUBERNETES[1], *more]
    return subprocess.run([str(PROGRAMS / "helm"), *words], capture_output=True, text=True, check=False)


@cache
def text(values: str) -> str:
    """Return what Helm makes of a set of values."""
    done = helm("template", values)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def manifests(values: str) -> tuple[Manifest, ...]:
    """Return the same, read; not to be changed."""
    return tuple(one for one in yaml.load_all(text(values), yaml.CSafeLoader) if one)


def conform(rendered: str, version: str) -> "subprocess.CompletedProcess[str]":
    """Have kubeconform check manifests, strictly, for a version of Kubernetes."""
    file = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
    locations = [
        f"{PROGRAMS}/schemas/{{{{ .NormalizedKubernetesVersion }}}}/{file}",
        f"{ROOT}/tests/schemas/{file}",
    ]
    where = [word for location in locations for word in ("-schema-location", location)]
    # One worker: each would read the schemas, which are most of the work, for itself.
    command = [str(PROGRAMS / "kubeconform"), "-n", "1", "-strict", "-summary", "-kubernetes-version", version, *where]
    return subprocess.run(command, input=rendered, capture_output=True, text=True, check=False)


def pods(values: str) -> list[tuple[Manifest, Manifest]]:
    """Return what makes pods, each with its pods' template."""
    return [(one, one["spec"]["template"]) for one in manifests(values) if "template" in one.get("spec", {})]


def containers(values: str, name: str) -> list[tuple[Manifest, Manifest]]:
    """Return the containers of this name, each with its pod's template."""
    return [(one, pod) for _, pod in pods(values) for one in pod["spec"]["containers"] if one["name"] == name]


def secrets(container: Manifest, pod: Manifest) -> dict[str, tuple[str, str]]:
    """Return the files of secrets that a container sees, and which key of which Secret each is."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    found = {}
    for mount in container["volumeMounts"]:
        for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                path = f"{mount['mountPath']}/{item['path']}"
                found[path] = (source["secret"]["name"], item["key"])
    return found


@dataclass(frozen=True)
class Network:
    """Who reaches whom by the network policies, between pods and addresses elsewhere."""

    policies: list[Manifest]
    components: dict[str, dict[str, str]]
    """The labels of a pod of each component."""

    @classmethod
    def of(cls, values: str) -> "Network":
        policies = [one for one in manifests(values) if one["kind"] == "NetworkPolicy"]
        labels = [pod["metadata"]["labels"] for _, pod in pods(values)]
        return cls(policies, {one["app.kubernetes.io/component"]: one for one in labels})

    def reaches(self, source: str, target: str, port: int, protocol: str = "TCP") -> bool:
        """Tell whether a component or an address gets to a port of another."""
        return self._lets("egress", source, target, port, protocol) and self._lets(
            "ingress", target, source, port, protocol
        )

    def _lets(self, way: str, here: str, there: str, port: int, protocol: str) -> bool:
        if here not in self.components:
            return True  # elsewhere nobody asks
        labels = self.components[here]
        own = [one["spec"] for one in self.policies if _selects(one["spec"]["podSelector"], labels)]
        assert own, f"no policy is about {here}"
        key = "to" if way == "egress" else "from"
        return any(
            self._fits(rule.get(key), there) and _has_port(rule.get("ports"), port, protocol)
            for spec in own
            for rule in spec[way] or []
        )

    def _fits(self, peers: list[Manifest] | None, there: str) -> bool:
        if not peers:
            return True
        for peer in peers:
            if "ipBlock" in peer and there not in self.components:
                address, block = ipaddress.ip_address(there), peer["ipBlock"]
                nets = [ipaddress.ip_network(net) for net in (block["cidr"], *block.get("except", []))]
                if address in nets[0] and not any(address in net for net in nets[1:]):
                    return True
            if there in self.components and "ipBlock" not in peer:
                selector = peer.get("podSelector", {})
                if "namespaceSelector" not in peer and _selects(selector, self.components[there]):
                    return True
        return False


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def _has_port(ports: list[Manifest] | None, port: int, protocol: str) -> bool:
    return not ports or any((one["port"], one.get("protocol", "TCP")) == (port, protocol) for one in ports)
