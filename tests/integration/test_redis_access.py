"""Redis over TLS, with a user who has no more rights than we say it needs, with and without Sentinels."""

import asyncio
import ipaddress
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from free_ports import pick_free
from pydantic import SecretStr
from servers_operator import Console
from servers_process import Running
from servers_sentinel import Guarded, Node, hearing

from roadvault_common.errors import RedisUnavailable
from roadvault_common.events import bus as bus_module
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import DEAD_LETTERS, EVENTS, FolderSealed, ZipPinned
from roadvault_stack.ports import HOST

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "f0r-r0adv4ult-only"


def granted(name: str) -> str:
    """Return the line of ours that a server's administrator takes over."""
    return (DEPLOY / name).read_text().replace("CHANGE-ME", PASSWORD)


class Authority:
    """Signs certificates for the names that a server may be called by."""

    def __init__(self, home: Path) -> None:
        self._home, self._key, self._name = home, ec.generate_private_key(ec.SECP256R1()), _name("an authority of ours")
        self.file = home / "ca.pem"
        self.file.write_bytes(
            self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        )

    def conf(self, *names: str) -> str:
        """Return what a server's configuration says of a certificate for these."""
        key, stem = ec.generate_private_key(ec.SECP256R1()), self._home / names[0]
        known = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
        certificate = self._signed(_name(names[0]), key.public_key(), x509.SubjectAlternativeName(known))
        stem.with_suffix(".pem").write_bytes(certificate)
        stem.with_suffix(".key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return (
            f"tls-cert-file {stem}.pem\ntls-key-file {stem}.key\ntls-ca-cert-file {self.file}\n"
            "tls-auth-clients no\ntls-replication yes\n"
        )

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePublicKey, what: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number()).add_extension(what, critical=False)
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return made.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def _name(words: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, words)])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def estate(servers_dir: Path, authority: Authority) -> Iterator[Guarded]:
    """Five servers that are called by a name, over TLS."""
    client = {"host": "localhost", "ssl": True, "ssl_ca_certs": str(authority.file)}
    own, watch = granted("redis-user.conf"), granted("sentinel-user.conf")
    with ExitStack() as stack:
        conf = authority.conf("localhost")
        yield Guarded(servers_dir / "tls", stack, conf, own_conf=own, watch_conf=watch, client=client)


@pytest.fixture
def url(estate: Guarded, authority: Authority) -> str:
    estate.heal()
    return f"rediss+sentinel://roadvault:{PASSWORD}@{estate.addresses}/rv/0?ssl_ca_certs={authority.file}"


