"""How a request is refused whose sender is not known, or may not do what it asks for."""

from http import HTTPStatus

from roadvault_common.access.scopes import Scope
from roadvault_ingest.problems import Problem

_REALM = 'Bearer realm="RoadVault"'


class Unknown(Problem):
    """Who sent it is not known: it has no token and no session, or none that is good."""

    status = HTTPStatus.UNAUTHORIZED
    error = "unauthorized"

    def __init__(self, message: str, *, shown: bool = False, login: str = "/login") -> None:
        """Say why; `shown` tells that it showed something, which is not good, `login` where people are led to."""
        super().__init__(message)
        self.login = login
        self.headers = {"WWW-Authenticate": f'{_REALM}, error="invalid_token"' if shown else _REALM}


class NotAllowed(Problem):
    """Who sent it is known, and may not do this."""

    status = HTTPStatus.FORBIDDEN
    error = "not_allowed"

    def __init__(self, message: str, scope: Scope | None = None) -> None:
        """Say why; `scope` is what it takes."""
        super().__init__(message)
        if scope is not None:
            self.headers = {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope.value}"'}


class WrongPassword(Problem):
    """Name and password don't belong together."""

    status = HTTPStatus.FORBIDDEN
    error = "wrong_password"

    def __init__(self, account: str | None) -> None:
        """Say no more than that; `account` tells whether there is such a name, for our log alone."""
        super().__init__("the name or the password is wrong")
        self.account = account
