"""Where a file stands, as the API tells it: states in words, times in ISO 8601 (UTC), sizes in bytes."""

from datetime import UTC, datetime
from typing import Any

import orjson

from roadvault_common.files.facts import of as facts_of
from roadvault_common.files.span import Span, clock
from roadvault_common.sql.db import Row
from roadvault_common.sql.states import ArchiveStatus, BatchFileState, FolderStatus, RequestStatus
from roadvault_common.work.reasons import words
from roadvault_ingest import found

_FOLDER_STATES = {
    FolderStatus.OPEN: "waiting in an open folder",
    FolderStatus.CLOSED: "waiting to be packed",
    FolderStatus.PACKED: "packed",
    FolderStatus.FAILED: "packing failed",
}
NOT_PACKED = tuple(word for status, word in _FOLDER_STATES.items() if status is not FolderStatus.PACKED)
"""States of files that are in no archive yet."""
ASIDE = ("set aside", "lost")
"""States of files that are in none, and will be in none by themselves."""
_BATCH_FILE_STATES = {
    BatchFileState.WANTED: "waiting to be asked for",
    BatchFileState.DONE: "called back",
    BatchFileState.FAILED: "failed",
    BatchFileState.CANCELLED: "cancelled",
}
STATES = (*_FOLDER_STATES.values(), "ended", *ASIDE)
"""All that the API says of where a file stands."""


def describe(row: Row, requests: list[Row]) -> dict[str, Any]:
    """Return the answer of `GET /api/open/file/{fileID}`."""
    return {
        "fileID": row["file_id"],
        "filename": row["file_name"],
        "size": row["size"],
        "sha256": row["sha256"],
        "received": time(row["create_time"]),
        **known(row),
        "folderID": row["folder_id"],
        "closed": time(row["closed_at"]),
        "state": state_of(row),
        "reason": words(row["aside_reason"] or row["pack_reason"]) or _ended(row),
        "ends": time(row["ends_at"]),
        "ended": time(row["shredded_at"]),
        "onHold": bool(row["held"] or row["file_held"]),
        "uploadKept": row["path"] is not None,
        "archive": _archive(row),
        "requests": [_request(request) for request in requests],
    }


def known(row: Row) -> dict[str, Any]:
    """Return what the client said of a file besides its name, and what was found in it."""
    said = facts_of(row)
    return {
        "camera": said.camera,
        "recordedAt": time(row["recorded_at"]),
        "lat": said.lat,
        "lon": said.lon,
        "tags": list(said.tags),
        "found": found.of(row),
    }


def listed(row: Row) -> dict[str, Any]:
    """Return a file as the answer of `GET /api/open/files` has it."""
    return {
        "fileID": row["file_id"],
        "filename": row["file_name"],
        "size": row["size"],
        "sha256": row["sha256"],
        "received": time(row["create_time"]),
        **known(row),
        "state": state_of(row),
        "zipID": row["zip_id"],
    }


def time(value: datetime | None) -> str | None:
    """Return a database time (UTC, naive) in ISO 8601."""
    return None if value is None else value.replace(tzinfo=UTC).isoformat(timespec="milliseconds")


def state_of(row: Row) -> str:
    """Return where a file stands."""
    if row["lost"]:
        return "lost"
    if row["shredded_at"] is not None:
        return "ended"
    return "set aside" if row["set_aside"] else _FOLDER_STATES[row["folder_status"]]


def _ended(row: Row) -> str | None:
    return None if row["shredded_at"] is None else f"ended on {row['shredded_at']:%Y-%m-%d}"


def _word(status: ArchiveStatus | RequestStatus) -> str:
    return status.name.lower().replace("_", " ")


