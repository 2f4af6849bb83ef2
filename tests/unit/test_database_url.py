"""Which servers a database URL names, and what of it is refused; nothing of it is shown."""

import pytest
from pydantic import SecretStr

from roadvault_common.errors import SettingsError
from roadvault_common.settings.secret_files import with_password
from roadvault_common.sql.servers import database_of, place, servers_of


def places(url: str) -> list[str]:
    return [place(server) for server in servers_of(url)]


def test_one_server_and_several() -> None:
    assert places("mysql://u:p@db/rv") == ["db:3306"]
    assert places("mysql://u:p@a:3307,b,[::1]:3308/rv") == ["a:3307", "b:3306", "::1:3308"]
    for server in servers_of("mysql://u%40x:p%2Fw@a,b/rv"):
        assert (server["user"], server["password"], server["database"]) == ("u@x", "p/w", "rv")
    assert database_of("mysql://u:p@a,b/rv") == "rv"


def test_a_password_of_its_own_goes_with_several_servers() -> None:
    url = with_password(SecretStr("mysql://u@a:1,b:2/rv"), SecretStr("p@,/w"))
    assert [(one["host"], one["password"]) for one in servers_of(url)] == [("a", "p@,/w"), ("b", "p@,/w")]


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@a,,b/rv",
        "mysql://u:secret@a,b",
        "mysql://u:se/cret@a,b/rv",
        "mysql://u:12/secret@a/rv",
        "mysql://u:secret@a:port/rv",
        "mysql://u:secret@a/rv?sslca=/ca.pem",
        "mysql://u:secret@a/rv?ssl_ca=/nowhere/ca.pem",
    ],
)
def test_what_is_wrong_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="ROADVAULT_DATABASE_URL") as caught:
        servers_of(url)
    assert "secret" not in str(caught.value)
    assert "u:" not in str(caught.value)
