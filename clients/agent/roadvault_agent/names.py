"""Names of files: what a disk allows, what RoadVault takes, what patterns are matched with."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath, PureWindowsPath

OURS = ".roadvault-"
"""What begins so is the agent's own, and is never taken."""
MARK = ".roadvault.json"
"""The end of a file's mark."""
_MOST_BYTES = 255
_WINDOWS = '<>:"|?*\\'
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])[ .]*(\.|$)", re.IGNORECASE)
_LONG = 240
"""Longer paths, and odd ones, need a prefix on Windows."""


def relative(path: PurePath) -> str:
    """Return a path below a folder as patterns see it: with `/`, on Windows, too."""
    return "/".join(path.parts)


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Tell whether a relative path, or its last part, is like one of these, whatever the case."""
    lower = path.lower()
    return any(
        fnmatchcase(lower, pattern.lower()) or fnmatchcase(lower.rpartition("/")[2], pattern.lower())
        for pattern in patterns
    )


def for_server(path: str) -> str:
    """Return what RoadVault calls the file: its own name; what can't be in one is written as %XX, a long one is cut."""
    name = path.rpartition("/")[2]
    if any("\udc80" <= one <= "\udcff" for one in name):  # not UTF-8: what of it looks like that is chance
        name = "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in os.fsencode(name))  # noqa: PLR2004
    return _cut("".join(_escaped(one) if one == "\\" or _unprintable(one) else one for one in name))


def for_windows(name: str) -> str:
    """Return a name that any file system takes, the same if this one is such already."""
    plain = "".join(_escaped(one) if one in _WINDOWS or _unprintable(one) else one for one in name)
    if plain[-1:] in {" ", "."}:
        plain = plain[:-1] + _escaped(plain[-1])
    if _RESERVED.match(plain):
        plain = _escaped(plain[0]) + plain[1:]
    return _cut(plain)


def of_mark(name: str) -> str:
    """Return what a file's mark is called."""
    return _cut(name, MARK)


def beside(name: str, key: str) -> str:
    """Return another name for a file whose own is taken."""
    stem, dot, suffix = name.rpartition(".")
    return _cut(f"{stem or suffix}~{key[:8]}{dot if stem else ''}{suffix if stem else ''}")


def reachable(path: PureWindowsPath) -> str:
    """Return an absolute path as Windows opens it, however long it is and whatever it is called."""
    text = str(path)
    odd = any(_RESERVED.match(part) or part[-1:] in {" ", "."} for part in path.parts[1:])
    if text.startswith("\\\\?\\") or not path.is_absolute() or not (odd or len(text) >= _LONG):
        return text
    return "\\\\?\\UNC\\" + text[2:] if text.startswith("\\\\") else "\\\\?\\" + text


def _unprintable(one: str) -> bool:
    return unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}


def _escaped(one: str) -> str:
    """Return %XX for each byte; a byte that was no text is itself again."""
    return "".join(
        f"%{byte:02X}"
        for byte in one.encode(errors="surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass")
    )


def _cut(name: str, end: str = "") -> str:
    """Shorten a name, with `end` behind it, to what file systems and RoadVault take; its suffix stays."""
    if len(os.fsencode(name + end)) <= _MOST_BYTES:
        return name + end
    suffix = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}{PurePath(name).suffix[:20]}{end}"
    room = _MOST_BYTES - len(os.fsencode(suffix))
    stem = name
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + suffix


def shown(text: str) -> str:
    """Return a name or message as a terminal may show it."""
    return "".join(one if one.isprintable() else "?" for one in text)
