import socket
from pathlib import Path

import pytest
from free_ports import pick_free

from roadvault_stack import settings
from roadvault_stack.errors import StackError
from roadvault_stack.settings import StackSettings
from roadvault_stack.up import check_ports


@pytest.fixture
def free_ports() -> dict[str, int]:
    names = [name for name in StackSettings.model_fields if name.endswith("_port")]
    return dict(zip(names, pick_free(len(names)), strict=True))


def test_every_setting_says_what_it_is() -> None:
    for name, field in StackSettings.model_fields.items():
        assert field.title, name
        assert field.description, name


def test_the_data_lies_in_the_checkout_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ROADVAULT_LOCAL_DIR", raising=False)
    assert settings.load().dir == Path(__file__).parents[2] / ".roadvault"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROADVAULT_LOCAL_DIR", "here")
    assert settings.load().dir == tmp_path / "here"


def test_default_ports_differ() -> None:
    ports = list(StackSettings.model_construct().ports().values())
    assert len(set(ports)) == len(ports) == 21


def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_LOCAL_DEVNET_PORT", "70000")
    with pytest.raises(StackError, match="ROADVAULT_LOCAL_DEVNET_PORT"):
        settings.load()


def test_free_ports_pass(free_ports: dict[str, int]) -> None:
    check_ports(StackSettings(**free_ports))  # type: ignore[arg-type]


def test_a_port_in_use_is_named_with_what_it_is_for_and_the_remedy(free_ports: dict[str, int]) -> None:
    port = free_ports["devnet_port"]
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(StackError, match=f"Port {port}, for the devnet, .* ROADVAULT_LOCAL_DEVNET_PORT"),
    ):
        check_ports(StackSettings(**free_ports))  # type: ignore[arg-type]


def test_a_port_given_twice_is_named(free_ports: dict[str, int]) -> None:
    twice = {**free_ports, "public_port": free_ports["ingest_port"]}
    with pytest.raises(StackError, match=r"given to both .* ROADVAULT_LOCAL_PUBLIC_PORT"):
        check_ports(StackSettings(**twice))  # type: ignore[arg-type]
