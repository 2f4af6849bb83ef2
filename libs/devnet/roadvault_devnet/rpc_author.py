"""The `author_` methods: how extrinsics come in, and what becomes of them."""

from roadvault_devnet import errors, extrinsic, runtime
from roadvault_devnet.block import as_hex
from roadvault_devnet.chain import Chain
from roadvault_devnet.connection import Cancel, Connection, Notify, needed
from roadvault_devnet.errors import AnswerLost, RpcError
from roadvault_devnet.extrinsic import Extrinsic
from roadvault_devnet.rpc import Method, Params
from roadvault_devnet.rpc_chain import unsubscribe
from roadvault_devnet.scale import ScaleError


class AuthorMethods:
    """Takes extrinsics in."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def table(self) -> dict[str, Method]:
        """Return the methods by their names."""
        return {
            "author_submitExtrinsic": self._submit,
            "author_submitAndWatchExtrinsic": self._submit_and_watch,
            "author_unwatchExtrinsic": unsubscribe,
            "author_pendingExtrinsics": lambda _params, _to: [as_hex(sent.raw) for sent in self._chain.pool],
        }

    def _submit(self, params: Params, _connection: Connection | None) -> object:
        sent = self._accept(params)
        self._lose_answer()
        return as_hex(sent.hash)

    def _submit_and_watch(self, params: Params, connection: Connection | None) -> object:
        listener = needed(connection)
        sent = self._accept(params)
        self._lose_answer()

        def begin(notify: Notify) -> Cancel:
            self._chain.watches.add(sent.hash, notify)
            ready = self._chain.pool.next_nonce(sent.signer, self._chain.read) > sent.nonce
            notify("ready" if ready else "future")
            return lambda: self._chain.watches.remove(notify)

        return listener.subscribe("author_extrinsicUpdate", begin)

    def _accept(self, params: Params) -> Extrinsic:
        raw = params.data(0)
        if self._chain.rules.refusal is not None:
            raise RpcError(*self._chain.rules.refusal)
        try:
            sent = extrinsic.decode(raw)
            runtime.check_call(sent.call, self._chain.pallets, self._chain.rules)
        except ScaleError as error:
            raise RpcError(errors.BAD_FORMAT, f"Extrinsic has invalid format: {error}") from error
        self._chain.pool.add(sent, self._chain.moment())
        return sent

    def _lose_answer(self) -> None:
        if self._chain.rules.lose_answer:
            self._chain.rules.lose_answer -= 1
            raise AnswerLost
