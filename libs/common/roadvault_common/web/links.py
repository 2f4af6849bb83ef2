"""Signed links: notifier makes them, the door takes them, nobody else can."""

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
        if min(map(len, _each(secrets))) < _LEAST:
            raise ValueError(f"must be at least {_LEAST} characters, and so must each of several")
        return secrets


def _each(secrets: SecretStr) -> list[str]:
    return [secret.strip() for secret in secrets.get_secret_value().split(",")]


class BadLink(PermanentError):
    """The link was not made here."""


class Links:
    """Makes and reads the tokens of download links: the first secret signs, each of them is taken."""

    def __init__(self, secrets: SecretStr) -> None:
        newest_last = _each(secrets)[::-1]
        self._serializer = URLSafeSerializer(newest_last, salt="roadvault.download")

    def token(self, download_id: int, expires_at: datetime) -> str:
        """Return a URL-safe token for the extraction of `download_id`, good until `expires_at` (aware)."""
        return str(self._serializer.dumps([download_id, math.ceil(expires_at.timestamp())]))

    def read(self, token: str) -> tuple[int, datetime]:
        """Return a token's download id, and until when it is good (aware, by the database's clock).

        Raises:
            BadLink: Its signature is not ours.
        """
        try:
            download_id, expires = self._serializer.loads(token)
            return int(download_id), datetime.fromtimestamp(expires, UTC)
        except (BadData, ValueError, TypeError) as error:
            raise BadLink("this link is not valid") from error
