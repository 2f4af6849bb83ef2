"""What can go wrong, as a client sees it.

- `RpcError`: an answer with a code; codes and texts are those of Substrate nodes
- `AnswerLost`: no answer at all, the connection ends
- `DispatchFailed`: the extrinsic is in a block and failed there; named by pallet and error
- `ControlRefused`: the control door cannot do that
- `CannotStart`: the network cannot run with these settings; the text is for whoever started it
"""

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
TOO_LARGE = -32008
"""The answer would be longer than the node's limit (jsonrpsee's code)."""

CLIENT_ERROR = 4003
"""State queries on a block that has none; current polkadot-sdk nodes (older ones: -32000, or -32603)."""
INVALID_COUNT = 4002
BAD_FORMAT = 1001
INVALID_TRANSACTION = 1010
ALREADY_IMPORTED = 1013
TOO_LOW_PRIORITY = 1014
IMMEDIATELY_DROPPED = 1016


class RpcError(Exception):
    """An error answer to one JSON-RPC request."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, object]:
        """Return the `error` member of the answer."""
        body: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


def invalid_transaction(reason: str) -> RpcError:
    """Return the answer to an extrinsic that no block could take."""
    return RpcError(INVALID_TRANSACTION, "Invalid Transaction", reason)


class AnswerLost(Exception):
    """The request was carried out; the client is not to hear of it."""


class DispatchFailed(Exception):
    """A call failed inside a block."""

    def __init__(self, pallet: str, error: str) -> None:
        super().__init__(f"{pallet}.{error}")
        self.pallet = pallet
        self.error = error


class CannotStart(Exception):
    """The directory, the chain in it or the port is not to be had."""


class ControlRefused(Exception):
    """The control door was asked for something that cannot be done now."""
