from functools import partial
from pathlib import Path

import pytest

from roadvault_stack import overrides, plan
from roadvault_stack.credentials import Credentials
from roadvault_stack.environment import SERVICES, Environments
from roadvault_stack.errors import StackError
from roadvault_stack.layout import Layout
from roadvault_stack.settings import StackSettings

URLS = {
    "DATABASE_URL": "mysql://roadvault:pw@127.0.0.1:7021/roadvault",
    "REDIS_URL": "redis://127.0.0.1:7022/0",
    "IPFS_RPC_URL": "http://127.0.0.1:7023",
    "IPFS_GATEWAY_URL": "http://127.0.0.1:7024",
    "NETWORK_IPFS_RPC_URL": "http://127.0.0.1:7026",
    "WITNESS_RPC_URL": "http://127.0.0.1:7031",
    "WITNESS_GATEWAY_URL": "http://127.0.0.1:7032",
}


CREDENTIALS = Credentials("pw", "master", "link", "token", "witness", "callback-master", "view")


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    settings = StackSettings(dir=tmp_path, notifier_port=9015, folder_bytes=5 * 2**20)
    return Environments(settings, Layout(tmp_path), CREDENTIALS, URLS)


def given(tmp_path: Path, **variables: str) -> Environments:
    """Return the environments with these ROADVAULT_ variables in that of whoever starts the stack."""
    environment = {f"ROADVAULT_{name}": value for name, value in variables.items()}
    return Environments(
        StackSettings(dir=tmp_path),
        Layout(tmp_path),
        CREDENTIALS,
        URLS,
        partial(overrides.read, environment),
    )


def holders(environments: Environments, name: str) -> set[str]:
    return {service for service in SERVICES if name in environments.service(service)}


def test_secrets_go_only_where_they_are_needed(environments: Environments) -> None:
    assert holders(environments, "ROADVAULT_CRUST_SEED") == {"crust-orderer"}
    assert holders(environments, "ROADVAULT_MASTER_KEYS") == {"packer", "pinner", "crust-orderer", "retriever"}
    assert holders(environments, "ROADVAULT_CALLBACK_MASTER_KEYS") == {"notifier"}
    assert holders(environments, "ROADVAULT_LINK_SECRET") == {"door", "ingest", "notifier"}
    assert holders(environments, "ROADVAULT_VIEW_SECRET") == {"ingest", "retriever"}
    assert holders(environments, "ROADVAULT_IPFS_RPC_TOKEN") == {"pinner", "retriever"}
    assert holders(environments, "ROADVAULT_WITNESS_RPC_TOKEN") == {"crust-orderer"}
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


def test_a_setting_of_the_environment_wins_and_reaches_those_who_read_it(tmp_path: Path) -> None:
    found = given(tmp_path, LOG_FORMAT="json", REPLICA_THRESHOLD="3", UPLOADS_AT_ONCE="7", DEVNET_FINALITY_LAG="5")
    assert {found.service(name)["ROADVAULT_LOG_FORMAT"] for name in SERVICES} == {"json"}
    assert found.service("crust-orderer")["ROADVAULT_REPLICA_THRESHOLD"] == "3"
    assert holders(found, "ROADVAULT_UPLOADS_AT_ONCE") == {"ingest"}
    assert found.devnet()["ROADVAULT_DEVNET_FINALITY_LAG"] == "5"
    assert found.everything()["ROADVAULT_UPLOADS_AT_ONCE"] == "7"
    assert found.on_devnet


