"""What a market says of a CID is kept within what the database has room for."""

import pytest

from roadvault_crust_orderer.markets.market import MOST_HEIGHT, FileInfo


@pytest.mark.parametrize(
    "values",
    [
        (-1, 1, None, 1),
        (1 << 63, 1, None, 1),
        (1, -1, None, 1),
        (1, MOST_HEIGHT + 1, None, 1),
        (1, 1, -1, 1),
        (1, 1, MOST_HEIGHT + 1, 1),
        (1, 1, None, -1),
        (1, 1, None, 1 << 31),
    ],
)
def test_what_there_is_no_room_for_is_refused(values: tuple[int, int, int | None, int]) -> None:
    with pytest.raises(ValueError, match="is not from 0 to"):
        FileInfo(*values)


def test_what_there_is_room_for_is_taken() -> None:
    FileInfo(0, 0, None, 0)
    FileInfo((1 << 63) - 1, MOST_HEIGHT, MOST_HEIGHT, (1 << 31) - 1)
