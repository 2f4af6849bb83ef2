"""Why a row stands where it stands: a code of a closed set with parameters, for pages to translate, and the words.

In a column it is `words [code name=value …]`, so that a person with a database client reads it, and a service from
before codes may go on writing words alone.
"""

import re
from collections.abc import Mapping
from typing import Self
from urllib.parse import quote, unquote

from roadvault_common.errors import RoadVaultError, Value, brief
from roadvault_common.plain import plain

LENGTH = 500
"""Characters of a column that a reason stands in."""
_VALUE_LENGTH = 60
_FITS = ":/,()+~"
"""Characters of a value that stand as they are, besides letters, digits and _.-"""
_END = re.compile(r"(?s)(.*?) ?\[([a-z_]+)((?: [a-z_]+=[^\s\]]*)*)\]")

CODES: dict[str, tuple[str, ...]] = {
    # What is away for everybody.
    "outage": (),
    "database_away": (),
    "redis_away": (),
    "market_away": (),
    "disk_full": (),
    "no_room": ("need_bytes", "free_bytes"),
    "ipfs_away": (),
    "ipfs_disk_full": (),
    "ipfs_no_room": ("need_bytes", "free_bytes"),
    "no_peers": (),
    "client_away": ("host",),
    # What went wrong with one row.
    "trouble": (),
    "refused": (),
    "unexpected": ("kind",),
    "too_long": ("seconds",),
    "hung": ("seconds",),
    "given_up": ("attempts",),
    "worker_died": ("attempts",),
    "lease_lost": (),
    "setting": (),
    "damaged": (),
    "unreadable": (),
    "identity_mismatch": (),
    "master_key_missing": (),
    "callback_key_missing": (),
    "period_key_waits": ("period",),
    "ended": ("on",),
    "at_work": (),
    # Packing.
    "no_files": (),
    "files_missing": ("have", "need"),
    "set_aside": ("files", "of"),
    # IPFS.
    "ipfs_trouble": (),
    "ipfs_rotten": (),
    "no_provider": (),
    "pin_broken": ("pins",),
    "no_local_copy": (),
    "no_cid": (),
    "only_copy": ("blocks",),
    "not_pinned": (),
    "blocks_broken": ("blocks", "of"),
    # Buying and looking.
    "not_final": ("order",),
    "not_taken": ("order",),
    "another_order": (),
    "other_account": (),
    "another_market": ("order",),
    "order_refused": ("order", "error"),
    "no_money": ("cost_planck", "have_planck"),
    "price_over_limit": ("cost_planck", "limit_planck"),
    "day_over_limit": ("spent_planck", "limit_planck"),
    "kept_for_renewals": ("keep_planck",),
    "market_closed": (),
    "too_large": ("size_bytes", "most_bytes"),
    "other_size": ("size_bytes", "market_bytes"),
    "head_behind": ("head", "block"),
    "looking_again": (),
    "market_forgot": (),
    "forgotten_twice": ("days",),
    "restore_failed": (),
    "market_unreadable": (),
    # Replicas, proof, drop.
    "few_replicas": ("have", "need"),
    "order_over": ("block",),
    "reproof": ("age_seconds",),
    "recount": ("age_seconds",),
    "no_way": (),
    "nothing_to_prove": (),
    "audit_blind": ("archive",),
    # Ends.
    "on_hold": (),
    "ends_ask": ("archives",),
    "ends_doubted": ("on",),
    "catalogue_unread": (),
    # Requests and callbacks.
    "shared_fetch": (),
    "copies_moved": (),
    "at_store": ("store",),
    "store_lost": ("store",),
    "no_copy": ("file",),
    "no_clip": ("file",),
    "no_memory": (),
    "cancelled": (),
    "extraction_gone": (),
    "token_revoked": (),
    "requests_open": ("open", "files"),
    "client_waits": ("host",),
    "callback_not_taken": ("host", "status"),
    "callback_refused": ("host", "status"),
    "callback_url": (),
    "by_a_person": (),
}
"""Each code and its parameters. A name ends with what its number is in, if that is no count: bytes, planck, seconds."""


class Reason(str):
    """Why: the words, which it is equal to, with a code and its parameters.

    `str()` gives what stands in a column, an f-string has the words. `code` is empty where there are words alone.
    """

    __slots__ = ("code", "params")
    code: str
    params: Mapping[str, Value]

    def __new__(cls, code: str, words: str, **params: Value) -> Self:
        """Make a reason; `params` are those of CODES."""
        new = super().__new__(cls, words)
        new.code, new.params = code, params
        return new

    @property
    def words(self) -> str:
        """The words alone."""
        return self[:]

    def __str__(self) -> str:
        if not self.code:
            return _cut(self.words, LENGTH)
        end = "".join(f" {name}={_written(value)}" for name, value in self.params.items())
        end = f" [{self.code}{end}]"
        return f"{_cut(self.words, LENGTH - len(end))}{end}"

    def __format__(self, form: str) -> str:
        return format(self.words, form)  # among other words it is words

    def again(self, words: str) -> "Reason":
        """Return the same reason in other words."""
        return Reason(self.code, words, **self.params)


def parse(text: str | None) -> Reason | None:
    """Read what stands in a column; what does not end with a code of ours is words alone."""
    if text is None:
        return None
    found = _END.fullmatch(text)
    if found is None or found[2] not in CODES:
        return Reason("", text)
    named = [part.partition("=") for part in found[3].split()]
    return Reason(found[2], found[1], **{name: _read(value) for name, _, value in named if name in CODES[found[2]]})


def words(text: str | None) -> str | None:
    """Return the words alone of what stands in a column."""
    reason = parse(text)
    return None if reason is None else reason.words


def of(error: BaseException) -> Reason:
    """Return the reason that an error is, which ended an attempt."""
    if not isinstance(error, RoadVaultError):
        return Reason("unexpected", brief(error), kind=type(error).__name__)
    known = CODES.get(error.code, ())
    return Reason(error.code, brief(error), **{name: error.params[name] for name in known if name in error.params})


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _written(value: Value) -> str:
    written = quote(plain(str(value)), safe=_FITS)[:_VALUE_LENGTH]
    return re.sub(r"%.?$", "", written)


def _read(value: str) -> Value:
    if re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    return float(value) if re.fullmatch(r"-?[0-9]+\.[0-9]+", value) else unquote(value)
