"""A storage proxy that is not to be relied on: between any archive and our port, it loses a share of what goes through.

Objects are dropped (and success is answered), refused, or the association is aborted in their place, at random; the
rest go on as they came. It stands on movescu's own layers, as ``scripted`` does.
"""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import peers

from movescu.dictionary.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CStoreRQ, CStoreRSP
from movescu.errors import InterruptedConnectionError, PeerError, StoreError
from movescu.services.store import StorageSCP
from movescu.transport.connection import Connection
from movescu.transport.deadlines import Silence
from movescu.transport.listener import Listener
from movescu.transport.sockets import connect, listen
from movescu.ul.negotiation import AcceptorPolicy, user_information
from movescu.ul.pdu import AssociateRQ, ProposedContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from movescu.storage.incoming_object import Incoming

_SILENCE = Silence(30.0, "a storage proxy waits")


class Losses(NamedTuple):
    """The shares, from 0 to 1, of what is lost in each way."""

    dropped: float = 0.0
    refused: float = 0.0
    cut: float = 0.0


@contextmanager
def proxy(target: int, losses: Losses, seed: int = 1) -> Iterator[int]:
    """Run a proxy in front of a port of this machine; gives its own port."""
    chance = random.Random(seed)

    def open_receiver(incoming: Incoming) -> _Passing:
        return _Passing(incoming, target, losses, chance.random())

    scp = StorageSCP(AcceptorPolicy(lambda _: True, (EXPLICIT_LITTLE, IMPLICIT_LITTLE)), open_receiver, lambda _: None)
    with ExitStack() as stack:
        listener = Listener(listen(peers.HOST, 0), scp.serve)
        stack.callback(listener.close)
        yield listener.port


class _Passing:
    """Takes one object, and passes it on when it is whole, if it is lucky."""

    def __init__(self, incoming: Incoming, target: int, losses: Losses, luck: float) -> None:
        self._incoming = incoming
        self._target = target
        self._losses = losses
        self._luck = luck
        self._data = bytearray()

    def write(self, *fragments: memoryview) -> None:
        self._data += b"".join(fragments)

    def finish(self) -> None:
        dropped, refused, cut = self._losses
        if self._luck < dropped:
            return
        if self._luck < dropped + refused:
            raise StoreError("refused by a proxy that cannot be relied on")
        if self._luck < dropped + refused + cut:
            raise InterruptedConnectionError("cut by a proxy that cannot be relied on")
        try:
            status = self._pass_on()
        except PeerError as error:
            raise StoreError(str(error)) from error
        if status:
            raise StoreError(f"status {status:04x}")

    def _pass_on(self) -> int:
        request, syntax = self._incoming.request, self._incoming.context.transfer_syntax.uid
        contexts = (ProposedContext(1, request.affected_sop_class_uid, (syntax,)),)
        association = AssociateRQ("MOVESCU", "PROXY", contexts, user_information(0))
        connection = Connection.request(connect(peers.HOST, self._target, 30.0), association, 30.0)
        with connection.closing_on_error():
            exchange = Exchange(connection)
            command = CStoreRQ(
                request.affected_sop_class_uid,
                1,
                request.affected_sop_instance_uid,
                move_originator_ae_title=request.move_originator_ae_title,
                move_originator_message_id=request.move_originator_message_id,
            )
            exchange.send(1, command, _SILENCE, self._data)
            _, response = exchange.receive_response(_SILENCE)
        connection.release(_SILENCE)
        assert isinstance(response, CStoreRSP)
        return response.status

    def discard(self) -> None:
        self._data.clear()
