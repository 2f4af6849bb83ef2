"""JSON-RPC 2.0: requests in, answers out, whatever the door they came through."""

import json
from collections.abc import Callable
from typing import Any

import structlog

from roadvault_devnet import errors
from roadvault_devnet.connection import Connection
from roadvault_devnet.errors import RpcError

_log = structlog.get_logger()

_ANSWER_BYTES = 15 * 2**20
"""The longest answer; a node's limit (`--rpc-max-response-size`)."""


class Params:
    """The positional parameters of one request, each read as what it has to be."""

    def __init__(self, values: object) -> None:
        if values is not None and not isinstance(values, list):
            raise RpcError(errors.INVALID_PARAMS, "Invalid params: an array is wanted")
        self._values: list[Any] = values or []

    def get(self, index: int) -> Any:  # noqa: ANN401 - whatever the client sent
        """Return a parameter as it came; None if it is missing."""
        return self._values[index] if index < len(self._values) else None

    def text(self, index: int) -> str:
        """Return a parameter that has to be a string."""
        value = self.get(index)
        if not isinstance(value, str):
            raise RpcError(errors.INVALID_PARAMS, f"Invalid params: parameter {index} is not a string")
        return value

    def data(self, index: int) -> bytes:
        """Return a parameter that has to be bytes in hexadecimal."""
        return _unhex(self.text(index))

    def data_or_none(self, index: int) -> bytes | None:
        """Return a parameter that may be missing, such as the block that a query is about."""
        return None if self.get(index) is None else self.data(index)

    def data_list(self, index: int) -> list[bytes]:
        """Return a parameter that has to be a list of bytes."""
        value = self.get(index)
        if not isinstance(value, list):
            raise RpcError(errors.INVALID_PARAMS, f"Invalid params: parameter {index} is not a list")
        return [_unhex(str(each)) for each in value]


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise RpcError(errors.INVALID_PARAMS, f"Invalid params: {error}") from error


Method = Callable[[Params, Connection | None], object]
"""One method. Over HTTP there is no connection to send notices to."""


class Dispatcher:
    """Knows the methods and answers requests."""

    def __init__(self, methods: dict[str, Method]) -> None:
        names = sorted([*methods, "rpc_methods"])
        self._methods: dict[str, Method] = {**methods, "rpc_methods": lambda _params, _to: {"methods": names}}

    def answer(self, text: str, connection: Connection | None) -> str | None:
        """Answer one message, a request or several; None if nothing in it wants an answer.

        Raises:
            AnswerLost: The client is to hear nothing, and the connection to end.
        """
        try:
            message = json.loads(text)
        except ValueError:
            return json.dumps(_failed(None, RpcError(errors.PARSE_ERROR, "Parse error")))
        if not isinstance(message, list):
            answer = self._one(message, connection)
            return None if answer is None else _sent(answer)
        answers = [answer for answer in (self._one(each, connection) for each in message) if answer is not None]
        return _sent(answers) if answers else None

    def _one(self, request: object, connection: Connection | None) -> dict[str, object] | None:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _failed(None, RpcError(errors.INVALID_REQUEST, "Invalid request"))
        name, number = request["method"], request.get("id")
        method = self._methods.get(name, _unknown)
        try:
            result = method(Params(request.get("params")), connection)
        except RpcError as error:
            _log.info("refused", method=name, code=error.code, message=error.message, data=error.data)
            return _failed(number, error)
        return None if "id" not in request else {"jsonrpc": "2.0", "result": result, "id": number}


def _sent(answer: object) -> str:
    """Return an answer as text; a node sends none that is longer than its limit."""
    text = json.dumps(answer)
    if len(text) <= _ANSWER_BYTES:
        return text
    number = answer.get("id") if isinstance(answer, dict) else None
    too_large = RpcError(errors.TOO_LARGE, "Response is too big", f"Exceeded max limit of {_ANSWER_BYTES}")
    return json.dumps(_failed(number, too_large))


def _unknown(_params: Params, _connection: Connection | None) -> object:
    raise RpcError(errors.METHOD_NOT_FOUND, "Method not found")


def _failed(number: object, error: RpcError) -> dict[str, object]:
    return {"jsonrpc": "2.0", "error": error.as_json(), "id": number}
