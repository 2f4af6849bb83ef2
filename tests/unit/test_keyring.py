"""The keyring's text, and labels of archives that have an end."""

import re

import orjson
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import SHREDDED, ArchiveKey, MasterKeys, PeriodKey, Use
from roadvault_common.archive.keyring import HEAD, encode, lines, period_keys
from roadvault_common.archive.label import Label, Place
from roadvault_common.errors import Ended, IntegrityError, MasterKeyMissing

KEYS = MasterKeys(SecretStr(Fernet.generate_key().decode()))
OTHER = MasterKeys(SecretStr(Fernet.generate_key().decode()))
PERIODS = [PeriodKey.new("2031-02"), PeriodKey.new("2030-12")]


def test_the_same_keys_give_the_same_text_and_the_text_gives_them_back() -> None:
    text = encode(KEYS, PERIODS)
    assert text == encode(KEYS, PERIODS[::-1])
    assert text.decode().splitlines()[:2] == [HEAD, *lines(KEYS, PERIODS[1:])]
    found = period_keys(text.decode(), KEYS)
    assert {name: (one.period, one.secret) for name, one in found.items()} == {
        one.id: (one.period, one.secret) for one in PERIODS
    }
    for one in PERIODS:
        assert one.text.get_secret_value() not in text.decode()
    assert period_keys(encode(KEYS, []).decode(), KEYS) == {}


def test_a_line_that_is_damaged_or_sealed_by_another_key_is_named() -> None:
    (line,) = lines(KEYS, PERIODS[:1])
    for at in range(len("2031-02 "), len(line) - 3):  # the last character before == has bits to spare
        if line[at] == " ":
            continue
        wrong = line[:at] + ("1" if line[at] != "1" else "2") + line[at + 1 :]
        with pytest.raises((IntegrityError, MasterKeyMissing)) as told:
            period_keys(wrong, KEYS)
        assert re.search(r"2031-02|master key", str(told.value))
    for wrong in (line[:-9], line.replace("=", ""), f"{line} x"):
        with pytest.raises(IntegrityError, match=r"line 2 .* 2031-02"):
            period_keys(f"On a sheet\n  {wrong}", KEYS)
    with pytest.raises(MasterKeyMissing):
        period_keys(line, OTHER)


def _label(keys: MasterKeys) -> tuple[Label, ArchiveKey]:
    key = ArchiveKey.new()
    return Label.make(keys, key, 100, Place(offset=1, size=2), 3, bytes(32)), key


def test_a_label_names_one_key_and_its_wrap_says_which() -> None:
    (plain, _), (ends, key) = _label(KEYS), _label(PERIODS[0])
    assert Label.parse(ends.encode()).open(PERIODS[0]) == key
    with pytest.raises(MasterKeyMissing, match="has an end"):
        ends.open(KEYS)
    for one, other in ((plain, ends), (ends, plain)):
        fields = orjson.loads(one.encode())
        name = "periodKey" if one is ends else "masterKey"
        wrong: list[dict[str, object]] = [
            {**fields, "wrap": other.wrap},
            {**fields, "masterKey": "0" * 16, "periodKey": "0" * 16},
            {field: value for field, value in fields.items() if field != name},
            {**fields, name: None},
        ]
        for body in wrong:
            with pytest.raises(IntegrityError):
                Label.parse(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def test_a_row_opens_with_the_period_key_that_the_master_key_wraps() -> None:
    period, key = PERIODS[0], ArchiveKey.new()
    wrapped = KEYS.wrap(period.text.get_secret_value().encode())
    row = period.wrap(key.key), key.iv.hex(), period.id
    assert KEYS.unwrap(*row, wrapped) == key
    for keys, kept in ((KEYS, None), (OTHER, wrapped)):
        with pytest.raises(MasterKeyMissing):
            keys.unwrap(*row, kept)
    with pytest.raises(Ended):
        KEYS.unwrap("", key.iv.hex(), SHREDDED)
    assert KEYS.derive(Use.KEYRING) != KEYS.derive(Use.ARCHIVE_KEY)
