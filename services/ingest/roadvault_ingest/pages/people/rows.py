"""How a token stands on the page."""

import orjson

from roadvault_common.sql.db import Row


def token_row(row: Row) -> Row:
    """Return a token's row with what it is limited to as lists, and its `state`."""
    state = "good" if row["good"] else "revoked" if row["revoked_at"] is not None else "over"
    lists = {name: orjson.loads(row[name]) for name in ("cameras", "callback_hosts")}
    return {**row, **lists, "state": state, "scopes": row["scopes"].split(",")}