async def test_the_user_has_all_the_rights_that_are_needed_and_none_besides(
    url: str, estate: Guarded, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.environment["ROADVAULT_REDIS_URL"] = url
    monkeypatch.setattr(bus_module, "_GONE_IDLE_MS", 0)
    with estate.master.server.client() as client:
        client.xgroup_create(FolderSealed.stream, "pinner", mkstream=True)
        client.xgroup_createconsumer(FolderSealed.stream, "pinner", "long gone")
        await asyncio.sleep(0.01)
    async with hearing(url) as heard:
        bus = heard.bus
        await bus.ping()
        assert await bus.dead_letter(FolderSealed.stream, "odd", body='{"zip_id": 1}')
        assert (await bus.streams([event.stream for event in EVENTS]))[1].length > 0
        await bus.lag({FolderSealed: heard})()
        with estate.master.server.client() as client:
            ((letter, _),) = client.xrange(DEAD_LETTERS)
        await console.says("status")
        await console.says("dead-letters")
        await console.says("dead-letters", "--retry", letter.decode())
        async with Bus.open(SecretStr(url.replace("/rv/0", "/rv/1")), "pinner") as another:
            assert await another.emit(ZipPinned(zip_id=1))
    for running in (*estate.servers, *estate.watchers):
        with running.server.client() as client:
            assert not [one for one in client.acl_log() if one["username"] == "roadvault"]
    with estate.master.server.client() as client:
        done = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert set(re.findall(r" \+(\S+)", granted("redis-user.conf"))) <= done


async def test_events_go_on_after_a_fail_over(url: str, estate: Guarded) -> None:
    async with hearing(url) as heard:
        await asyncio.to_thread(estate.master.kill)
        await heard.hears(2)


async def test_a_crowd_that_connects_at_once_is_served_in_time(url: str) -> None:
    """As after a fail-over: an event has a second."""
    async with Bus.open(SecretStr(url), "pinner") as bus:
        assert all(await asyncio.gather(*(bus.emit(FolderSealed(zip_id=1)) for _ in range(16))))


async def test_a_bus_ends_though_its_server_stands_still(url: str, estate: Guarded) -> None:
    """Who closes TLS waits for the other side's word."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.open(SecretStr(url), "pinner"))
        assert await bus.emit(FolderSealed(zip_id=1))
        with estate.master.suspended():
            async with asyncio.timeout(6):
                await stack.aclose()


def server_url(estate: Guarded, user: str = f"roadvault:{PASSWORD}", host: str = "localhost") -> str:
    return f"rediss://{user}@{host}:{estate.master.server.port}/0"


async def said(url: str) -> str:
    """Return what is said of a Redis that can't be used."""
    async with Bus.open(SecretStr(url), "pinner") as bus:
        assert not await bus.emit(FolderSealed(zip_id=1))
        with pytest.raises(RedisUnavailable) as away:
            await bus.ping()
    return str(away.value)


async def test_a_certificate_has_to_be_of_an_authority_that_is_known_and_bear_the_name(
    url: str, estate: Guarded, authority: Authority
) -> None:
    known = f"?ssl_ca_certs={authority.file}"
    async with Bus.open(SecretStr(server_url(estate) + known), "pinner") as bus:
        await bus.ping()
    assert "certificate verify failed" in await said(server_url(estate))
    assert "certificate verify failed" in await said(url.partition("?")[0])
    assert "IP address mismatch" in await said(server_url(estate, host=HOST) + known)
    assert "IP address mismatch" in await said(url.replace("localhost", HOST))


async def test_who_is_not_let_in_is_told_so_without_the_password(
    url: str, estate: Guarded, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    known = f"?ssl_ca_certs={authority.file}"
    seen = [
        await said(server_url(estate, "roadvault:n0t-th1s") + known),
        await said(server_url(estate, "nobody:n0t-th1s") + known),
        await said(url.replace(PASSWORD, "n0t-th1s")),
        await said(f"{url}&sentinel_password=n0t-th1s"),
    ]
    for one in seen:
        assert "invalid username-password pair" in one
    assert "user: " not in await said(server_url(estate, f":{PASSWORD}") + known)  # default's is another
    assert "n0t-th1s" not in "".join([*seen, *capfd.readouterr()])
    name = f"{url}&sentinel_username=default"  # whom Sentinels without passwords let in with any
    async with Bus.open(SecretStr(name), "pinner") as bus:
        await bus.ping()


async def test_a_user_by_tcp_and_by_a_socket(servers_dir: Path) -> None:
    socket = servers_dir / "redis.sock"
    (port,) = pick_free(1)
    conf = f"port {port}\nunixsocket {socket}\n{granted('redis-user.conf')}"
    running = Running(Node(servers_dir / "plain", port, conf, {}))
    running.start()
    try:
        for url in (f"redis://roadvault:{PASSWORD}@{HOST}:{port}/3", f"unix://roadvault:{PASSWORD}@{socket}?db=3"):
            async with hearing(url) as heard:
                await heard.bus.ping()
        with running.server.client() as client:
            assert not client.acl_log()
            client.execute_command("REPLICAOF", HOST, 9)
        assert "read only replica" in await said(url)
    finally:
        running.stop()