def test_what_wins_is_told_without_secrets(tmp_path: Path) -> None:
    found = given(
        tmp_path,
        CRUST_URL="wss://someone:word@node.example:443/provider-key?x",
        CRUST_SEED="//Bob",
        MASTER_KEYS="another",
        CONCURRENCY="2",
    )
    assert [str(override) for override in found.overrides] == [
        f"ROADVAULT_CONCURRENCY=2 for {', '.join(sorted(set(SERVICES) - {'door'}))}",
        "ROADVAULT_CRUST_SEED for crust-orderer",
        "ROADVAULT_CRUST_URL=wss://node.example:443 for crust-orderer",
        "ROADVAULT_MASTER_KEYS for crust-orderer, packer, pinner, retriever",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DATABASE_URL", "mysql://h/db", "the stack runs one of its own"),
        ("REDIS_PASSWORD_FILE", "/run/secrets/redis", "the stack runs one of its own"),
        ("DATA_DIR", "/data", "set ROADVAULT_LOCAL_DIR"),
        ("HTTP_PORT", "9000", "ROADVAULT_LOCAL_INGEST_PORT"),
        ("DRAIN_SECONDS", "300", "20 seconds after"),
        ("CRUST_ULR", "wss://n", "no service has such a setting; did you mean ROADVAULT_CRUST_URL?"),
        ("LOCAL_FOLDR_BYTES", "1", "did you mean ROADVAULT_LOCAL_FOLDER_BYTES?"),
        ("PINNING_TOKEN", "100%", "a secret may stand in a file"),
    ],
)
def test_what_can_not_be_taken_is_refused_aloud(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(StackError) as caught:
        given(tmp_path, **{name: value})
    assert f"ROADVAULT_{name}" in str(caught.value)
    assert said in str(caught.value)
    assert "100%" not in str(caught.value)


def test_a_shell_with_the_stacks_own_values_changes_nothing(tmp_path: Path) -> None:
    own = {name.removeprefix("ROADVAULT_"): value for name, value in given(tmp_path).everything().items()}
    assert given(tmp_path, **own, STACK="/somewhere", FREE_PORTS="1-2").overrides == []


def test_elsewhere_than_on_the_devnet_nothing_of_the_devnets_is_used_in_silence(tmp_path: Path) -> None:
    devnets = ("CRUST_SEED", "CRUST_CHECK_SECONDS", "CRUST_POLL_SECONDS", "CRUST_BLOCK_SECONDS", "WITNESS_RPC_URL")
    for where in ({"CRUST_URL": "wss://node.example"}, {"MARKET": "pinning", "PINNING_URL": "https://pin.example"}):
        with pytest.raises(StackError, match="whose key everybody knows"):
            given(tmp_path, **where)
        found = given(tmp_path, CRUST_SEED_FILE="seed.txt", **where)
        assert not found.on_devnet
        orderer = found.service("crust-orderer")
        assert orderer["ROADVAULT_CRUST_SEED_FILE"] == str(Path("seed.txt").resolve())
        assert orderer.get("ROADVAULT_CRUST_URL") == where.get("CRUST_URL")
        assert orderer.keys().isdisjoint(f"ROADVAULT_{name}" for name in devnets)
    assert not given(tmp_path, MARKET="pinning", PINNING_TOKEN="t").on_devnet
    assert given(tmp_path, CRUST_SEED="//Bob").service("crust-orderer")["ROADVAULT_CRUST_SEED"] == "//Bob"


def test_each_network_has_a_data_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.make(StackSettings(dir=tmp_path / "devnet"))
    monkeypatch.setenv("ROADVAULT_CRUST_URL", "wss://node.example")
    monkeypatch.setenv("ROADVAULT_CRUST_SEED", "//Bob")
    with pytest.raises(StackError, match="are ordered on the devnet, and settings name another network"):
        plan.make(StackSettings(dir=tmp_path / "devnet"))
    made = plan.make(StackSettings(dir=tmp_path / "elsewhere"))
    assert [group.name for group in made.groups] == ["servers", "services"]
    assert "network-ipfs" not in {program.name for program in made.programs()}
    assert "from the environment: ROADVAULT_CRUST_SEED for crust-orderer" in made.notes
    monkeypatch.delenv("ROADVAULT_CRUST_URL")
    with pytest.raises(StackError, match="are ordered on another network, and settings name the devnet"):
        plan.make(StackSettings(dir=tmp_path / "elsewhere"))
