"""Settings: clear errors, and no secret in them."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings
from redis.asyncio import connection as redis_url

from roadvault_common.errors import SettingsError
from roadvault_common.redis_pool import MasterPool, make_pool
from roadvault_common.settings.config import PREFIX, explain
from roadvault_common.settings.secret_files import is_secret
from roadvault_common.sql.servers import servers_of
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_door.config import DoorSettings
from roadvault_ingest.config import IngestSettings
from roadvault_notifier.config import NotifierSettings
from roadvault_operator.config import OperatorSettings
from roadvault_packer.config import PackerSettings
from roadvault_pinner.config import PinnerSettings
from roadvault_retriever.config import RetrieverSettings

COMMON = {
    "ROADVAULT_DATABASE_URL": "mysql://u:secret-password@h/db",
    "ROADVAULT_REDIS_URL": "redis://h",
    "ROADVAULT_DATA_DIR": "/data",
    "ROADVAULT_LINK_SECRET": "a secret of enough characters",
    "ROADVAULT_MASTER_KEYS": "unused",
    "ROADVAULT_PUBLIC_URL": "http://files.example",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMMON.items():
        monkeypatch.setenv(name, value)


def test_ingest_reads_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_FOLDER_BYTES", "1000000")
    settings = IngestSettings()
    assert (settings.largest_upload, settings.http_port) == (1_000_000, 7001)
    assert "secret-password" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ROADVAULT_FOLDER_BYTES", str(9 << 30), "8 GiB"),
        ("ROADVAULT_UPLOAD_MAX_BYTES", str(6 << 30), "ROADVAULT_UPLOAD_MAX_BYTES"),
        ("ROADVAULT_FOLDER_FILES", "many", "ROADVAULT_FOLDER_FILES"),
        *(
            ("ROADVAULT_UPLOAD_ORIGINS", value, "must be origins such as https://portal.example")
            for value in ("*", "portal.example", "https://portal.example/", "https://portal.example, null")
        ),
        *(
            ("ROADVAULT_PROXIES", value, "addresses and networks")
            for value in ("haproxy", "10.0.0.1/8", "::/0", "0.0.0.0/0")
        ),
    ],
)
def test_what_is_wrong_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        IngestSettings()
    text = explain(caught.value)
    assert message in text
    assert "secret-password" not in text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ROADVAULT_LINK_SECRET", "short-one", "at least 16"),
        ("ROADVAULT_LINK_SECRET", "a secret of enough characters, short-one", "at least 16"),
        ("ROADVAULT_LINK_SECRET", "a secret of enough characters,", "at least 16"),
        ("ROADVAULT_LINK_ORIGINS", "https://portal.example/page", "without a path"),
        ("ROADVAULT_LINK_ORIGINS", "portal.example", "origins such as https://"),
    ],
)
def test_what_is_wrong_at_the_door_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        DoorSettings()
    text = explain(caught.value)
    assert f"{name}: " in text
    assert message in text
    assert "short-one" not in text


def test_the_door_needs_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROADVAULT_REDIS_URL")
    monkeypatch.setenv("ROADVAULT_LINK_ORIGINS", "https://Portal.example, http://other.example:8080,")
    settings = DoorSettings()
    assert settings.origins == {"https://portal.example", "http://other.example:8080"}
    assert "enough characters" not in repr(settings)


@pytest.mark.parametrize(
    "settings", [IngestSettings, PackerSettings, PinnerSettings, RetrieverSettings, NotifierSettings, OperatorSettings]
)
@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/x@h",
        "redis://h:hunter2/0",
        "http://:hunter2@h",
        "redis+sentinel://:hunter2/x@a,b/rv",
        "redis+sentinel://:hunter2@a,b:hunter2/rv/0",
        "redis+sentinel://:hunter2@a,b/",
        "redis+sentinel://:hunter2@a,b/rv/hunter2",
        "redis+sentinel://a,,b/rv?sentinel_password=hunter2",
        "redis://:hunter2@h?an_option_that_is_none=1",
        "rediss+sentinel://:hunter2@a/rv?ssl_cert_reqs=hunter2",
    ],
)
def test_a_redis_url_that_is_none_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, settings: type[BaseSettings], url: str
) -> None:
    monkeypatch.setenv("ROADVAULT_REDIS_URL", url)
    with pytest.raises(ValidationError) as caught:
        settings()
    assert "ROADVAULT_REDIS_URL: must look like redis://" in explain(caught.value)
    assert "hunter2" not in explain(caught.value)


def test_a_file_that_a_redis_url_names_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_REDIS_URL", "rediss://:hunter2@h?ssl_ca_certs=/nowhere/ca.pem")
    with pytest.raises(ValidationError) as caught:
        IngestSettings()
    told = "ROADVAULT_REDIS_URL: a file that it names can't be used: No such file or directory"
    assert explain(caught.value) == told


def test_a_url_of_sentinels_is_read_with_what_is_set_apart_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "ROADVAULT_REDIS_URL", "redis+sentinel://rv@a,[2001:db8::7]:26380/the%20one/2?sentinel_password=s%2F"
    )
    monkeypatch.setenv("ROADVAULT_REDIS_PASSWORD", "p@ss/w:rd %")
    url = IngestSettings().redis_url
    pool = make_pool(url.get_secret_value())
    assert isinstance(pool, MasterPool)
    assert pool.service_name == "the one"
    master = pool.connection_kwargs
    assert (master["username"], master["password"], master["db"]) == ("rv", "p@ss/w:rd %", 2)
    asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in asked] == [("a", 26379), ("2001:db8::7", 26380)]
    assert {(one["username"], one["password"]) for one in asked} == {("rv", "s/")}
    assert "s/" not in repr(url) + repr(pool.sentinel_manager.sentinels)


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROADVAULT_DATA_DIR")
    monkeypatch.delenv("ROADVAULT_REDIS_URL")
    with pytest.raises(ValidationError) as caught:
        IngestSettings()
    assert "ROADVAULT_DATA_DIR" in explain(caught.value)
    assert "ROADVAULT_REDIS_URL" in explain(caught.value)


def test_the_orderer_takes_its_seed_from_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as caught:
        OrdererSettings()
    assert "ROADVAULT_CRUST_SEED or ROADVAULT_CRUST_SEED_FILE must be set" in explain(caught.value)
    monkeypatch.setenv("ROADVAULT_CRUST_SEED", "//Alice")
    assert OrdererSettings().seed().get_secret_value() == "//Alice"
    assert "//Alice" not in repr(OrdererSettings())


SERVICES = [IngestSettings, PackerSettings, PinnerSettings, RetrieverSettings, NotifierSettings, OrdererSettings]


@pytest.mark.parametrize("settings", SERVICES, ids=lambda settings: str(settings.__name__))
def test_every_secret_may_stand_in_a_file(
    settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROADVAULT_CRUST_SEED", "//Alice")
    for name in (name for name, field in settings.model_fields.items() if is_secret(field)):
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
        value = (
            f"{'redis' if 'redis' in name else 'mysql'}://u@h/0" if name.endswith("_url") else f"the {name} % of /all@"
        )
        (tmp_path / name).write_text(f"{value}\n")
        monkeypatch.setenv(f"{PREFIX}{name.upper()}_FILE", str(tmp_path / name))
    read = settings()
    for name, field in settings.model_fields.items():
        if is_secret(field) and not name.endswith("_url"):
            assert getattr(read, name).get_secret_value() == f"the {name} % of /all@"
    assert "% of" not in repr(read)


def test_a_secret_file_that_is_of_no_use_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROADVAULT_MASTER_KEYS_FILE", str(tmp_path / "keys"))
    with pytest.raises(SettingsError, match="ROADVAULT_MASTER_KEYS and ROADVAULT_MASTER_KEYS_FILE are both set"):
        PackerSettings()
    monkeypatch.delenv("ROADVAULT_MASTER_KEYS")
    with pytest.raises(SettingsError, match=r"ROADVAULT_MASTER_KEYS_FILE: .*keys can't be read: No such file"):
        PackerSettings()
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is not text"):
        PackerSettings()
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        PackerSettings()


def test_passwords_may_be_set_apart_from_their_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_DATABASE_PASSWORD", "p@ss/w:rd %")
    with pytest.raises(ValidationError) as caught:
        IngestSettings()
    assert "ROADVAULT_DATABASE_URL has a password of its own" in explain(caught.value)
    assert "secret-password" not in explain(caught.value)
    monkeypatch.setenv("ROADVAULT_DATABASE_URL", "mysql://roads@db:3307/vault")
    monkeypatch.setenv("ROADVAULT_REDIS_URL", "redis://cache:6380/2")
    monkeypatch.setenv("ROADVAULT_REDIS_PASSWORD", "r@dis?")
    for settings in (IngestSettings, OperatorSettings):
        read = settings()
        assert isinstance(read.redis_url, SecretStr)
        (database,) = servers_of(read.database_url)
        assert (database["user"], database["password"], database["port"]) == ("roads", "p@ss/w:rd %", 3307)
        redis = redis_url.parse_url(read.redis_url.get_secret_value())
        assert (redis["host"], redis["password"], redis["db"]) == ("cache", "r@dis?", 2)
