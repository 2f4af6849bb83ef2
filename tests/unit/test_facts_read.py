"""What a client says of a file besides its name: what is understood, and what is refused with which words."""

from datetime import UTC, datetime

import orjson
import pytest
from pydantic import ValidationError

from roadvault_common.files.facts import NOTHING, Facts, told
from roadvault_common.files.tags import Tag
from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.facts import read

HALF_PAST = datetime(2026, 11, 28, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T08:30:00+08:00",
        "2026-11-28T08:30:00 08:00",  # a query's + that nobody encoded
        "2026-11-28 00:30Z",
        "20261128T083000+0800",
        "2026-11-28T00:30:00.000000-00:00",
        "1795825800",
        "1795825800.000",
    ],
)
def test_times_as_clients_write_them(text: str) -> None:
    assert read({"recordedAt": text}).recordedAt == HALF_PAST


def test_what_is_said_and_what_is_empty() -> None:
    fields = {"camera": " gate 7 北 ", "lat": "-0", "lon": "120.1234567", "tags": "truck, night,,truck", "other": "x"}
    facts = read(fields)
    assert facts == Facts(camera="gate 7 北", lat=0.0, lon=120.1234567, tags=("night", "truck"))
    assert told(facts) == {"camera": "gate 7 北", "lat": 0.0, "lon": 120.1234567, "tags": ["night", "truck"]}
    assert orjson.dumps(facts.lat) == b"0.0"
    assert read({"camera": " ", "tags": " , ,", "recordedAt": ""}) == NOTHING
    assert told(NOTHING) == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"camera": "c" * 101}, "100 characters"),
        ({"camera": "a\x1b[2J"}, "control characters"),
        ({"camera": "a\u202eb"}, "control characters"),
        ({"recordedAt": "yesterday"}, "must be a time such as"),
        ({"recordedAt": "2026-11-28T08:30:00"}, "must say its zone"),
        ({"recordedAt": "2026-02-30T08:30:00Z"}, "must be a time such as"),
        ({"recordedAt": "1969-12-31T23:59:59Z"}, "between the years"),
        ({"recordedAt": "0001-01-01T00:00:00+23:59"}, "between the years"),
        ({"recordedAt": "9999-12-31T23:59:59-23:59"}, "between the years"),
        ({"recordedAt": "9" * 400}, "must be a time such as"),
        ({"lat": "1"}, "both or none"),
        ({"lon": "1"}, "both or none"),
        ({"lat": "90.0000001", "lon": "0"}, "lat must be degrees between -90 and 90"),
        ({"lat": "0", "lon": "-181"}, "lon must be degrees"),
        ({"lat": "nan", "lon": "0"}, "lat must be degrees"),
        ({"lat": "1_0", "lon": "0"}, "lat must be degrees"),
        ({"lat": "1e1", "lon": "0"}, "lat must be degrees"),
        ({"lat": "\uff11\uff10", "lon": "0"}, "lat must be degrees"),
        ({"lat": "N 30.1", "lon": "0"}, "lat must be degrees"),
        ({"tags": ",".join(map(str, range(21)))}, "20 tags"),
        ({"tags": "t" * 51}, "50 characters"),
        ({"tags": ",".join(f"{n}{'日' * 10}" for n in range(20))}, "500 bytes"),
        ({"tags": "a\nb"}, "control characters"),
    ],
)
def test_what_can_not_be_is_refused_with_words(fields: dict[str, str], words: str) -> None:
    with pytest.raises(Problem, match=words):
        read(fields)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"camera": "c" * 101},
        {"recordedAt": "0001-01-01T00:00:00+23:59"},
        {"recordedAt": "9999-12-31T23:59:59-23:59"},
        {"recordedAt": "2026-11-28T00:30:00"},
        {"lat": 91},
        {"lon": "NaN"},
        {"tags": ["a,b"]},
        {"tags": [f"{n}" for n in range(21)]},
        {"tags": ["x" * 50] * 3 + ["y" * 51]},
    ],
)
def test_what_a_strangers_tag_says_is_looked_at_as_well(spoilt: dict[str, object]) -> None:
    tag = {"file_id": 1, "name": "a", "size": 1, "sha256": "0" * 64, "folder_id": 1, "received": "2026-11-28T00:30Z"}
    assert Tag.model_validate_json(orjson.dumps({**tag, "tags": ["b ", "a", "b"]})).tags == ("a", "b")
    with pytest.raises(ValidationError):
        Tag.model_validate_json(orjson.dumps({**tag, **spoilt}))
