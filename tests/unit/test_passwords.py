"""Passwords of accounts."""

from roadvault_common.access import passwords


def test_who_has_no_account_waits_as_long_as_who_has() -> None:
    kept = passwords.hashed("correct horse battery", "ada")
    assert passwords._NOBODYS.rsplit("$", 2)[0] == kept.rsplit("$", 2)[0]  # the same work
    assert not passwords.right(None, "correct horse battery")
    assert passwords.right(kept, "correct horse battery")
