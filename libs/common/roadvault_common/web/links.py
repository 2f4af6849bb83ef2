"""Signed links: notifier makes them, the door takes them, nobody else can."""

import math
from datetime import UTC, datetime

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field, SecretStr

from roadvault_common.errors import PermanentError
from roadvault_common.settings.config import EnvironmentSettings


class LinkSettings(EnvironmentSettings):
    """For services that make or take links."""

    link_secret: SecretStr = Field(
        min_length=16, title="Link secret", description="at least 16 characters; signs download links"
    )


class BadLink(PermanentError):
    """The link was not made here."""


class Links:
    """Makes and reads the tokens of download links."""

    def __init__(self, secret: SecretStr) -> None:
        self._serializer = URLSafeSerializer(secret.get_secret_value(), salt="roadvault.download")

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
