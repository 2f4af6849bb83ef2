"""The notifier's settings."""

from pydantic import Field, SecretStr

from roadvault_common.config import Settings
from roadvault_common.links import LinkSettings


class NotifierSettings(Settings, LinkSettings):
    """Makes signed links and calls clients back."""

    public_url: str = Field(title="Public URL", description="base of the links, as clients reach the door")
    link_ttl_seconds: float = Field(
        86_400, gt=0, title="Link life", description="seconds that a link lives from each callback on"
    )
    callback_timeout_seconds: float = Field(
        10, gt=0, title="Callback timeout", description="seconds that a client has to take a callback"
    )
    callback_allow_private: bool = Field(
        default=False,
        title="Private callbacks",
        description="true lets callbacks go to private and loopback addresses, for clients on an intranet",
    )
    callback_secret: SecretStr | None = Field(
        None,
        title="Callback secret",
        description="whsec_ and base64; callbacks are then signed as Standard Webhooks describe",
    )
