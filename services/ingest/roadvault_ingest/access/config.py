"""Settings of who may do what."""

from pydantic import Field

from roadvault_common.settings.config import EnvironmentSettings


class AccessSettings(EnvironmentSettings):
    """For what lets people and programs in."""

    auth: bool = Field(
        default=False,
        title="Who may do what",
        description="on: every request but for health needs a token (`roadvault token`) or a person who is logged in;"
        " off: anybody who reaches the intranet's port may upload, request and read",
    )
    acts_days: float = Field(
        365, gt=0, title="Acts kept", description="days for which it is kept who did what (the page /audit)"
    )
