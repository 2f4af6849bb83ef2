"""Who the request at hand comes from. Without ROADVAULT_AUTH that is anybody, who may do anything.

It goes along with the request's task: whoever needs it asks `current()`, and no function in between hands it on.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from roadvault_common.access.scopes import Scope
from roadvault_common.access.tokens import Grant
from roadvault_common.web.callback_url import CallbackUrl
from roadvault_ingest.access.refused import NotAllowed


class Kind(StrEnum):
    """What somebody shows to be let in."""

    ANYBODY = "anybody"
    TOKEN = "token"  # noqa: S105 - a word
    PERSON = "person"


@dataclass(frozen=True)
class Who:
    """Who somebody is, and what they may do."""

    kind: Kind
    name: str
    grant: Grant
    token_id: int | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What the custody log says of who it was, besides the address."""
        return {} if self.kind is Kind.ANYBODY else {self.kind.value: self.name}

    @property
    def owner(self) -> str | None:
        """What marks an upload, or a key, as theirs; None: nobody is asked who they are."""
        if self.kind is Kind.ANYBODY:
            return None
        return f"{self.kind.value} {self.name if self.token_id is None else self.token_id}"

    @property
    def is_person(self) -> bool:
        """Whether it is somebody who has logged in."""
        return self.kind is Kind.PERSON

    def may(self, scope: str) -> bool:
        """Tell whether they have a scope: what they may not do, pages don't offer."""
        return scope in self.grant.scopes

    @property
    def operates(self) -> bool:
        """Whether they may operate."""
        return Scope.OPERATE in self.grant.scopes

    def sees(self, camera: str | None) -> bool:
        """Tell whether they may see, and ask for, a file of a camera, or of none."""
        return self.grant.allows_camera(camera)

    def owns(self, token_id: int | None) -> bool:
        """Tell whether what a token made, or nobody's, is theirs: people have the whole of it, a token its own."""
        return self.kind is not Kind.TOKEN or token_id == self.token_id

    def goes_on(self, owner: str | None) -> bool:
        """Tell whether they may go on with an upload that was begun by `owner`, by nobody if that is None."""
        return self.operates or owner in {None, self.owner}

    def camera(self, camera: str | None) -> str | None:
        """Return which camera an upload of theirs is of, if it says `camera`.

        Raises:
            NotAllowed: They may not upload as that one.
        """
        if camera is None and self.grant.cameras:
            camera = self.grant.only_camera
            if camera is None:
                raise NotAllowed("this token is for some cameras: say which one the file is of (camera)")
        if not self.grant.allows_camera(camera):
            raise NotAllowed("this token is not for files of that camera")
        return camera

    @property
    def has_links(self) -> bool:
        """Whether links to what was brought back are for them: not for who may have some hosts called, and no more."""
        return Scope.REQUEST in self.grant.scopes and not self.grant.callback_hosts

    def check_link(self) -> None:
        """Look whether they may have a link without a client being called.

        Raises:
            NotAllowed: They may not.
        """
        if not self.has_links:
            raise NotAllowed("this token may have its own hosts called, and nothing else: send cbUrl")

    def check_callback(self, url: CallbackUrl) -> None:
        """Look whether they may have a client called there.

        Raises:
            NotAllowed: They may not.
        """
        if not self.grant.allows_callback(url):
            raise NotAllowed(f"this token may have its own hosts called, and {url.place} is none of them")


ANYBODY = Who(Kind.ANYBODY, "", Grant(frozenset(Scope)))
"""Whoever reaches us, as long as nobody is asked who they are."""

WHO: ContextVar[Who] = ContextVar("who", default=ANYBODY)


def current() -> Who:
    """Return who the request at hand comes from."""
    return WHO.get()
