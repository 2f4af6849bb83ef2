"""What a token is good for: scopes, patterns of cameras, hosts of callbacks."""

import time

import pytest

from roadvault_common.access.scopes import Role, Scope
from roadvault_common.access.tokens import PREFIX, checked_grant, checked_name, hash_of, new_token
from roadvault_common.errors import PermanentError
from roadvault_common.web.callback_url import read
from roadvault_ingest.access.refused import NotAllowed
from roadvault_ingest.access.who import ANYBODY, Kind, Who


def test_a_token_is_known_for_one_and_its_hash_tells_nothing() -> None:
    token = new_token()
    hashed = hash_of(token)
    assert token.startswith(PREFIX)
    assert len(token) == 47
    assert hashed is not None
    assert len(hashed) == 32
    for other in ("", token[:-1], token + "a", token + "\n", token.upper()[:4] + token[4:], " " + token):
        assert hash_of(other) is None, other


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("gate-7", ("gate-7",), ("gate-70", "Gate-7", "agate-7", "")),
        ("gate-*", ("gate-", "gate-7", "gate-7-front"), ("gat", "a gate-7")),
        ("*/front", ("bus/front", "/front"), ("front", "bus/front/2")),
        ("a*b*c", ("abc", "a-b-c", "abbc"), ("ac", "acb", "ab")),
        ("*a*a", ("aa", "xaxa"), ("a", "xa")),
        ("a*a", ("aa", "aba"), ("a",)),
        ("车-*", ("车-京A12345",), ("车",)),
        ("gate[7]?", ("gate[7]?",), ("gate7x",)),
    ],
)
def test_patterns_of_cameras(pattern: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    grant = checked_grant("upload", (pattern,), ())
    assert all(grant.allows_camera(camera) for camera in yes)
    assert not any(grant.allows_camera(camera) for camera in no)
    assert not grant.allows_camera(None)
    assert grant.only_camera == (None if "*" in pattern else pattern)


def test_no_pattern_takes_long() -> None:
    grant, started = checked_grant("upload", ("*a" * 40 + "*b",), ()), time.monotonic()
    assert not grant.allows_camera("a" * 100)
    assert time.monotonic() - started < 0.1


def test_without_patterns_all_is_allowed() -> None:
    grant = checked_grant("upload, read", (), ())
    assert grant.scopes == {Scope.UPLOAD, Scope.READ}
    assert grant.allows_camera(None)
    assert grant.allows_callback(read("http://anywhere.example/"))


@pytest.mark.parametrize(
    ("host", "yes", "no"),
    [
        (
            "client.example",
            ("http://client.example/x", "https://CLIENT.example:8443/", "http://client.example./"),
            ("http://a.client.example/", "http://client.example.evil/", "http://evilclient.example/"),
        ),
        (
            "client.example:8443",
            ("https://client.example:8443/",),
            ("https://client.example/", "http://client.example:80/"),
        ),
        (
            "*.client.example",
            ("http://a.client.example/", "http://a.b.client.example/"),
            ("http://client.example/", "http://aclient.example/"),
        ),
        ("10.0.0.7", ("http://10.0.0.7/",), ("http://10.0.0.70/", "http://10.0.0.7.evil.example/")),
        ("[fd00::7]:80", ("http://[fd00:0::7]/",), ("http://[fd00::7]:81/", "http://[fd00::8]/")),
        ("[fd00::7]", ("http://[fd00::7]:81/",), ("http://[fd00::17]/",)),
    ],
)
def test_hosts_of_callbacks(host: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    grant = checked_grant("request", (), (host,))
    assert all(grant.allows_callback(read(url)) for url in yes)
    assert not any(grant.allows_callback(read(url)) for url in no)


@pytest.mark.parametrize(
    ("scopes", "cameras", "hosts", "told"),
    [
        ("", (), (), "scopes are"),
        ("upload,admin", (), (), "admin"),
        ("upload", ("",), (), "no pattern"),
        ("upload", (" gate",), (), "no pattern"),
        ("upload", ("g\x1b[2J",), (), "no pattern"),
        ("upload", ("g" * 101,), (), "no pattern"),
        ("request", (), ("http://client.example",), "no host"),
        ("request", (), ("*",), "no host"),
        ("operate", ("gate-*",), (), "operate"),
    ],
)
def test_what_makes_no_sense_is_refused(
    scopes: str, cameras: tuple[str, ...], hosts: tuple[str, ...], told: str
) -> None:
    with pytest.raises(PermanentError, match=told):
        checked_grant(scopes, cameras, hosts)


def test_names() -> None:
    for name in ("dock-1", "车队.北京", "anna@example.org"):
        assert checked_name(name) == name
    for name in ("", "a b", "-x", "a" * 65, "a\n", "a/b"):
        with pytest.raises(PermanentError):
            checked_name(name)


def test_roles() -> None:
    assert Role.VIEWER.scopes == {Scope.READ}
    assert Role.OPERATOR.scopes == set(Scope)


def test_who_may_have_its_own_hosts_called_gets_no_link_on_a_page() -> None:
    ANYBODY.check_link()
    for grant in (checked_grant("request", [], ["client.example"]), checked_grant("read", [], [])):
        who = Who(Kind.TOKEN, "a", grant, 1)
        assert not who.has_links
        with pytest.raises(NotAllowed):
            who.check_link()
