"""Signed links: notifier makes those that download, ingest those that play; the door takes them, nobody else can.

Each kind is signed with a salt of its own: none can be made the other.
"""

import math
from datetime import UTC, datetime

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
    """For services that have videos play, if they can: without the secret nothing does."""

    link_secret: SecretStr | None = Field(
        None, title="Link secret", description="as the door has it; signs what plays videos. Without it none is played"
    )

    @field_validator("link_secret")
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

    def token(self, number: int, expires_at: datetime) -> str:
        """Return a URL-safe token for what has this id, good until `expires_at` (aware)."""
        return str(self._serializer.dumps([number, math.ceil(expires_at.timestamp())]))

    def read(self, token: str) -> tuple[int, datetime]:
        """Return a token's id, and until when it is good (aware, by the database's clock).

        Raises:
            BadLink: Its signature is not ours, or it is of another kind.
        """
        try:
            number, expires = self._serializer.loads(token)
            return int(number), datetime.fromtimestamp(expires, UTC)
        except (BadData, ValueError, TypeError) as error:
            raise BadLink("this link is not valid") from error


class Links(_Tokens):
    """The tokens of download links; their ids are those of requests."""

    def __init__(self, secrets: SecretStr) -> None:
        super().__init__(secrets, "roadvault.download")


class Views(_Tokens):
    """The tokens that play a video; their ids are those of files."""

    def __init__(self, secrets: SecretStr) -> None:
        super().__init__(secrets, "roadvault.view")
