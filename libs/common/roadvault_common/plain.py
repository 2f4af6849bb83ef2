"""Text from outside, fit to be shown: on a terminal, in a log, on a page."""

import unicodedata

from pydantic import ValidationError

_UNFIT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what a terminal obeys instead of showing it (ESC, C1), of what turns the direction of text or
is not seen, of halves of characters, and of ends of lines."""
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Persian, Hindi and others are misspelt without them, and they turn nothing."""
_SHOWN = 100
"""Characters of a name, and of a reason."""


def plain(text: str) -> str:
    """Return one line of text with U+FFFD, a mark that something was there, for all that is unfit to be shown."""
    return text if text.isprintable() else "".join(map(_plain, text))


def plain_lines(text: str) -> str:
    """Return several lines, each of them plain."""
    return "\n".join(map(plain, text.splitlines()))


def first_fault(error: ValidationError) -> str:
    """Return where what came from outside is not as it should be, and why; names in it may be the stranger's own."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, fault["loc"])) or "the whole of it"
    return plain(f"{where[:_SHOWN]}: {fault['msg'][:_SHOWN]}")


def _plain(character: str) -> str:
    unfit = unicodedata.category(character) in _UNFIT and character not in _JOINERS
    return "\N{REPLACEMENT CHARACTER}" if unfit else character
