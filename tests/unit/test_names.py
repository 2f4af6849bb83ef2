"""Names and charsets that strangers send leave nothing behind in the process."""

import encodings

import pytest

from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.names import decoded, name_in_header


def test_a_charset_that_is_not_known_is_not_remembered() -> None:
    known = set(encodings._cache)
    for number in range(10):
        with pytest.raises(Problem, match="not known"):
            decoded("a field", b"a", f"strange-{number}")
        header = f'form-data; name="file"; filename="=?strange-{number}?B?QQ==?="; filename*=strange-{number}\'\'a'
        assert name_in_header(header, None) == f"=?strange-{number}?B?QQ==?="
    assert not [name for name in set(encodings._cache) - known if "strange" in name]
