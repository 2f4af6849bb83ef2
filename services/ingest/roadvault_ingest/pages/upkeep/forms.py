"""What the forms of upkeep have in common: rows that were ticked, a reason, and a tick before something is lost."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from roadvault_common.errors import PermanentError, brief
from roadvault_ingest.fields import Fields, request_fields
from roadvault_ingest.pages.office import Office
from roadvault_ingest.problems import Conflict, Problem

ROWS = 25
"""Rows of a list that can be ticked: a form has 32 fields at most."""
_FORM_BYTES = 65_536
_REASON_LENGTH = 500
_ID_DIGITS = 18


async def form_of(request: web.Request, office: Office, *, destroys: bool = False) -> Fields:
    """Return a form's fields; one that `destroys` something has to be ticked for that.

    Raises:
        Problem: It can't be read, or is not ticked; nothing was changed.
    """
    fields = await request_fields(request, office.settings, _FORM_BYTES)
    if destroys and fields.values.get("sure") != "yes":
        raise Problem("this can't be undone: tick the box beside the button; nothing was changed")
    return fields


def picked(fields: Fields) -> list[str]:
    """Return what was ticked.

    Raises:
        Problem: Nothing.
    """
    found = [value for name, value in fields.values.items() if name.startswith("pick") and isinstance(value, str)]
    if not found:
        raise Problem("nothing was ticked; nothing was changed")
    return found


def picked_numbers(fields: Fields) -> list[int]:
    """Return the numbers of what was ticked.

    Raises:
        Problem: There are none, or one is no number.
    """
    return [number_of(text) for text in picked(fields)]


def number_of(text: str) -> int:
    """Return a number that a form has.

    Raises:
        Problem: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS):
        raise Problem("a number must be a positive whole one; nothing was changed")
    return int(text)


def reason_of(fields: Fields) -> str:
    """Return why something is done.

    Raises:
        Problem: It is not said.
    """
    reason = fields.text("reason")
    if not reason or len(reason) > _REASON_LENGTH:
        raise Problem(f"reason must have between 1 and {_REASON_LENGTH} characters")
    return reason


@contextmanager
def refusing() -> Iterator[None]:
    """Answer with 409 where things stand otherwise than the form took them to."""
    try:
        yield
    except Problem:
        raise
    except PermanentError as error:
        raise Conflict(brief(error)) from None
