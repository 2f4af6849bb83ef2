"""deploy/ipfs-init.sh and witness-init.sh, which the Kubo image runs before its daemon, with the real program."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roadvault_stack.kubo import authorizations

SCRIPT = Path(__file__).parents[2] / "deploy" / "ipfs-init.sh"
WITNESS = SCRIPT.with_name("witness-init.sh")
TOKEN = "0123456789abcdef-._~+/="


class Repository:
    """An IPFS repository as the image makes it, and a token's file."""

    def __init__(self, root: Path) -> None:
        self.home, self.token = root / "ipfs", root / "token"
        self.token.write_text(f"{TOKEN}\n")
        self.run("ipfs", "init", "--empty-repo")

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **more,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "IPFS_PATH": str(self.home),
            "HOME": str(self.home.parent),
            "ROADVAULT_IPFS_RPC_TOKEN_FILE": str(self.token),
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def prepare(self) -> subprocess.CompletedProcess[str]:
        return self.run("sh", str(SCRIPT))

    @property
    def version(self) -> int:
        return int((self.home / "version").read_text())

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.home / "config").read_text())
        return config


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_it_can_be_run_at_each_start(repository: Repository) -> None:
    for _ in range(2):
        done = repository.prepare()
        assert done.returncode == 0, done.stderr
    config = repository.config
    assert config["API"]["Authorizations"] == authorizations(TOKEN)
    assert config["Experimental"]["FilestoreEnabled"] is True
    assert config["Provide"]["Strategy"] == "roots"
    assert TOKEN not in done.stdout + done.stderr


def test_a_repository_of_an_earlier_version_is_migrated_first(repository: Repository) -> None:
    newest = repository.version
    (repository.home / "version").write_text(str(newest - 1))
    refused = repository.run("ipfs", "config", "Provide.Strategy")
    assert refused.returncode != 0
    assert "needs migration" in refused.stderr
    done = repository.prepare()
    assert done.returncode == 0, done.stderr
    assert repository.version == newest
    assert repository.config["API"]["Authorizations"] == authorizations(TOKEN)


@pytest.mark.parametrize("token", [None, "", "two words", 'quoted"', "one\ntwo"])
def test_it_does_not_go_on_without_a_token(repository: Repository, token: str | None) -> None:
    repository.token.unlink()
    if token is not None:
        repository.token.write_text(token)
    done = repository.prepare()
    assert done.returncode != 0
    assert str(repository.token) in done.stderr
    assert "Authorizations" not in repository.config["API"]


def test_the_witness_dials_neither_private_addresses_nor_ours_and_nobody_dials_it(repository: Repository) -> None:
    for ours in ("203.0.113.7/32,2001:db8::7/128", "198.51.100.0/24"):
        done = repository.run("sh", str(WITNESS), ROADVAULT_OUR_ADDRESSES=ours)
        assert done.returncode == 0, done.stderr
    config = repository.config
    assert (config["Addresses"]["Swarm"], config["Routing"]["Type"]) == ([], "autoclient")
    filters = config["Swarm"]["AddrFilters"]
    assert {"/ip4/198.51.100.0/ipcidr/24", "/ip4/172.16.0.0/ipcidr/12", "/ip6/fc00::/ipcidr/7"} <= set(filters)
    assert "/ip4/203.0.113.7/ipcidr/32" not in filters
    assert config["Swarm"]["Transports"]["Network"]["Relay"] is config["Provide"]["Enabled"] is False


@pytest.mark.parametrize("ours", ["", "203.0.113.7", "203.0.113.7/32/1", "host/32", '1.2.3.4/32"]', "$(id)/1.1"])
def test_the_witness_does_not_start_without_networks_to_keep_away_from(repository: Repository, ours: str) -> None:
    done = repository.run("sh", str(WITNESS), ROADVAULT_OUR_ADDRESSES=ours)
    assert done.returncode != 0
    assert "ROADVAULT_OUR_ADDRESSES" in done.stderr
    assert "AddrFilters" not in repository.config["Swarm"] or not repository.config["Swarm"]["AddrFilters"]


def test_in_a_stores_pod_rpc_and_gateway_are_for_the_pod_alone_and_others_learn_where_it_is(
    repository: Repository,
) -> None:
    repository.run("ipfs", "config", "Addresses.API", "/ip4/0.0.0.0/tcp/5001")  # as the image has it
    script = SCRIPT.parent / "helm" / "roadvault" / "files" / "pod-init.sh"
    for announced in ([], ["/ip4/203.0.113.1/tcp/31401"]):
        done = repository.run("sh", str(script), ROADVAULT_ANNOUNCE=json.dumps(announced))
        assert done.returncode == 0, done.stderr
        addresses = repository.config["Addresses"]
        assert addresses["API"] == "/ip4/127.0.0.1/tcp/5001"
        assert addresses["Gateway"] == "/ip4/127.0.0.1/tcp/8080"
        assert addresses["AppendAnnounce"] == announced
