"""The notifier's settings."""

from pathlib import Path

from pydantic import Field, SecretStr

from roadvault_common.access.callback_keys import CallbackKeySettings
from roadvault_common.settings.archives import ExtractionSettings
from roadvault_common.web.links import LinkSettings
from roadvault_common.web.reach import CallbackSettings


class NotifierSettings(CallbackSettings, CallbackKeySettings, LinkSettings, ExtractionSettings):
    """Makes signed links and calls clients back."""

    public_url: str = Field(title="Public URL", description="base of the links, as clients reach the door")
    link_ttl_seconds: float = Field(
        86_400, gt=0, title="Link life", description="seconds that a link lives from each callback on"
    )
    callback_timeout_seconds: float = Field(
        10, gt=0, title="Callback timeout", description="seconds that a client has to take a callback"
    )
    callback_ca_file: Path | None = Field(
        None,
        title="Callback CAs",
        description="a PEM file of certificates that clients' certificates may be signed by, besides the system's",
    )
    callback_secret: SecretStr | None = Field(
        None,
        title="Callback secret",
        description="whsec_ and base64; signs, as Standard Webhooks describe, callbacks of requests that no token with"
        " a key of its own made",
    )
