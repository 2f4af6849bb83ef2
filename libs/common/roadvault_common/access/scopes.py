"""What somebody may do."""

from enum import StrEnum


class Scope(StrEnum):
    """What a token, or a person, is allowed."""

    UPLOAD = "upload"
    """Hand files over."""
    REQUEST = "request"
    """Ask for files: they are brought back, and a URL of the client is called."""
    READ = "read"
    """See which files there are and where they stand, and take receipts."""
    OPERATE = "operate"
    """Retry what failed, and see who did what."""


class Role(StrEnum):
    """What people are."""

    VIEWER = "viewer"
    OPERATOR = "operator"

    @property
    def scopes(self) -> frozenset[Scope]:
        """What such a person may do."""
        return frozenset(Scope) if self is Role.OPERATOR else frozenset({Scope.READ})
