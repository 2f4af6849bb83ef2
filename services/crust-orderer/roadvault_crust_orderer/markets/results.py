"""What became of an extrinsic, by the events of its block. Names come from the runtime's metadata."""

from collections.abc import Iterable
from typing import Any

from roadvault_common.plain import plain


class NoResultEvent(Exception):
    """The events do not tell what became of the extrinsic."""


def error_of(events: Iterable[Any], index: int, metadata: Any) -> str | None:  # noqa: ANN401 - the client has no types
    """Return the name of the error with which the extrinsic at `index` of its block failed, None if it succeeded.

    Raises:
        NoResultEvent: The events tell neither.
    """
    for event in events:
        record = event.value
        if record["extrinsic_idx"] == index and record["module_id"] == "System":
            if record["event_id"] == "ExtrinsicSuccess":
                return None
            if record["event_id"] == "ExtrinsicFailed":
                return plain(_name(_dispatch_error(record["attributes"]), metadata))
    raise NoResultEvent


def _dispatch_error(attributes: Any) -> Any:  # noqa: ANN401 - by the metadata's version named, typed or bare
    if isinstance(attributes, dict):
        return attributes["dispatch_error"]
    first = attributes[0]
    return first["value"] if isinstance(first, dict) and "type" in first else first


def _name(error: Any, metadata: Any) -> str:  # noqa: ANN401 - a name, or a name and what goes with it
    if not isinstance(error, dict):
        return str(error)
    kind, detail = next(iter(error.items()))
    if kind != "Module":
        return kind if detail is None else f"{kind}.{detail}"
    module, number = (detail["index"], detail["error"]) if isinstance(detail, dict) else detail
    if isinstance(number, str):  # four bytes, of which the first is the error's index
        number = int(number[2:4], 16)
    named = metadata.get_module_error(module_index=module, error_index=number)
    return f"Module.{module}.{number}" if named is None else str(named.name)
