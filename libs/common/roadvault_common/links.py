"""Signed links: notifier makes them, ingest's public listener takes them, nobody else can."""

from datetime import datetime

from itsdangerous import BadData, URLSafeSerializer
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from roadvault_common.errors import PermanentError


class LinkSettings(BaseSettings):
    """For services that make or take links."""

    model_config = SettingsConfigDict(env_prefix="ROADVAULT_", extra="ignore")

    link_secret: SecretStr = Field(
        min_length=16, title="Link secret", description="at least 16 characters; signs download links"
    )


class BadLink(PermanentError):
    """The link was not made here, or its time is over."""


class Links:
    """Makes and reads the tokens of download links."""

    def __init__(self, secret: SecretStr) -> None:
        self._serializer = URLSafeSerializer(secret.get_secret_value(), salt="roadvault.download")

    def token(self, download_id: int, expires_at: datetime) -> str:
        """Return a URL-safe token for the extraction of `download_id`, good until `expires_at` (aware)."""
        return str(self._serializer.dumps([download_id, int(expires_at.timestamp())]))

    def read(self, token: str, now: datetime) -> int:
        """Return the download id of a token.

        Raises:
            BadLink: Its signature is not ours, or it has expired.
        """
        try:
            download_id, expires = self._serializer.loads(token)
        except (BadData, ValueError, TypeError) as error:
            raise BadLink("this link is not valid") from error
        if now.timestamp() >= expires:
            raise BadLink("this link has expired; ask for the file again")
        return int(download_id)
