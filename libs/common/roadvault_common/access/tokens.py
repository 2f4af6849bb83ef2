"""Tokens: 256 random bits that a program shows with each request. We keep their hash alone."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from roadvault_common.access.scopes import Scope
from roadvault_common.errors import PermanentError
from roadvault_common.plain import plain
from roadvault_common.sql.db import Row
from roadvault_common.web.callback_url import CallbackUrl

PREFIX = "rvt_"
"""By this a token is known for one wherever it turns up."""
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
_NAME = re.compile(r"\w[\w.@-]{0,63}")
_HOST = re.compile(r"(?:\*\.)?[0-9a-z_-]+(?:\.[0-9a-z_-]+)*(?::[0-9]{1,5})?|\[[0-9a-f:.]+\](?::[0-9]{1,5})?", re.ASCII)
_CAMERA_LENGTH = 100


def new_token() -> str:
    """Make a token."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes | None:
    """Return what we keep of a token; None for what has not the form of one."""
    return hashlib.sha256(token.encode()).digest() if _TOKEN.fullmatch(token) else None


@dataclass(frozen=True)
class Grant:
    """What a token is good for."""

    scopes: frozenset[Scope]
    cameras: tuple[str, ...] = ()
    """Patterns, * for any characters; none: all files, of whatever camera."""
    callback_hosts: tuple[str, ...] = ()
    """Such as client.example, client.example:8443 and *.client.example; none: all."""

    def allows_camera(self, camera: str | None) -> bool:
        """Tell whether it is good for files of a camera, or of none."""
        return not self.cameras or (camera is not None and any(_matches(one, camera) for one in self.cameras))

    @property
    def only_camera(self) -> str | None:
        """The camera that it must be, where it can be but one."""
        return self.cameras[0] if len(self.cameras) == 1 and "*" not in self.cameras[0] else None

    def allows_callback(self, url: CallbackUrl) -> bool:
        """Tell whether a client may be called there."""
        return not self.callback_hosts or any(_leads(one, url) for one in self.callback_hosts)


@dataclass(frozen=True)
class Token:
    """A token that is good now."""

    token_id: int
    name: str
    grant: Grant


def of_row(row: Row) -> Token:
    """Return the token that a row of `token_info` is."""
    return Token(
        row["token_id"],
        row["name"],
        Grant(
            frozenset(Scope(scope) for scope in row["scopes"].split(",")),
            tuple(orjson.loads(row["cameras"])),
            tuple(orjson.loads(row["callback_hosts"])),
        ),
    )


def is_name(name: str) -> bool:
    """Tell whether a token or a person may be called so."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """Return a name that a token or a person may have.

    Raises:
        PermanentError: It is none.
    """
    if not is_name(name):
        raise PermanentError(
            f"a name has up to 64 letters, digits and . _ - @, and begins with a letter or digit; not {plain(name)!r}"
        )
    return name


def checked_grant(scopes: str, cameras: Sequence[str], callback_hosts: Sequence[str]) -> Grant:
    """Return what a token is to be good for, from what a person wrote.

    Raises:
        PermanentError: It can't be.
    """
    words = [word.strip() for word in scopes.split(",") if word.strip()]
    known = [scope.value for scope in Scope]
    if not words or not set(words) <= set(known):
        raise PermanentError(f"scopes are {', '.join(known)}, divided by commas; not {plain(scopes)!r}")
    for camera in cameras:
        if not camera.strip() or camera != camera.strip() or len(camera) > _CAMERA_LENGTH or plain(camera) != camera:
            raise PermanentError(f"{plain(camera)!r} is no pattern of cameras: 1 to {_CAMERA_LENGTH} characters")
    hosts = tuple(host.strip().lower().rstrip(".") for host in callback_hosts)
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise PermanentError(
                f"{plain(host)!r} is no host of callbacks, such as client.example, client.example:8443,"
                " *.client.example, 10.0.0.7 or [fd00::7]"
            )
    grant = Grant(frozenset(Scope(word) for word in words), tuple(cameras), hosts)
    if cameras and Scope.OPERATE in grant.scopes:
        raise PermanentError("who operates sees all files: a token for some cameras can't have the scope operate")
    return grant


def _matches(pattern: str, camera: str) -> bool:
    """Tell whether a camera has a pattern; piece by piece, so that no pattern takes long."""
    first, *rest = pattern.split("*")
    if not rest:
        return camera == pattern
    *middle, last = rest
    if not (camera.startswith(first) and camera.endswith(last) and len(camera) >= len(first) + len(last)):
        return False
    at, end = len(first), len(camera) - len(last)
    for piece in middle:
        found = camera.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _leads(pattern: str, url: CallbackUrl) -> bool:
    host = f"[{url.host}]" if ":" in url.host else url.host.rstrip(".").lower()
    name, _, port = pattern.rpartition(":") if re.search(r":[0-9]{1,5}\Z", pattern) else (pattern, "", "")
    if port and int(port) != url.port:
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name
