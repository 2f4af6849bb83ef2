from pathlib import Path

import pytest

from roadvault_stack.credentials import Credentials
from roadvault_stack.environment import SERVICES, Environments
from roadvault_stack.layout import Layout
from roadvault_stack.settings import StackSettings

URLS = {
    "DATABASE_URL": "mysql://roadvault:pw@127.0.0.1:7021/roadvault",
    "REDIS_URL": "redis://127.0.0.1:7022/0",
    "IPFS_RPC_URL": "http://127.0.0.1:7023",
    "IPFS_GATEWAY_URL": "http://127.0.0.1:7024",
    "NETWORK_IPFS_RPC_URL": "http://127.0.0.1:7026",
    "NETWORK_IPFS_GATEWAY_URL": "http://127.0.0.1:7027",
}


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    settings = StackSettings(dir=tmp_path, notifier_port=9015, folder_bytes=5 * 2**20)
    return Environments(settings, Layout(tmp_path), Credentials("pw", "master", "link"), URLS)


def holders(environments: Environments, name: str) -> set[str]:
    return {service for service in SERVICES if name in environments.service(service)}


def test_secrets_go_only_where_they_are_needed(environments: Environments) -> None:
    assert holders(environments, "ROADVAULT_CRUST_SEED") == {"crust-orderer"}
    assert holders(environments, "ROADVAULT_MASTER_KEYS") == {"packer", "pinner", "crust-orderer", "retriever"}
    assert holders(environments, "ROADVAULT_LINK_SECRET") == {"door", "notifier"}
    assert not any("MASTER" in name or "DATABASE" in name for name in environments.devnet())


def test_every_service_finds_its_servers_and_has_a_port_of_its_own(environments: Environments) -> None:
    ports = {environments.service(name)["ROADVAULT_HTTP_PORT"] for name in SERVICES}
    assert len(ports) == len(SERVICES)
    for name in SERVICES:
        given = environments.service(name)
        assert given["ROADVAULT_DATABASE_URL"] == URLS["DATABASE_URL"]
        assert given.get("ROADVAULT_REDIS_URL") == (None if name == "door" else URLS["REDIS_URL"])


def test_settings_arrive(environments: Environments, tmp_path: Path) -> None:
    assert environments.service("notifier")["ROADVAULT_HTTP_PORT"] == "9015"
    ingest = environments.service("ingest")
    assert ingest["ROADVAULT_FOLDER_BYTES"] == "5242880"
    assert ingest["ROADVAULT_DATA_DIR"] == str(tmp_path / "vault")
    assert environments.devnet()["ROADVAULT_DEVNET_KUBO_RPC_URL"] == URLS["NETWORK_IPFS_RPC_URL"]


def test_a_shell_gets_everything_but_a_port(environments: Environments) -> None:
    everything = environments.everything()
    assert "ROADVAULT_HTTP_PORT" not in everything
    for name in SERVICES:
        given = environments.service(name)
        del given["ROADVAULT_HTTP_PORT"]
        assert given.items() <= everything.items()
