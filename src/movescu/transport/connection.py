"""An association over a TCP connection, blocking: the services of PS3.8 section 7.

Joins ``ul.association``, which decides, and ``transport.sockets``, which does the I/O. A connection is used by one
thread at a time; only ``interrupt`` may be called from another. Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
from collections import deque

from movescu._runtime import clock
from movescu._runtime.hex_dump import TRACE, hex_text
from movescu._runtime.late_log import DEBUG, logger_of
from movescu.errors import (
    AssociationAbortedError,
    AssociationReleasedError,
    ConnectionLostError,
    InterruptedConnectionError,
    LocalProtocolError,
    MovescuError,
    PeerError,
    ProtocolError,
    TimedOutError,
)
from movescu.transport.deadlines import Deadline
from movescu.transport.oddities import Oddities
from movescu.ul.association import Association, unwatched
from movescu.ul.indications import (
    AbortIndication,
    AssociateConfirmation,
    AssociateIndication,
    Fragment,
    Indication,
    ProviderAbortIndication,
    ReleaseConfirmation,
    ReleaseIndication,
)
from movescu.ul.negotiation import Context, agreed, unproposed_syntaxes
from movescu.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ, PDataTF, PresentationDataValue
from movescu.ul.state_table import State
from movescu.ul.user_information import UserInformation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Final

    from movescu.transport.sockets import Transport

_log: Final = logger_of("movescu.net")

_FAREWELL: Final = 1.0
"""Seconds that a peer has to close the connection after an A-ABORT, A-ASSOCIATE-RJ or A-RELEASE-RP (ARTIM in Sta13)."""


class Connection:
    """An association and its transport connection.

    Established by ``request``, or by ``receive_request`` and ``accept``. ``contexts``: the accepted presentation
    contexts by ID. ``oddities``: of the peers of the same port. Default: of this peer alone.
    """

    def __init__(self, transport: Transport, association: Association, oddities: Oddities | None = None) -> None:
        self._transport = transport
        self._association = association
        self._oddities = Oddities() if oddities is None else oddities
        self._indications: deque[Indication] = deque()
        self._traced = _log.isEnabledFor(TRACE)
        self.contexts: Mapping[int, Context] = {}
        self.peer_information = UserInformation()
        """The acceptor's user information, on the requestor's side."""
        self._interrupted = ""
        self.last_activity = clock.now()
        """When the last byte arrived, or the wait for one began, on the monotonic clock; read by other threads."""
        self.waiting = False
        """Whether the peer's next byte is awaited: only such time is the peer's silence. Read by other threads."""
        self.has_carried_objects = False
        """Whether a C-STORE request has arrived. Read by other threads."""
        self.has_carried_echo = False
        """Whether a C-ECHO request has arrived. Read by other threads."""
        self.is_within_message = False
        """Whether a C-STORE request has arrived and was not responded to yet. Read by other threads."""

    @property
    def peer(self) -> str:
        """Address and port of the peer, as messages have them."""
        return self._transport.peer

    @property
    def local_address(self) -> str:
        """The local address of this connection."""
        return self._transport.local_address

    @property
    def peer_maximum_length(self) -> int:
        """Bytes of the longest P-DATA-TF that the peer accepts, without the header; 0 is unlimited."""
        return self._association.peer_maximum_length

    def tolerate(self, oddities: Iterable[str]) -> None:
        """Log what the peer does that the standard forbids and that is accepted, once for each peer."""
        self._oddities.note(self.peer, self._transport.peer_address, oddities)

    def fileno(self) -> int:
        """Return the socket's descriptor, for a wait on several at once."""
        return self._transport.fileno()

    # -- establishment -------------------------------------------------------------------------------------------

    @classmethod
    def request(cls, transport: Transport, request: AssociateRQ, seconds: float | None) -> Connection:
        """Request an association on a new connection and wait ``seconds`` for the answer.

        Raise ``AssociationRejectedError``, or another ``PeerError``, and close the transport if there is none.
        """
        association = Association(maximum_length=request.user_information.maximum_length or 16384)
        connection = cls(transport, association)
        with connection.closing_on_error():
            connection._show("to", request)
            association.associate_request(request)
            association.transport_connected(clock.now())
            deadline = Deadline(seconds, "waiting for the answer to the association request")
            connection._flush(deadline)
            indication = connection.next(deadline)
            if not isinstance(indication, AssociateConfirmation):
                raise connection._error(indication)
            connection._show("of", indication.answer, request)
            if isinstance(indication.answer, AssociateRJ):
                from movescu.transport.rejection import rejected  # late: few associations are

                raise rejected(indication.answer)
            connection.contexts = agreed(request, indication.answer)
            unproposed = unproposed_syntaxes(request, indication.answer).items()
            connection.tolerate(
                f"presentation context {context_id} accepted with {syntax!r}, which was not proposed; it is not used"
                for context_id, syntax in unproposed
            )
            connection.peer_information = indication.answer.user_information
            _log.info("association accepted by %s", connection.peer)
        return connection

    def receive_request(self, seconds: float) -> AssociateRQ:
        """Wait for the peer's A-ASSOCIATE-RQ; ARTIM runs for ``seconds``. Raise ``PeerError`` if none arrives."""
        self._association.artim_timeout = seconds
        self._association.transport_connected(clock.now())
        with self.closing_on_error():
            try:
                indication = self.next(Deadline(seconds, "waiting for an association request"))
            except TimedOutError:
                self._association.artim_expired(clock.now())
                raise
            if not isinstance(indication, AssociateIndication):
                raise self._error(indication)
        self._show("of", indication.request)
        return indication.request

    def accept(self, request: AssociateRQ, answer: AssociateAC, deadline: Deadline) -> None:
        """Accept the association. Raise ``PeerError`` if the peer has ended it already."""
        with self.closing_on_error():
            self._require(State.STA3)
            self._show("to", answer, request)
            self._association.associate_accept(answer)
            self.contexts = agreed(request, answer)
            self._flush(deadline)

    def reject(self, answer: AssociateRJ) -> None:
        """Reject the association and end the connection. Raise ``PeerError`` if the peer has ended it already."""
        with self.closing_on_error():
            self._require(State.STA3)
            self._show("to", answer)
            self._association.associate_reject(answer, clock.now())
        self._say_farewell()

    # -- data transfer -------------------------------------------------------------------------------------------

    def next(self, deadline: Deadline) -> Indication:
        """Wait for the next indication; the data of a ``Fragment`` is borrowed until the next call.

        Raise ``TimedOutError``, or ``ConnectionLostError`` for a reset.
        """
        indications = self._indications
        if not indications:
            self._receive(deadline)
        indication = indications.popleft()
        if self._association.state is State.STA13 and not indications:
            self._say_farewell()
        return indication

    def peek(self, deadline: Deadline) -> Indication:
        """Wait for the next indication and return it; ``next`` returns it again. Raise the errors of ``next``."""
        if not self._indications:
            self._receive(deadline)
        return self._indications[0]

    def _receive(self, deadline: Deadline) -> None:
        """Fill the queue of indications."""
        association = self._association
        while not self._indications:
            limit = deadline.within if association.unfinished else deadline
            self.last_activity = clock.now()
            self.waiting = True
            try:
                size = self._transport.receive_into(association.get_buffer(), limit)
            finally:
                self.waiting = False
            self._take_in(size)
            if self._indications:
                return
            if association.state in (State.STA13, State.STA1):
                # PS3.8 has no indication for this: the peer closed, or sent no acceptable request (AA-1, AA-5, AE-6).
                refused = association.state is State.STA13
                self._say_farewell()
                if refused:
                    raise association.violation or ProtocolError("no valid association request was received")
                raise ConnectionLostError(f"no association with {self.peer}: no association request was received")

    def _take_in(self, size: int) -> None:
        """Let the association decode the bytes just received; ``size`` 0 is the end of the connection."""
        now = self.last_activity = clock.now()
        if self._interrupted:
            raise InterruptedConnectionError(self._interrupted)
        if size:
            self._indications.extend(self._association.buffer_updated(size, now))
        else:
            self._indications.extend(self._association.transport_closed(now))
        if self._association.oddities:
            self.tolerate(self._association.oddities)
            self._association.oddities.clear()
        if self._traced:
            self._trace("P-DATA-TF of", self._indications)

    def leave(self, now: float) -> None:
        """Record that another thread awaits the peer's next byte, and will ``take`` it."""
        self.last_activity = now
        self.waiting = True

    def take(self) -> int:
        """Receive without waiting, and return the number of bytes, -1 for none. Not for TLS, nor with data ``at_hand``.

        Raise ``ConnectionLostError`` for a reset.
        """
        size = self._transport.receive_at_hand(self._association.get_buffer())
        if size >= 0:
            self.waiting = False
            self._take_in(size)
        return size

    @property
    def at_hand(self) -> Sequence[Indication]:
        """The indications received and not yet returned."""
        return self._indications

    @property
    def has_more(self) -> bool:
        """Whether an indication, or a part of a PDU, has been received and not yet returned."""
        return bool(self._indications) or self._association.unfinished

    @property
    def secured(self) -> bool:
        """Whether the connection uses TLS."""
        return self._transport.secured

    @property
    def is_unread(self) -> bool:
        """Whether the system holds bytes of the peer that were not received yet. Safe from any thread."""
        return self._transport.is_unread

    def readable(self, seconds: float | None, wake: int = -1) -> bool:
        """Return True if the peer has sent anything, after a wait of at most ``seconds``; None is no limit.

        For a service that checks between two of its messages whether it was cancelled (PS3.7 9.3.2.3). The wait also
        ends when the descriptor ``wake`` is readable.
        """
        return bool(self._indications) or self._transport.readable(seconds, wake)

    def rest(self, seconds: float, wake: int) -> None:
        """Receive nothing for some seconds, or until the descriptor ``wake`` is readable."""
        self._transport.rest(seconds, wake)

    def next_fragment(self, deadline: Deadline) -> Fragment:
        """Wait for the next fragment. Raise the error that any other indication means."""
        return self.fragment(self.next(deadline))

    def fragment_at_hand(self) -> Fragment | None:
        """Return the next indication if it is a fragment that has been received already, else None."""
        indications = self._indications
        first = indications[0] if indications else None
        if not isinstance(first, Fragment) or self._association.state is State.STA13:
            return None
        indications.popleft()
        return first

    def fragment(self, indication: Indication) -> Fragment:
        """Return the indication if it is a fragment. Raise the error that any other indication means."""
        if isinstance(indication, Fragment):
            return indication
        raise self._error(indication)

    def send(self, pdus: Iterable[PDataTF], deadline: Deadline) -> None:
        """Send P-DATA-TFs with one system call. Raise ``PeerError`` if the association has ended."""
        self._require(State.STA6, State.STA8)
        if self._traced:
            pdus = list(pdus)
            self._trace("P-DATA-TF to", (value for pdu in pdus for value in pdu.values))
        self._association.p_data_request(pdus)
        self._flush(deadline)

    def _require(self, *states: State) -> None:
        """Raise the error that ended the association, if one did; its indication may be queued after data."""
        if self._association.state not in states:
            for indication in self._indications:
                if not isinstance(indication, Fragment):
                    raise self._error(indication)

    # -- the end -------------------------------------------------------------------------------------------------

    def release(self, deadline: Deadline, on_data: Callable[[Fragment], None] = lambda _: None) -> None:
        """Release the association and wait for the confirmation (PS3.8 7.2).

        ``on_data``: called with data that still arrive. Default: they are dropped. Raise ``PeerError`` if the peer does
        anything but confirm.
        """
        with self.closing_on_error():
            if self._association.state is State.STA6:  # else the peer ended it first, and its indication is queued
                _log.debug("A-RELEASE-RQ to %s", self.peer)
                self._association.release_request()
                self._flush(deadline)
            while not self._is_released_by(indication := self.next(deadline), deadline):
                if isinstance(indication, Fragment):
                    on_data(indication)
        self._say_farewell()

    def _is_released_by(self, indication: Indication, deadline: Deadline) -> bool:
        """Handle an indication during a release, a collision included (AR-8 to AR-10); True for the last one."""
        state = self._association.state
        if isinstance(indication, Fragment):
            return False
        if not isinstance(indication, ReleaseIndication | ReleaseConfirmation):
            raise self._error(indication)
        if state in (State.STA8, State.STA9, State.STA12):
            self._association.release_response(clock.now())
            self._flush(deadline)
        return state is State.STA8 or isinstance(indication, ReleaseConfirmation)

    def confirm_release(self, deadline: Deadline) -> None:
        """Answer the peer's release request and end the connection."""
        with contextlib.suppress(PeerError, LocalProtocolError):  # the association has ended anyway
            self._association.release_response(clock.now())
            _log.debug("A-RELEASE-RP to %s", self.peer)
            self._flush(deadline)
        self._say_farewell()

    def abort(self, error: ProtocolError | None = None) -> None:
        """Abort the association and end the connection; ``error``: the peer's violation of the protocol, if any."""
        with contextlib.suppress(LocalProtocolError):  # there may be no association left to abort
            self._association.abort_request(clock.now(), error)
            _log.debug("A-ABORT to %s", self.peer)
        self._say_farewell()

    def interrupt(self, why: str) -> None:
        """Make the thread that waits on this connection raise ``InterruptedConnectionError``. Safe from any thread."""
        self._interrupted = why
        self._transport.stop_receiving()

    def close(self) -> None:
        """Close the connection without sending anything."""
        self._association.on_growth = unwatched  # it may refer to this connection: freed without the collector
        self._transport.close()

    def closing_on_error(self) -> AbstractContextManager[None]:
        """Abort and close if an error leaves the block."""
        return _Closing(self)

    def _flush(self, deadline: Deadline) -> None:
        data = self._association.data_to_send()
        if data:
            self._transport.send(data, deadline)

    def _say_farewell(self) -> None:
        """Send the PDUs that wait, give the peer a moment to close (Sta13), and close."""
        deadline = Deadline(_FAREWELL, f"waiting for {self.peer} to close the connection")
        association = self._association
        with contextlib.suppress(PeerError):
            self._flush(deadline)
            # A socket that is closed with unread bytes resets the connection: the peer may lose the last PDU.
            while association.state is State.STA13:
                size = self._transport.receive_into(association.get_buffer(), deadline)
                if not size:
                    break
                association.buffer_updated(size, clock.now())
                self._flush(deadline)
        association.transport_closed(clock.now())
        self.close()

    def _show(self, way: str, pdu: AssociateRQ | AssociateAC | AssociateRJ, request: AssociateRQ | None = None) -> None:
        """Log a PDU; ``request``: the one that it answers."""
        if not _log.isEnabledFor(DEBUG):
            return
        from movescu.ul.pdu_text import association_text, bytes_of  # late: needed for this log alone

        title = f"A-ASSOCIATE-{type(pdu).__name__[-2:]} {way} {self.peer}"
        _log.debug(association_text(title, pdu, request))
        if self._traced:
            _log.log(TRACE, hex_text(title, bytes_of(pdu)))

    def _trace(self, what: str, values: Iterable[Indication | PresentationDataValue]) -> None:
        """Log the bytes of fragments."""
        for value in values:
            if isinstance(value, Fragment | PresentationDataValue):
                kind = "command" if value.control & 1 else "data set"
                head = f"{what} {self.peer}, presentation context {value.context_id}, {kind}"
                _log.log(TRACE, hex_text(f"{head}, last" if value.control & 2 else head, value.data))

    def _error(self, indication: Indication) -> MovescuError:
        """Return the error that an unexpected indication means."""
        if isinstance(indication, AbortIndication):
            abort = indication.abort
            return AssociationAbortedError(
                f"association aborted {abort.describe()}", source=abort.source, reason=abort.reason
            )
        if isinstance(indication, ProviderAbortIndication):
            if indication.error is not None:
                return indication.error
            if indication.abort is not None:
                abort = indication.abort
                return AssociationAbortedError(
                    f"association aborted {abort.describe()}", source=abort.source, reason=abort.reason
                )
            return ConnectionLostError(f"{self.peer} closed the connection")
        if isinstance(indication, ReleaseIndication):
            self.confirm_release(Deadline(_FAREWELL, "answering the release request"))
            return AssociationReleasedError(f"{self.peer} released the association")
        return ProtocolError(f"{type(indication).__name__} was not expected")


class _Closing:
    """See ``Connection.closing_on_error``; a class, as a generator takes longer, and each message needs one."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _frames: object) -> None:
        if error is not None:
            self._connection.abort(error if isinstance(error, ProtocolError) else None)
