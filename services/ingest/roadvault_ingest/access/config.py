"""Settings of who may do what."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

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
    session_idle_seconds: float = Field(
        7200, ge=300, title="Idle session", description="seconds after which a person who does nothing is logged out"
    )
    session_seconds: float = Field(
        43_200,
        ge=300,
        title="Session",
        description="seconds after which a person has to log in again, whatever they do",
    )
    intranet_url: str = Field(
        "",
        title="Intranet URL",
        description="base of the pages as people reach them; with https cookies go over nothing else. Needed for OIDC,"
        " which leads back to /login/callback below it",
    )
    oidc_issuer: str | None = Field(
        None, title="OIDC issuer", description="URL of an OpenID Connect provider that people may log in with"
    )
    oidc_client_id: str | None = Field(None, title="OIDC client", description="our name there")
    oidc_client_secret: SecretStr | None = Field(None, title="OIDC secret", description="our secret there")
    oidc_scopes: str = Field(
        "openid profile email", title="OIDC scopes", description="what is asked of it, divided by blanks"
    )
    oidc_name_claim: str = Field(
        "preferred_username", title="OIDC name", description="claim of the ID token that people are called by"
    )
    oidc_role_claim: str = Field(
        "roles", title="OIDC roles", description="claim that says what somebody is; groups, or realm_access.roles"
    )
    oidc_operators: str = Field(
        "", title="OIDC operators", description="values of it, divided by commas, that make an operator"
    )
    oidc_viewers: str = Field("", title="OIDC viewers", description="likewise a viewer; nobody else is let in")

    oidc_recheck_seconds: float = Field(
        900,
        ge=60,
        title="OIDC recheck",
        description="seconds after which the provider is asked anew, by way of the browser, whether somebody still is"
        " what they were; if it does not answer they go on for as long again",
    )

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        if self.intranet_url and urlsplit(self.intranet_url).scheme not in {"http", "https"}:
            raise ValueError("ROADVAULT_INTRANET_URL must be an http or https URL")
        if self.oidc_issuer is None:
            return self
        if not (self.oidc_client_id and self.oidc_client_secret and self.intranet_url):
            raise ValueError(
                "ROADVAULT_OIDC_ISSUER needs ROADVAULT_OIDC_CLIENT_ID, ROADVAULT_OIDC_CLIENT_SECRET and"
                " ROADVAULT_INTRANET_URL"
            )
        if not (self.oidc_operators or self.oidc_viewers):
            raise ValueError("ROADVAULT_OIDC_OPERATORS or ROADVAULT_OIDC_VIEWERS must say who is let in")
        issuer = urlsplit(self.oidc_issuer)
        if issuer.scheme != "https" and issuer.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("ROADVAULT_OIDC_ISSUER must be https, but on this machine")
        return self
