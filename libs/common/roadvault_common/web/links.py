"""Signed links: notifier makes those that download, and the door takes them; nobody else can.

Ingest makes those that play, and the retriever takes them. Each kind has a secret and a salt of its own: the door,
which faces outside, can make none that plays.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, NamedTuple

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field, SecretStr, field_validator

from roadvault_common.errors import PermanentError
from roadvault_common.settings.config import EnvironmentSettings

_LEAST = 16
"""Characters of a secret."""


class LinkSettings(EnvironmentSettings):
    """For services that make or take links."""

    link_secret: SecretStr = Field(
        title="Link secret",
        description="at least 16 characters, without commas; signs download links. Several, separated by commas: the"
        " first signs, all are taken",
    )

    @field_validator("link_secret")
    @classmethod
    def _are_long(cls, secrets: SecretStr) -> SecretStr:
        return _long(secrets)


class ViewSettings(EnvironmentSettings):
    """For who makes, or checks, what plays videos: without the secret none is played."""

    view_secret: SecretStr | None = Field(
        None,
        title="View secret",
        description="at least 16 characters, without commas; signs what plays videos. Several, separated by commas: the"
        " first signs, all are taken. Without it none is played; never the link secret, which the door has",
    )

    @field_validator("view_secret")
    @classmethod
    def _are_long(cls, secrets: SecretStr | None) -> SecretStr | None:
        return None if secrets is None else _long(secrets)


def _long(secrets: SecretStr) -> SecretStr:
    if min(map(len, _each(secrets))) < _LEAST:
        raise ValueError(f"must be at least {_LEAST} characters, and so must each of several")
    return secrets


def _each(secrets: SecretStr) -> list[str]:
    return [secret.strip() for secret in secrets.get_secret_value().split(",")]


class BadLink(PermanentError):
    """The link was not made here."""


class _Tokens:
    """Makes and reads tokens of one kind: the first secret signs, each of them is taken."""

    def __init__(self, secrets: SecretStr, salt: str) -> None:
        newest_last = _each(secrets)[::-1]
        self._serializer = URLSafeSerializer(newest_last, salt=salt)

    def _sign(self, number: int, expires_at: datetime, *more: object) -> str:
        return str(self._serializer.dumps([number, math.ceil(expires_at.timestamp()), *more]))

    def _read(self, token: str, parts: int) -> tuple[int, datetime, list[Any]]:
        try:
            number, expires, *more = self._serializer.loads(token)
            good = int(number), datetime.fromtimestamp(expires, UTC), more
        except (BadData, ValueError, TypeError) as error:
            raise BadLink("this link is not valid") from error
        if len(more) != parts:
            raise BadLink("this link is not valid")
        return good


class Links(_Tokens):
    """The tokens of download links; their ids are those of requests."""

    def __init__(self, secrets: SecretStr) -> None:
        super().__init__(secrets, "roadvault.download")

    def token(self, number: int, expires_at: datetime) -> str:
        """Return a URL-safe token for the request with this id, good until `expires_at` (aware)."""
        return self._sign(number, expires_at)

    def read(self, token: str) -> tuple[int, datetime]:
        """Return a token's id, and until when it is good (aware, by the database's clock).

        Raises:
            BadLink: Its signature is not ours, or it is of another kind.
        """
        number, expires_at, _ = self._read(token, 0)
        return number, expires_at


class View(NamedTuple):
    """What a token plays, until when (aware, by the database's clock), and for whom: facts of the custody log."""

    view_id: str
    """No other token has it."""
    file_id: int
    expires_at: datetime
    made_for: dict[str, str]


class Views(_Tokens):
    """The tokens that play a video. Whoever holds one can read in it whom it was made for."""

    def __init__(self, secrets: SecretStr) -> None:
        super().__init__(secrets, "roadvault.view")

    def token(self, file_id: int, expires_at: datetime, made_for: Mapping[str, str]) -> str:
        """Return a URL-safe token for a file, good until `expires_at` (aware)."""
        return self._sign(file_id, expires_at, token_hex(8), dict(made_for))

    def read(self, token: str) -> View:
        """Return what a token plays.

        Raises:
            BadLink: Its signature is not ours, or it is of another kind.
        """
        file_id, expires_at, (view_id, made_for) = self._read(token, 2)
        return View(view_id, file_id, expires_at, made_for)