def _archive(row: Row) -> dict[str, Any] | None:
    if row["zip_id"] is None:
        return None
    return {
        "zipID": row["zip_id"],
        "state": _word(ArchiveStatus(row["zip_status"])),
        "reason": words(row["zip_reason"]),
        "size": row["zip_size"],
        "cid": row["cid"],
        "dagSize": row["dag_size"],
        "offset": row["zip_offset"],
        "orderedOnBlock": row["order_block"],
        "pricePlanck": None if row["price"] is None else str(row["price"]),
        "replicas": row["replicas"],
        "expiresOnBlock": row["expired_on"],
        "expires": time(row["expires_at"]),
        "localCopyKept": row["zip_path"] is not None,
        "packed": time(row["packed_at"]),
        "pinned": time(row["pinned_at"]),
        "ordered": time(row["ordered_at"]),
        "replicated": time(row["enough_since"]),
        "proven": time(row["proven_at"]),
        "provenBy": row["proven_by"],
        "counted": time(row["counted_at"]),
        "countedOnBlock": row["counted_block"],
        "audited": time(row["audited_at"]),
        "auditedBytes": row["audited_bytes"],
        "auditProblem": words(row["audit_problem"]),
        "dropped": time(row["dropped_at"]),
    }


def batch(row: Row, counts: list[Row], files: list[Row], limit: int) -> dict[str, Any]:
    """Return the answer of `GET /api/open/batch/{batchID}`."""
    told = dict[str, int]()
    for one in counts:
        told[_of_batch(one)] = told.get(_of_batch(one), 0) + one["files"]
    return {
        "batchID": row["batch_id"],
        "state": _batch_state(row),
        "reason": words(row["reason"]),
        "cbUrl": row["cb_url"],
        "files": row["files"],
        "counts": told,
        "requested": time(row["create_time"]),
        "cancelled": time(row["cancelled_at"]),
        "ended": time(row["ended_at"]),
        "calledBack": time(row["called_back_at"]),
        "requests": [
            {
                "fileID": one["file_id"],
                "downloadID": one["download_id"],
                "state": _of_batch(one),
                "reason": words(one["reason"]),
            }
            for one in files
        ],
        "next": files[-1]["file_id"] if len(files) == limit else None,
    }


def _batch_state(row: Row) -> str:
    if row["called_back_at"] is not None:
        return "called back"
    if row["report_failed_at"] is not None:
        return "callback failed"
    if row["ended_at"] is not None:
        return "ended"
    if row["cancelled_at"] is not None:
        return "being cancelled"
    return "being asked for" if row["ask_due"] is not None else "under way"


def _of_batch(row: Row) -> str:
    """Return where a file of a batch stands."""
    if row["state"] == BatchFileState.ASKED:
        return _word(RequestStatus(row["status"]))
    return _BATCH_FILE_STATES[row["state"]]


def line(row: Row) -> dict[str, Any]:
    """Return a line of the custody log, as `GET /api/open/file/{fileID}/custody` has it."""
    return {
        "line": row["position"],
        "at": time(row["done_at"]),
        "act": row["act"],
        "of": "file" if row["zip_id"] is None else "archive",
        "zipID": row["zip_id"],
        "facts": facts(row),
        "hash": None if row["position"] is None else row["hash"].hex(),
    }


def facts(row: Row) -> dict[str, Any]:
    """Return what a line of the custody log says besides; nothing if that is no JSON any more: a check names it."""
    try:
        read = orjson.loads(row["facts"])
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _request(row: Row) -> dict[str, Any]:
    return {
        "downloadID": row["download_id"],
        "cbUrl": row["cb_url"],
        "state": _word(RequestStatus(row["status"])),
        "reason": words(row["reason"]),
        "source": row["source"],
        "requested": time(row["create_time"]),
        "extracted": time(row["extracted_at"]),
        "calledBack": time(row["called_back_at"]),
        "linkExpires": time(row["link_expires_at"]),
        "clip": _clip(row),
    }


def _clip(row: Row) -> dict[str, Any] | None:
    """Return which clip a request is for, and what was made, if there is one."""
    span = Span.of(row)
    if span is None:
        return None
    made = {"begins": None, "ends": None, "recorded": None, "leftOut": None, "size": row["clip_size"]}
    if row["clip_note"] is not None:
        note = orjson.loads(row["clip_note"])
        recorded = None if note["recorded"] is None else clock(note["recorded"])
        made |= {"begins": note["begin"] / 1000, "ends": note["end"] / 1000, "recorded": recorded}
        made["leftOut"] = note["dropped"]
    return {**span.told(), **made, "sha256": row["clip_sha256"]}
