"""A form says the same however the network cuts it into pieces."""

from collections.abc import Iterator

import pytest
from clients_wire import DATA, FILE, B, field, form

from roadvault_ingest.problems import Problem
from roadvault_ingest.uploads.form import Form

FIELDS = field("b.mp4")
PADDED = b"\r\n--X-b0undary \t\r\n%b\r\n--X-b0undary \t\r\n%b\r\n--X-b0undary--\r\n" % (FIELDS, FILE)
BODIES = {
    "plain": form(FIELDS, FILE),
    "the file first": form(FILE, FIELDS),
    "a preamble": b"--X-b0undar is not it\r\n" + form(FIELDS, FILE, end=b"--X-b0undary--"),
    "padded": PADDED,
    "something behind": form(FIELDS, FILE) + b"\r\n--X-b0undary\r\nbye",
}


def cuts(body: bytes) -> Iterator[list[bytes]]:
    """Yield the body whole, byte by byte, and cut in two at each place."""
    yield [body]
    yield [bytes([byte]) for byte in body]
    for at in range(1, len(body)):
        yield [body[:at], body[at:]]


def read(pieces: list[bytes], length: int | None) -> tuple[str, bytes, bool]:
    """Return what the file is called, the file, and whether the form was over before the body was."""
    form = Form(B, 1000, length)
    file = b"".join(one for piece in pieces for one in form.feed(piece))
    over = form.over
    return form.filename, file + b"".join(form.feed(b"")), over


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_form_in_pieces_is_the_form(body: bytes) -> None:
    over = body is not PADDED  # those are looked at a little behind what has come
    for pieces in cuts(body):
        assert read(pieces, len(body) + 2) == ("b.mp4", DATA, over)
        assert read(pieces, None) == ("b.mp4", DATA, False)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_form_that_is_cut_off_is_never_taken(body: bytes) -> None:
    whole = body.index(b"--X-b0undary--") + len(b"--X-b0undary--")
    for end in range(whole):
        with pytest.raises(Problem):
            read([body[:end]] if end else [], None)
