"""Which addresses callbacks may go to."""

import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from roadvault_common.web.reach import AddressRefused, CallbackSettings, Place, Reach, own_servers

EVERYTHING = [ip_network("0.0.0.0/0"), ip_network("::/0")]
PRIVATE = (
    "127.0.0.1", "10.0.0.1", "100.64.0.1", "192.168.1.1", "255.255.255.255", "0.0.0.1", "::1", "::ffff:127.0.0.1",
    "::ffff:127.0.0.1%", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::7f00:1", "::ffff:0:7f00:1", "fec0::1", "fd00::1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "0.0.0.0", "224.0.0.1", "::", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%lo", "ff02::1",  # noqa: S104
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
    "::ffff:168.63.129.16",
)  # fmt: skip


def refused(reach: Reach, host: str, port: int = 80) -> bool:
    try:
        reach.check(host, port)
    except AddressRefused:
        return True
    return False


def test_private_addresses_are_called_only_where_a_network_is_named() -> None:
    for host in PRIVATE:
        assert refused(Reach([], [], []), host), host
        assert not refused(Reach(EVERYTHING, [], []), host), host
    intranet = Reach([ip_network("10.0.0.0/8")], [], [])
    assert [host for host in PRIVATE if not refused(intranet, host)] == [
        "10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
    ]  # fmt: skip


def test_some_addresses_are_never_called() -> None:
    for host in NEVER:
        assert refused(Reach(EVERYTHING, [], []), host), host


def test_a_refusal_does_not_tell_where_a_name_has_led() -> None:
    for host in ("10.0.0.1", "169.254.169.254"):
        with pytest.raises(AddressRefused) as caught:
            Reach([], [], []).check(host, 80)
        assert host not in str(caught.value)


def test_the_public_internet_is_called_also_through_nat64() -> None:
    for host in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"):
        assert not refused(Reach([], [], []), host)
    assert refused(Reach([], [ip_network("8.8.0.0/16")], []), "8.8.8.8")


def test_a_server_on_this_machine_is_refused_on_all_of_its_addresses() -> None:
    reach = Reach(EVERYTHING, [], [Place("127.0.0.1", 5001), Place("0.0.0.0", 7000)])  # noqa: S104 - as a service listens
    for host in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", *_own_addresses()):
        assert refused(reach, host, 5001), host
        assert refused(reach, host, 7000), host
        assert not refused(reach, host, 5002), host
    assert not refused(reach, "8.8.8.8", 5001)


def _own_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))  # sends nothing, but chooses the address it would send from
        except OSError:
            return []
        return [one.getsockname()[0]]


async def test_a_server_with_a_name_is_refused_wherever_the_name_leads() -> None:
    reach = Reach(EVERYTHING, [], [Place("localhost", 3306), Place("nowhere.invalid", None)])
    assert not refused(reach, "127.0.0.1", 3306)  # nobody has looked yet
    await reach.look_up()
    assert refused(reach, "127.0.0.1", 3306)
    assert not refused(reach, "127.0.0.1", 3307)


def test_the_servers_of_our_settings_are_known() -> None:
    environment = {
        "ROADVAULT_DATABASE_URL": "mysql://u:pa,ss@mariadb/roadvault",
        "ROADVAULT_REDIS_URL": "redis://[::1]:7022/0",
        "ROADVAULT_CRUST_URL": "wss://one.example, ws://two.example:9944",
        "ROADVAULT_PROOF_GATEWAY_URL": "https://gateway.example/",
        "ROADVAULT_IPFS_RPC_URL": "http://ipfs:99999",
        "ROADVAULT_PUBLIC_URL": "https://files.example",
        "OTHER_URL": "http://other",
    }
    assert own_servers(environment) == [
        Place("mariadb", 3306), Place("::1", 7022), Place("one.example", 443), Place("two.example", 9944),
        Place("gateway.example", 443),
    ]  # fmt: skip


def settings(**values: Any) -> CallbackSettings:  # noqa: ANN401 - any setting
    return CallbackSettings.model_validate({"database_url": "mysql://u:p@h/d", "redis_url": "redis://h", **values})


def test_the_settings_say_what_they_want(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_IPFS_RPC_URL", "http://127.0.0.1:5001")
    lists = {"callback_allow_private": "127.0.0.0/8, ::1", "callback_refuse": "10.0.0.0/8, [::1]:9, ::2, 127.0.0.1:8"}
    reach = settings(**lists, http_port=7000, http_host="0.0.0.0").reach()  # noqa: S104 - likewise
    wanted = {"127.0.0.1": [5001, 8, 7000, 9], "::1": [8], "::2": [80], "10.0.0.1": [80]}
    assert all(refused(reach, host, port) for host, ports in wanted.items() for port in ports)
    assert not refused(reach, "127.0.0.1", 80)
    assert settings(callback_allow_private="false").callback_allow_private == ""
    for name, value in {"callback_allow_private": "true", "callback_refuse": "a b"}.items():
        with pytest.raises(ValidationError, match="networks"):
            settings(**{name: value})
    with pytest.raises(ValidationError, match="networks"):
        settings(callback_allow_private="10.0.0.1/8")


def test_a_server_whose_url_stands_in_a_file_is_ours_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, url in (("DATABASE_URL", "mysql://u:p@10.0.0.7/roadvault"), ("REDIS_URL", "redis://:p@10.0.0.8:6380/0")):
        (tmp_path / name).write_text(url)
        monkeypatch.setenv(f"ROADVAULT_{name}_FILE", str(tmp_path / name))
        monkeypatch.delenv(f"ROADVAULT_{name}", raising=False)
    reach = CallbackSettings(callback_allow_private="10.0.0.0/8").reach()
    places = [("10.0.0.7", 3306), ("10.0.0.8", 6380), ("10.0.0.7", 80), ("10.0.0.9", 3306)]
    assert [refused(reach, host, port) for host, port in places] == [True, True, False, False]
