"""A sheet as text, and as a page to print that needs nothing else: QR codes are drawn in it."""

import os
from pathlib import Path

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from roadvault_common.errors import SettingsError
from roadvault_operator.sheet.contents import Sheet
from roadvault_operator.sheet.texts import BY_HAND, JOIN, RECOVER, TEXTS

_WORDS_IN_A_LINE = 11


def as_text(sheet: Sheet) -> str:
    """Return the sheet for a terminal."""
    return _render("sheet.txt", sheet)


def as_html(sheet: Sheet) -> str:
    """Return the sheet as one HTML page, a sheet of paper for each of its pages."""
    return _render("sheet.html", sheet)


def write_private(path: Path, text: str) -> None:
    """Write a file that did not exist, and that nobody but its owner may read.

    Raises:
        SettingsError: There is one, or it can't be written; nothing is left of it then.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError(f"{path} can't be made: {error.strerror}; nothing was written") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _render(template: str, sheet: Sheet) -> str:
    environment = Environment(
        loader=PackageLoader("roadvault_operator.sheet"),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"qr": _qr, "lines": _lines}
    environment.globals |= {"texts": _texts, "join": JOIN, "recover": RECOVER, "by_hand": BY_HAND}
    return environment.get_template(template).render(sheet=sheet)


def _texts(name: str, **values: object) -> list[str]:
    """Return a text in English and in Chinese."""
    return [text.format_map(values) for text in TEXTS[name]]


def _qr(text: str) -> Markup:
    """Return a QR code as SVG, which takes the size that the page gives it; 15 % of it may be damaged."""
    code = segno.make(text, error="m", micro=False)
    return Markup(code.svg_inline(border=4, omitsize=True))  # noqa: S704 - drawn by us


def _lines(words: str) -> list[str]:
    """Return the words of a share, numbered, in lines that can be read aloud; a key stays as it is."""
    several = words.split()
    if len(several) == 1:
        return several
    named = [f"{number}.{word}" for number, word in enumerate(several, 1)]
    return [" ".join(named[begin : begin + _WORDS_IN_A_LINE]) for begin in range(0, len(named), _WORDS_IN_A_LINE)]
