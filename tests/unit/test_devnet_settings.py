"""The devnet's settings, and its store."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from roadvault_devnet.block import Block
from roadvault_devnet.config import DevnetSettings
from roadvault_devnet.rules import Generation
from roadvault_devnet.store import Store

BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ROADVAULT_DEVNET_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = DevnetSettings()
    assert (settings.host, settings.port, settings.block_seconds) == ("127.0.0.1", 7030, 6)
    assert (settings.generation, settings.file_duration_blocks) == (Generation.V2, 2_592_000)
    assert list(settings.endowed().values()) == [10**18]


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADVAULT_DEVNET_GENERATION", "v1")
    monkeypatch.setenv("ROADVAULT_DEVNET_MEMO", "false")
    monkeypatch.setenv("ROADVAULT_DEVNET_GENESIS_ACCOUNTS", f"{BOB}=25, ")
    settings = DevnetSettings()
    assert (settings.generation, settings.memo) == (Generation.V1, False)
    assert settings.genesis_accounts == {BOB: 25}


@pytest.mark.parametrize("value", ["nobody=5", f"{BOB}", f"{BOB}=-1"])
def test_genesis_accounts_that_are_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ROADVAULT_DEVNET_GENESIS_ACCOUNTS", value)
    with pytest.raises(ValidationError):
        DevnetSettings()


@pytest.mark.parametrize("name", list(DevnetSettings.model_fields))
def test_every_setting_says_what_it_is(name: str) -> None:
    field = DevnetSettings.model_fields[name]
    assert field.title
    assert field.description


def test_a_block_taken_back_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        first, second = Block(1, bytes(32), bytes(32), (b"a", b"bc")), Block(2, bytes(32), bytes(32), ())
        store.append(first, {b"kept": b"1", b"gone": b"2"}, {b"kept": None, b"gone": None}, forget_below=0)
        store.append(second, {b"kept": b"3", b"gone": None}, {b"kept": b"1", b"gone": b"2"}, forget_below=0)
        assert store.state() == {b"kept": b"3"}
        assert store.before_change(b"gone", 1) == (True, b"2")
        assert store.take_back(second) == {b"kept": b"1", b"gone": b"2"}
        assert store.state() == {b"kept": b"1", b"gone": b"2"}
        assert store.head() == first
        assert store.before_change(b"kept", 1) == (False, None)
    finally:
        store.close()
