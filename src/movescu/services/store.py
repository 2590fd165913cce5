"""The SCP of the Storage and Verification service classes: PS3.4 annexes A and B, PS3.7 9.1.1 and 9.1.5.

Serves an association: answers its request, carries out C-STORE and C-ECHO until it is released, and responds to each
C-STORE with its status of PS3.4 table B.2-1. An ``ObjectReceiver`` stores each object; nothing of it is held here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from movescu._runtime import clock
from movescu._runtime.late_log import ERROR, INFO, logger_of
from movescu._runtime.record import Struct
from movescu.dictionary.uids import MAXIMUM_UID_LENGTH, VERIFICATION
from movescu.dimse import status as codes
from movescu.dimse.command_templates import encode_success
from movescu.dimse.exchange import Exchange
from movescu.dimse.messages import CEchoRQ, CEchoRSP, CStoreRQ, CStoreRSP, Message, encode_command
from movescu.errors import (
    AbortReason,
    DataSetError,
    DataSetMismatchError,
    InterruptedConnectionError,
    MovescuError,
    NotRequestedError,
    PeerError,
    ProtocolError,
    StoreError,
)
from movescu.services.shared_thread import Turns
from movescu.storage.incoming_object import Incoming, ObjectReceiver
from movescu.transport.deadlines import Deadline, Silence
from movescu.ul.negotiation import AcceptorPolicy, RejectedClass, answer, refusal, rejected_classes

if TYPE_CHECKING:
    from collections.abc import Callable

    from movescu.transport.connection import Connection
    from movescu.ul.pdu import AssociateAC, AssociateRQ

_log: Final = logger_of("movescu.store")

_REPEATED: Final = 5  # objects that are named for one reason of the system
_REPORTED_REJECTIONS: Final = 1000  # limit of the rejected classes that are kept for the report
_COMMENT_LENGTH: Final = 64  # characters of Error Comment (0000,0902), LO


class Received(Struct):
    """Result of a C-STORE; ``size``: bytes of the data set. ``error``: why it was not stored. Default: None."""

    incoming: Incoming
    size: int
    status: int
    error: MovescuError | None = None

    def __init__(self, incoming: Incoming, size: int, status: int, error: MovescuError | None = None) -> None:
        self.incoming = incoming
        self.size = size
        self.status = status
        self.error = error


# Status of each error (PS3.4 table B.2-1), subclasses first
_STATUS: Final = (
    (DataSetMismatchError, codes.DATA_SET_DOES_NOT_MATCH),
    (DataSetError, codes.CANNOT_UNDERSTAND),
    (StoreError, codes.OUT_OF_RESOURCES),
    (NotRequestedError, codes.NOT_AUTHORIZED),
)


class _RefusedError(MovescuError):
    """A C-STORE request is refused because of its command set."""

    def __init__(self, message: str, status: int, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class StorageSCP:
    """Storage SCP: one instance serves all associations, each in its own thread or in the shared one.

    ``open_receiver`` returns the receiver of an object. ``on_received`` is called with the result of each object before
    its response is sent, ``on_broken_off`` with each object whose association ended in its middle, ``on_responded``
    after each response, the time to prepare for the next object. ``side_by_side``: never share a thread, as a callback
    may wait. Default: False. ``store_timeout``: seconds that a sender may be silent within a message, or another limit
    on that. Default: 60; None is no limit.
    """

    def __init__(
        self,
        policy: AcceptorPolicy,
        open_receiver: Callable[[Incoming], ObjectReceiver],
        on_received: Callable[[Received], None],
        *,
        on_broken_off: Callable[[Incoming], None] = lambda _: None,
        on_responded: Callable[[], None] = lambda: None,
        side_by_side: bool = False,
        store_timeout: float | Deadline | None = 60.0,
    ) -> None:
        self._policy = policy
        self._open_receiver = open_receiver
        self._on_received = on_received
        self._on_broken_off = on_broken_off
        self._on_responded = on_responded
        self.rejected: dict[RejectedClass, float] = {}
        """The SOP classes with rejected contexts, and when an association with them ended, on the monotonic clock."""
        self.requested = self.refused = 0
        """Numbers of associations requested for storage, and of all that were rejected."""
        self._last: tuple[AssociateRQ, AssociateAC, tuple[RejectedClass, ...]] | None = None
        self._unstored: dict[str, int] = {}
        """Numbers of objects that could not be written, by the system's reason."""
        self._turns = None if side_by_side else Turns()
        self._silence = (
            store_timeout
            if isinstance(store_timeout, Deadline)
            else Silence(store_timeout, "the sender is silent in the middle of a message")
        )
        self._idle = Silence(None, "waiting for a storage request", within=self._silence)

    def answer(self, request: AssociateRQ) -> AssociateAC | None:
        """Return the answer to an association request, None for a rejection."""
        return self._negotiated(request)[0] if refusal(request, self._policy) is None else None

    def _negotiated(self, request: AssociateRQ) -> tuple[AssociateAC, tuple[RejectedClass, ...]]:
        """Return the acceptance of a request, and the rejected classes; of one that is repeated, those of before."""
        last = self._last
        if last is None or last[0] is not request:  # of the same bytes ``ul.pdu`` makes the same request
            reply = answer(request, self._policy)
            self._last = last = request, reply, rejected_classes(request, reply)
        return last[1:]

    def serve(self, connection: Connection, request: AssociateRQ) -> None:
        """Serve one association to its end. Raise ``MovescuError`` if it does not end by release."""
        if any(context.abstract_syntax != VERIFICATION for context in request.contexts):  # else it is a C-ECHO
            self.requested += 1
        rejection = refusal(request, self._policy)
        if rejection is not None:
            _log.error(
                "storage association of %s (%s calling %s) rejected: %s",
                *(connection.peer, request.calling_ae_title, request.called_ae_title, rejection.describe()),
            )
            self.refused += 1
            connection.reject(rejection)
            return
        reply, rejections = self._negotiated(request)
        self._note(rejections, math.inf)  # until the association ends
        connection.accept(request, reply, self._silence)
        _log.info("storage association with %s (%s) accepted", connection.peer, request.calling_ae_title)
        with connection.closing_on_error():
            exchange = Exchange(connection)
            try:
                self._serve_messages(exchange, request.calling_ae_title)
            except PeerError as error:
                if isinstance(error, ProtocolError):
                    _log.warning("storage association with %s aborted by this program: %s", connection.peer, error)
                elif not isinstance(error, InterruptedConnectionError):
                    text, peer = str(error), str(connection.peer)  # most errors begin with the peer's name
                    _log.warning("storage association%s: %s", "" if peer in text else f" with {peer}", text)
                raise
            finally:
                self._note(rejections, clock.now())
            connection.confirm_release(self._silence)
        _log.info("storage association with %s released", connection.peer)

    def _note(self, rejections: tuple[RejectedClass, ...], when: float) -> None:
        for rejected in rejections:
            if rejected in self.rejected or len(self.rejected) < _REPORTED_REJECTIONS:
                self.rejected[rejected] = when

    def _serve_messages(self, exchange: Exchange, calling_ae_title: str) -> None:
        """Serve all messages up to the release request."""

        def serve() -> bool:
            received = exchange.receive(self._idle)
            if received is None:
                return False
            self.dispatch(exchange, *received, calling_ae_title)
            return True

        if self._turns is None:
            while serve():
                pass
        else:
            self._turns.run(exchange, serve)

    def dispatch(self, exchange: Exchange, context_id: int, message: Message, calling_ae_title: str) -> None:
        """Carry out a C-STORE or C-ECHO request. Raise ``ProtocolError`` for any other message.

        For an SCP that has other services on the same association, too; else use ``serve``.
        """
        context = exchange.connection.contexts[context_id]
        if isinstance(message, CStoreRQ) and exchange.data_set_announced:
            incoming = Incoming(message, context, calling_ae_title, uid_has_blanks=exchange.uid_has_blanks)
            self._store(exchange, incoming)
        elif isinstance(message, CEchoRQ):
            _log.info("received C-ECHO request (MsgID %d)", message.message_id)
            exchange.connection.has_carried_echo = True
            response = CEchoRSP(message.message_id, codes.SUCCESS, message.affected_sop_class_uid)
            exchange.send(context_id, response, self._silence)
        else:
            raise ProtocolError(
                f"{message.name} without a data set, or where a storage SCP does not expect it",
                abort_reason=AbortReason.UNEXPECTED_PDU_PARAMETER,
            )

    def _store(self, exchange: Exchange, incoming: Incoming) -> None:
        request, connection = incoming.request, exchange.connection
        connection.has_carried_objects = connection.is_within_message = True
        if _log.isEnabledFor(INFO):
            _log.info("received store request (MsgID %d, %s)", request.message_id, incoming.prefix)
        try:
            received = self._receive(exchange, incoming)
        except PeerError:
            if self._refusal(incoming) is None:
                self._on_broken_off(incoming)
            raise
        self._on_received(received)
        if received.error is not None:
            self._log_failure(received, received.error)
            response = _encode_failure(received, received.error)
        else:
            response = encode_success(request)
        exchange.send_command(incoming.context.context_id, response, self._silence)
        connection.is_within_message = False
        self._on_responded()

    def _refusal(self, incoming: Incoming) -> _RefusedError | None:
        """Return the refusal of an invalid command set (PS3.7 9.1.1.1.9), None for a valid one."""
        request, abstract_syntax = incoming.request, incoming.context.abstract_syntax
        if abstract_syntax == VERIFICATION or request.affected_sop_class_uid != abstract_syntax:
            return _RefusedError(
                "SOP class differs from that of its presentation context",
                codes.SOP_CLASS_NOT_SUPPORTED,
                hint="the sender has to use the presentation context of its class; no option accepts it",
            )
        if len(request.affected_sop_instance_uid) > MAXIMUM_UID_LENGTH and not self._policy.nonstandard:
            return _RefusedError(
                "SOP instance UID is longer than 64 characters",
                codes.INVALID_SOP_INSTANCE,
                hint="--accept-nonstandard with --bit-preserving (+B) stores it",
            )
        return None

    def _log_failure(self, received: Received, error: MovescuError) -> None:
        """Log an object that was not stored; the same reason of the system, such as a full disk, five times."""
        reason = getattr(error.__cause__, "strerror", None) if isinstance(error, StoreError) else None
        number = 0
        if reason is not None:
            number = self._unstored[reason] = self._unstored.get(reason, 0) + 1
        if number == _REPEATED + 1:
            _log.error("more objects are not stored: %s (-v logs each of them)", reason)
        _log.log(
            INFO if number > _REPEATED else ERROR,
            "object %s is %s (status %04X): %s%s",
            received.incoming.request.affected_sop_instance_uid,
            "not stored" if isinstance(error, StoreError) else "refused by this program",
            *(received.status, error, f"; {error.hint}" if error.hint else ""),
        )

    def _receive(self, exchange: Exchange, incoming: Incoming) -> Received:
        batches = exchange.data_set_batches(self._silence)
        size = 0
        try:
            if unsound := self._refusal(incoming):
                raise unsound
            receiver = self._open_receiver(incoming)
            try:
                for batch in batches:
                    size += sum(map(len, batch))
                    receiver.write(*batch)
                receiver.finish()
            except BaseException:
                receiver.discard()
                raise
        except (StoreError, DataSetError, NotRequestedError, _RefusedError) as error:
            size += sum(sum(map(len, batch)) for batch in batches)  # the rest of the object still arrives
            return Received(incoming, size, _status(error), _without_frames(error))
        return Received(incoming, size, codes.SUCCESS)


def _encode_failure(received: Received, error: MovescuError) -> bytes:
    request = received.incoming.request
    return encode_command(
        CStoreRSP(
            request.message_id,
            received.status,
            request.affected_sop_class_uid,
            request.affected_sop_instance_uid,
            error_comment=_comment(error)[:_COMMENT_LENGTH],
        )
    )


def _without_frames(error: MovescuError) -> MovescuError:
    """Remove the tracebacks of an error that is kept: their frames refer to the object and its buffers."""
    raised: BaseException | None = error
    while raised is not None:
        raised.__traceback__ = None
        raised = raised.__cause__ or raised.__context__
    return error


def _status(error: MovescuError) -> int:
    if isinstance(error, _RefusedError):
        return error.status
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def _comment(error: MovescuError) -> str:
    """Return the Error Comment (0000,0902), without the names of local files."""
    if isinstance(error, StoreError):
        cause = getattr(error.__cause__, "strerror", None)
        return f"the object cannot be stored: {cause or 'no reason given'}"
    return str(error)
