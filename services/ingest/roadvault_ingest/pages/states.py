"""Where files and archives stand, truthfully: red failed and asks a person, amber waits or works, green is done.

Done is what the contract means: more replicas than the threshold, *and* proven. An order that has bought is not done.
"""

from collections.abc import Mapping
from typing import NamedTuple

from roadvault_common.sql.db import Row
from roadvault_common.sql.states import ArchiveKind, ArchiveStatus, FolderStatus, OrderStatus, RequestStatus

RED, AMBER, GREEN, GREY = "red", "amber", "green", "grey"


class State(NamedTuple):
    """The key of the words, the colour, and what stands in the words."""

    word: str
    tone: str
    params: Mapping[str, object] = {}


_FOLDERS = {
    FolderStatus.OPEN: State("state_open", AMBER),
    FolderStatus.CLOSED: State("state_closed", AMBER),
    FolderStatus.FAILED: State("state_pack_failed", RED),
}
_FAILED = ("pin", "order", "watch", "prove", "restore", "audit", "inspect", "drop")
"""Stages of an archive that may have failed, as they follow each other."""


def file_state(row: Row, threshold: int) -> State:
    """Return where a file stands: until it is packed by its folder, then by its archive."""
    if row.get("set_aside"):
        return State("state_lost", GREY) if row["lost"] else State("state_set_aside", RED)
    if row["folder_status"] != FolderStatus.PACKED:
        return _FOLDERS[row["folder_status"]]
    return archive_state(row, threshold)


_ORDERS = {
    ArchiveStatus.NOT_ORDERED: State("state_pinned", AMBER),
    ArchiveStatus.ORDER_FAILED: State("state_order_failed", RED),
    ArchiveStatus.EXPIRED: State("state_expired", AMBER),
    ArchiveStatus.ENDED: State("state_ended", GREY),
}
_REQUESTS = {
    RequestStatus.REQUESTED: AMBER,
    RequestStatus.EXTRACTED: AMBER,
    RequestStatus.CALLED_BACK: GREEN,
    RequestStatus.FAILED: RED,
    RequestStatus.EXPIRED: GREY,
}


def request_state(row: Row) -> State:
    """Return where a request stands."""
    status = RequestStatus(row["status"])
    return State(f"request_{status.value}", _REQUESTS[status])


def archive_state(row: Row, threshold: int) -> State:
    """Return where an archive stands."""
    status, kept = row["zip_status"], row["zip_path"] is not None
    failed = next((stage for stage in _FAILED if row.get(f"{stage}_failed_at") is not None), None)
    if failed is not None and status != ArchiveStatus.ENDED:
        state = State(f"state_{failed}_failed", RED)
    elif row["cid"] is None and status != ArchiveStatus.ENDED:
        state = State("state_packed", AMBER)
    elif status == ArchiveStatus.EXPIRED and row.get("kind") == ArchiveKind.CATALOGUE:
        state = State("state_catalogue_over", GREY)
    elif status in _ORDERS:
        state = _ORDERS[status]
    elif row["replicas"] <= threshold:
        state = State("state_few", AMBER, {"replicas": row["replicas"], "threshold": threshold})
    elif row.get("kind") == ArchiveKind.CATALOGUE:
        state = State("state_catalogue", GREEN)  # nothing is dropped for it, so nobody reads it back
    elif not row["proven"]:
        state = State("state_proving" if kept else "state_unproven", AMBER)
    else:
        state = State("state_live" if kept else "state_network", GREEN)
    return state


_PURCHASES = {
    OrderStatus.INTENDED: AMBER,
    OrderStatus.BOUGHT: GREEN,
    OrderStatus.REFUSED: RED,
    OrderStatus.NEVER_INCLUDED: GREY,
}


def purchase_state(row: Row) -> State:
    """Return where a purchase stands. One that is not final yet is on its way, and no error."""
    status = OrderStatus(row["status"])
    return State(f"purchase_{status.value}", _PURCHASES[status])


STATES = {
    "file_state": file_state,
    "archive_state": archive_state,
    "request_state": request_state,
    "purchase_state": purchase_state,
}
"""Filters of templates."""
